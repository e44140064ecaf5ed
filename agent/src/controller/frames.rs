//! What follows from a frame of the PBX.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::state::{ControllerState, FatalError, NOBODY, SessionEnd};
use crate::calls::{Calls, Origin, UserGuid};
use crate::pbx::BaseFrame;
use crate::pbx::frames::Frame;
use crate::pbx::identity::Decision;
use crate::pbx::rcc::{CallInfo, MonitorResult, RccFrame, UserInfo};
use crate::pbx::session::Reporter;

/// After the first user came, the others have this long to come, too.
const LIST_SETTLES: Duration = Duration::from_secs(1);

impl ControllerState {
    pub(super) async fn on_frame(&mut self, frame: Frame) -> Result<(), SessionEnd> {
        if let Some(calls) = &mut self.calls {
            calls.heard(self.clock.now());
        }
        match frame {
            Frame::Rcc(frame) => return self.on_rcc(frame).await,
            Frame::Base(BaseFrame::KeepAlive) => {}
            Frame::Base(_) => debug!("Login frame after the login"),
            Frame::Other(kind) => debug!(kind, "Frame without meaning for the agent"),
        }
        Ok(())
    }

    async fn on_rcc(&mut self, frame: RccFrame) -> Result<(), SessionEnd> {
        match frame {
            RccFrame::CallInfo(call_info) => self.on_call_info(call_info),
            RccFrame::User(user_info) => self.on_user_info(user_info),
            RccFrame::InitializeResult { error: None } => {
                self.session.listed = true;
                self.identify().await?;
            }
            RccFrame::InitializeResult { error: Some(error) } => {
                return Err(SessionEnd::Lost(anyhow::anyhow!(
                    "the PBX does not list its users ({error}); is the API check mark RCC set at the App object?"
                )));
            }
            RccFrame::UserInitializeResult(result) => self.on_monitor_result(result),
            RccFrame::Devices { src, labels } => self.session.labelled(src.as_deref(), labels),
            RccFrame::Result(result) => {
                let Some(calls) = &mut self.calls else { return Ok(()) };
                let mut frames = Vec::new();
                self.jobs.on_result(&result, self.session.number, calls, &mut frames);
                self.outgoing.extend(frames);
            }
        }
        Ok(())
    }

    fn on_monitor_result(&mut self, result: MonitorResult) {
        let MonitorResult { src, handle, error, prefixes, is_13r3 } = result;
        self.session.note_13r3(is_13r3);
        if handle == 0 {
            self.session.refused(src.as_deref(), error);
        } else {
            let watched = self.session.monitored(src.as_deref(), handle, prefixes);
            self.watch(watched);
            for report in self.session.early_reports(handle) {
                self.on_call_info(report);
            }
        }
        self.release_users();
        self.announce_if_complete();
        self.tell_refusals();
        self.take_up_deferred();
    }

    fn watch(&mut self, user: Option<UserGuid>) {
        if let (Some(user), Some(calls)) = (user, &mut self.calls) {
            calls.watching(user, self.clock.now());
        }
    }

    fn on_call_info(&mut self, call_info: CallInfo) {
        let Reporter::Known { user, newly_watched } = self.session.user_of_report(&call_info) else {
            debug!(handle = call_info.user, "CallInfo for a handle that is not monitored");
            return;
        };
        self.watch(newly_watched.then(|| user.clone()));
        let Some(calls) = &mut self.calls else { return };
        let report = call_info.into_report(self.session.number);
        let outputs = calls.report(&user, report.clone(), self.clock.now());
        let mut frames = Vec::new();
        self.jobs.on_report(&report, calls, &mut frames);
        self.outgoing.extend(frames);
        self.perform(outputs);
        if report.last {
            self.release_users();
        }
    }

    fn on_user_info(&mut self, user_info: UserInfo) {
        if let Some(guid) = self.session.on_user_info(user_info, &self.monitor) {
            if let Some(calls) = &mut self.calls {
                calls.channels_are(&guid, self.session.channels(&guid));
            }
            if self.session.listed && (!self.identified || self.listed_nobody) {
                self.identify_at.get_or_insert_with(|| Instant::now() + LIST_SETTLES);
            }
        }
        if let Some(calls) = &mut self.calls {
            for (guid, identity) in self.session.changed_identities() {
                calls.user_is(guid, identity);
            }
        }
        if self.session.listed {
            self.release_users();
            self.tell_users();
        }
    }

    /// The list of users is complete: now it can be told which PBX this is, and monitoring can begin. Where nobody is visible yet,
    /// this happens when somebody is.
    pub(super) async fn identify(&mut self) -> Result<(), SessionEnd> {
        self.identify_at = None;
        let mut names: Vec<&str> = self.session.pbx_names().into_iter().collect();
        names.sort_unstable();
        let is_anybody_visible = self.session.visible().next().is_some();
        let (pbx_id, home) = match self.identity.decide(&names, is_anybody_visible) {
            Decision::Known { id, home, warning } => {
                if let Some(warning) = warning {
                    warn!("{warning}");
                }
                (id, home)
            }
            Decision::NobodyYet => {
                self.tell(|status| status.problem = Some(NOBODY.to_owned()));
                return Ok(());
            }
            Decision::Undecided => {
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(SessionEnd::Fatal(FatalError::PbxId(names)));
            }
        };
        self.session.at_home_at(home);
        self.listed_nobody = !is_anybody_visible;
        if self.identified {
            return Ok(());
        }
        self.identity.keep(&pbx_id);
        self.identified = true;
        self.pbx_id = Some(pbx_id.clone());
        self.take_slot(&pbx_id).await?;
        let now = self.clock.now();
        let calls = self.calls.get_or_insert_with(|| {
            let origin = Origin { pbx_id: pbx_id.clone(), agent_id: self.agent_id.clone() };
            Calls::restore(origin, self.boot_id, self.records.take().unwrap_or_default(), now)
        });
        calls.session_started(now);
        self.follow_reporter();
        let Some(calls) = &mut self.calls else { return Ok(()) };
        for (guid, identity) in self.session.identities() {
            calls.channels_are(&guid, self.session.channels(&guid));
            calls.user_is(guid, identity);
        }
        self.announce_if_complete();
        Ok(())
    }
}
