//! What the controller keeps between one event and the next, and what every part of it does with that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shared::agent_status::PbxLink;
use shared::clock::CloudClock;
use shared::tables::Exchange;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::calls::{Calls, Output, Records};
use crate::commands::jobs::{FrameBatch, Jobs};
use crate::commands::request::OperationRequest;
use crate::config::{DtmfRecv, Monitor};
use crate::events::outbox::Outbox;
use crate::host::statistics::Statistics;
use crate::host::status::ControllerStatus;
use crate::pbx::identity::PbxIdentity;
use crate::pbx::link::Dialer;
use crate::pbx::session::{FIRST_SETTLING, MonitorRefusal, Session, User};
use crate::peers::directory::HomeList;
use crate::peers::lookup::SharedNames;

/// An error that no retry can fix.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    #[error(
        "cannot tell which PBX this is: its visible users name {0}. Set `pbx.id` in the configuration to one short name, \
         the same for all agents of this PBX"
    )]
    PbxId(String),
}

/// What an administrator reads while nobody is visible.
pub(super) const NOBODY: &str = "the PBX shows no user, so it cannot be told which PBX this is. Make the App object an active member \
    of the group with the users, and the users members of it; or set `pbx.id`";

/// A session in which nobody is visible counts as up after this long.
const SOMEBODY_SOON: Duration = Duration::from_secs(10);

/// So many users without a monitor are shown, each with so many characters: the heartbeat carries them.
const MOST_REFUSALS: usize = 5;
const LONGEST_REFUSAL: usize = 120;

/// Why a session ended.
pub(super) enum SessionEnd {
    Stopped,
    /// A new one is needed for what has changed in the configuration.
    Renewed,
    Lost(anyhow::Error),
    Fatal(FatalError),
}

impl<E: Into<anyhow::Error>> From<E> for SessionEnd {
    fn from(error: E) -> Self {
        Self::Lost(error.into())
    }
}

/// Everything that the controller keeps between one event and the next.
pub(super) struct ControllerState {
    pub dialers: Arc<[Dialer]>,
    pub monitor: Monitor,
    pub dtmf_recv: DtmfRecv,
    pub identity: PbxIdentity,
    pub agent_id: Arc<str>,
    pub boot_id: Uuid,
    pub clock: CloudClock,
    pub exchange: Exchange,
    /// How many slots this agent knows the commands queues of.
    pub queues: usize,
    pub shared_names: SharedNames,
    pub outbox: Outbox,
    /// Taken by the call core when it begins.
    pub records: Option<Records>,
    pub status: watch::Sender<ControllerStatus>,
    /// Who is at home here, once it is known.
    pub home_list: watch::Sender<Option<Arc<HomeList>>>,
    pub statistics: Statistics,
    /// The call core, from the moment on when the PBX is known by its id.
    pub calls: Option<Calls>,
    pub pbx_id: Option<Arc<str>>,
    pub session: Session,
    /// In this session it is known which PBX this is.
    pub identified: bool,
    /// It is known, but nobody was visible: who is at home here is to be found out when somebody is.
    pub listed_nobody: bool,
    /// When to find that out from users who came later than the list.
    pub identify_at: Option<Instant>,
    pub jobs: Jobs,
    /// Frames to be written before anything else happens.
    pub outgoing: VecDeque<FrameBatch>,
    /// Commands that wait for a monitor that the PBX has been asked for.
    pub deferred: Vec<OperationRequest>,
    /// Whether this agent is the one that reports updates, as far as it knows of others.
    pub is_reporter: watch::Receiver<bool>,
    /// When to look again after calls that did not come back.
    pub settle_at: Option<Instant>,
}

impl ControllerState {
    pub(super) fn send(&mut self, text: String) {
        self.outgoing.push_back(text.into());
    }

    pub(super) fn warn_if_exposed(&self) {
        if self.dialers.iter().any(Dialer::is_exposed) {
            warn!(
                "The connection to the PBX is not encrypted, and nobody proves to be the PBX: `pbx.url` begins with ws://"
            );
        }
    }

    pub(super) fn release_users(&mut self) {
        let calls = self.calls.as_ref();
        for frame in self.session.release(|guid| calls.is_some_and(|calls| calls.has_calls(guid))) {
            self.send(frame);
        }
    }

    /// Reports the session as up once every user is monitored. A PBX that has just started may list its users late.
    pub(super) fn announce_if_complete(&mut self) {
        let is_empty = self.session.visible().next().is_none();
        if is_empty && self.session.begun.elapsed() < SOMEBODY_SOON {
            return;
        }
        if !self.identified || !self.session.is_complete() || self.status.borrow().is_up() {
            return;
        }
        let now = self.clock.now();
        info!(users = self.session.visible().count(), pbx = self.pbx_id.as_deref(), "Monitoring");
        self.settle_at = Some(Instant::now() + FIRST_SETTLING);
        let (pbx_id, prefixes) = (self.pbx_id.clone(), self.session.common_prefixes());
        let visible_users = count(self.session.visible().count());
        let monitored_users = self.monitored_users();
        self.tell(|status| {
            status.link = PbxLink::Up;
            status.pbx_id = pbx_id;
            status.session_since = Some(now);
            status.prefixes = prefixes;
            status.visible_users = visible_users;
            status.monitored_users = monitored_users;
            status.problem = None;
        });
    }

    pub(super) fn perform(&mut self, outputs: Vec<Output>) {
        let (Some(pbx_id), Some(calls)) = (&self.pbx_id, &mut self.calls) else { return };
        let mut events = Vec::new();
        for output in outputs {
            match output {
                Output::Event(event) => {
                    debug!(event.id = %event.event_id, call.id = %event.call_id(), status = event.status().as_str(), kind = event.kind().as_str(), "Event");
                    self.jobs.on_event(&event);
                    self.statistics.event(&event);
                    events.push(*event);
                }
                Output::Remember(user, item) => self.shared_names.remember(pbx_id.clone(), user, item),
                Output::Ask(leg, spots) => self.shared_names.ask(pbx_id.clone(), leg, spots),
            }
        }
        self.statistics.nameless_calls(calls.nameless_calls());
        let changes = calls.changes();
        if !events.is_empty() || !changes.is_empty() {
            self.outbox.put(&events, changes, self.clock.now());
        }
    }

    /// Follows the word of whoever knows the other agents.
    pub(super) fn follow_reporter(&mut self) {
        let is_reporter = *self.is_reporter.borrow();
        let Some(calls) = &mut self.calls else { return };
        let outputs = calls.report_updates(is_reporter, self.clock.now());
        self.perform(outputs);
    }

    pub(super) fn tell_users(&mut self) {
        let visible_users = count(self.session.visible().count());
        let monitored_users = self.monitored_users();
        self.tell(|status| {
            status.visible_users = visible_users;
            status.monitored_users = monitored_users;
        });
    }

    /// None while the PBX still owes answers.
    fn monitored_users(&self) -> Option<u32> {
        let are_monitored = || self.session.visible().filter(|user| user.handle.is_some()).count();
        self.session.is_complete().then(|| count(are_monitored()))
    }

    /// Who has no monitor, and why.
    pub(super) fn tell_refusals(&self) {
        let refusal = |(user, refusal): (&User, &MonitorRefusal)| {
            let text = format!("{} {}: {}", user.info.e164, user.info.display_name(), refusal.reason);
            text.chars().take(LONGEST_REFUSAL).collect()
        };
        let refusals = self.session.refusals().take(MOST_REFUSALS).map(refusal).collect();
        self.tell(|status| status.refusals = refusals);
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut ControllerStatus)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
