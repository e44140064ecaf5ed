//! What follows from a frame of the PBX.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use super::state::{ControllerState, FatalError, SessionEnd};
use crate::calls::{Calls, Origin};
use crate::pbx::frames::{CallInfo, Frame, UserInfo};

impl ControllerState {
    pub(super) async fn on_frame(&mut self, frame: Frame) -> Result<(), SessionEnd> {
        if let Some(calls) = &mut self.calls {
            calls.heard(self.clock.now());
        }
        match frame {
            Frame::CallInfo(call_info) => self.on_call_info(call_info),
            Frame::User(user_info) => self.on_user_info(user_info),
            Frame::InitializeResult { error: None } => self.on_listed().await?,
            Frame::InitializeResult { error: Some(error) } => {
                return Err(SessionEnd::Lost(anyhow::anyhow!(
                    "the PBX does not list its users ({error}); is the API check mark RCC set at the App object?"
                )));
            }
            Frame::UserInitializeResult { src, handle, prefixes } => {
                let watched = self.session.monitored(src.as_deref(), handle, prefixes);
                if let (Some(user), Some(calls)) = (watched, &mut self.calls) {
                    calls.watching(user, self.clock.now());
                }
                self.release_users();
                self.announce_if_complete();
                self.take_up_deferred();
            }
            Frame::Devices { src, labels } => self.session.labelled(src.as_deref(), labels),
            Frame::Result(result) => {
                let Some(calls) = &mut self.calls else { return Ok(()) };
                let mut frames = Vec::new();
                self.jobs.on_result(&result, self.session.number, calls, &mut frames);
                self.outgoing.extend(frames);
            }
            Frame::Other(kind) => debug!(kind, "Frame without meaning for the agent"),
            Frame::Challenge(_) | Frame::LoginResult { .. } => debug!("Login frame after the login"),
        }
        Ok(())
    }

    fn on_call_info(&mut self, call_info: CallInfo) {
        let Some(user) = self.session.user_of_handle(call_info.user).cloned() else {
            debug!(handle = call_info.user, "CallInfo for a handle that is not monitored");
            return;
        };
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
        if let Some((guid, identity)) = self.session.on_user_info(user_info, &self.monitor) {
            if let Some(calls) = &mut self.calls {
                calls.user_is(guid.clone(), identity);
                calls.channels_are(&guid, self.session.channels(&guid));
            }
            if self.session.listed
                && let Some(frame) = self.session.ask_for_labels(&guid)
            {
                self.send(frame);
            }
        }
        if self.session.listed {
            self.release_users();
            self.tell_users();
        }
    }

    /// The list of users is complete: now it is certain which PBX this is, and monitoring can begin.
    async fn on_listed(&mut self) -> Result<(), SessionEnd> {
        self.session.listed = true;
        let pbx_id = self.identify().map_err(SessionEnd::Fatal)?;
        self.pbx_id = Some(pbx_id.clone());
        let registered = timeout(Duration::from_secs(2), self.exchange.register_pbx(&pbx_id, self.clock.now())).await;
        match registered {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(other))) => return Err(self.belongs_to(&other)),
            Ok(Err(error)) => warn!("The PBX could not be registered: {error}"),
            Err(_) => warn!("The PBX could not be registered: the table does not answer"),
        }
        let now = self.clock.now();
        let calls = self.calls.get_or_insert_with(|| {
            let origin = Origin { pbx_id: pbx_id.clone(), agent_id: self.agent_id.clone() };
            Calls::restore(origin, self.boot_id, self.records.take().unwrap_or_default(), now)
        });
        calls.session_started(now);
        for (guid, identity) in self.session.identities() {
            calls.channels_are(&guid, self.session.channels(&guid));
            calls.user_is(guid, identity);
        }
        self.announce_if_complete();
        Ok(())
    }

    fn identify(&self) -> Result<Arc<str>, FatalError> {
        if let Some(pbx_id) = &self.pbx_id {
            return Ok(pbx_id.clone());
        }
        if let Some(id) = &self.configured_pbx_id {
            return Ok(Arc::from(id.as_str()));
        }
        let mut names: Vec<&str> = self.session.pbx_names().into_iter().collect();
        names.sort_unstable();
        match names.as_slice() {
            [name] => Ok(Arc::from(*name)),
            [] if self.session.visible().next().is_none() => Err(FatalError::Nobody),
            [] => Err(FatalError::PbxId("none".to_owned())),
            several => Err(FatalError::PbxId(several.join(", "))),
        }
    }
}
