//! Whether the PBX lets a user be monitored: one monitor is opened and ended.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::timeout;

use super::report::{CheckReport, OpenHop};
use crate::pbx::frames::Frame;
use crate::pbx::link::Link;
use crate::pbx::rcc::{self, RccFrame};
use crate::pbx::session::{Session, User};

const ANSWER_WITHIN: Duration = Duration::from_secs(8);
const SRC: &str = "check";

/// Says what the PBX answers to a monitor of the first user whom it shows.
pub(super) async fn check(link: &mut Link, session: &Session, app: &str, report: &mut CheckReport, hop: OpenHop) {
    let Some(user) = session.visible().next() else { return report.skip(hop.name()) };
    match timeout(ANSWER_WITHIN, open_and_end(link, user)).await.context("the PBX does not answer") {
        Ok(Ok(())) => report.good(hop, "the PBX has opened one and ended it"),
        Ok(Err(error)) | Err(error) => {
            let fix = format!(
                "set the check mark RCC under \"Grant access to APIs\" of the App object `{app}`, and see in the PBX what it lacks (a \
                 license, a right) for the first of the users that are visible"
            );
            report.broken(hop, format!("a monitor of a user cannot be opened: {error:#}"), fix);
        }
    }
}

async fn open_and_end(link: &mut Link, user: &User) -> anyhow::Result<()> {
    link.send(rcc::user_initialize(SRC, &user.info.cn, user.own_hw())).await?;
    loop {
        let Frame::Rcc(RccFrame::UserInitializeResult(result)) = link.next().await? else { continue };
        match result.error {
            _ if result.src.as_deref() != Some(SRC) => {}
            None if result.handle != 0 => return link.send(rcc::user_end(SRC, result.handle)).await,
            error => bail!("the PBX refuses it: {}", error.as_deref().unwrap_or("without a reason")),
        }
    }
}
