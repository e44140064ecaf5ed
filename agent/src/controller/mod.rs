//! The controller: one task that holds the PBX session and the call core, and through which everything about calls passes.
//!
//! It wakes for a frame, a request, an answer of the shared names or the passing of time, asks the pure parts what follows
//! from it, and does that. Nothing else writes to the PBX.

mod frames;
mod inbox;
mod requests;
mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shared::agent_status::PbxLink;
use shared::clock::CloudClock;
use shared::random::Random;
use shared::tables::Exchange;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::calls::Records;
use crate::commands::jobs::{FrameBatch, Jobs};
use crate::commands::request::ControllerRequest;
use crate::config::{DtmfRecv, Monitor};
use crate::events::outbox::Outbox;
use crate::host::backoff::Backoff;
use crate::host::statistics::Statistics;
use crate::host::status::ControllerStatus;
use crate::pbx::link::{Dialer, Link};
use crate::pbx::rcc;
use crate::pbx::session::Session;
use crate::peers::lookup::{LookupResult, SharedNames};

use inbox::Inbox;
pub use state::FatalError;
use state::{ControllerState, SessionEnd, count};

/// Naming time-outs and waiting jobs are checked this often.
const TICK: Duration = Duration::from_millis(100);
/// As often as the PBX itself lists a portion of users, a portion of them is monitored.
const PORTION: Duration = Duration::from_millis(20);
const WRITE_WITHIN: Duration = Duration::from_secs(10);
const LIST_WITHIN: Duration = Duration::from_secs(15);
const NEXT_SETTLING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Controller {
    pub dialer: Dialer,
    pub monitor: Monitor,
    pub dtmf_recv: DtmfRecv,
    pub configured_pbx_id: Option<String>,
    pub agent_id: Arc<str>,
    pub boot_id: Uuid,
    pub clock: CloudClock,
    pub random: Random,
    pub exchange: Exchange,
    pub shared_names: SharedNames,
    pub lookups: mpsc::UnboundedReceiver<LookupResult>,
    pub requests: mpsc::Receiver<ControllerRequest>,
    pub outbox: Outbox,
    /// What the call core knew before the agent was restarted.
    pub records: Records,
    /// The same, if it could be read only after the start.
    pub late: mpsc::UnboundedReceiver<Records>,
    pub status: watch::Sender<ControllerStatus>,
    pub statistics: Statistics,
}

impl Controller {
    /// Holds a session with the PBX until stopped, and gets a new one whenever it is lost.
    pub async fn run(self, stop: CancellationToken) -> Result<(), FatalError> {
        let Self {
            dialer,
            monitor,
            dtmf_recv,
            configured_pbx_id,
            agent_id,
            boot_id,
            clock,
            exchange,
            shared_names,
            ..
        } = self;
        if dialer.is_exposed() {
            warn!(
                "The connection to the PBX is not encrypted, and nobody proves to be the PBX: `pbx.url` begins with ws://"
            );
        }
        let mut state = ControllerState {
            monitor,
            dtmf_recv,
            configured_pbx_id,
            agent_id,
            boot_id,
            clock,
            exchange,
            shared_names,
            outbox: self.outbox,
            records: Some(self.records),
            status: self.status,
            statistics: self.statistics,
            calls: None,
            pbx_id: None,
            session: Session::new(0),
            jobs: Jobs::default(),
            outgoing: VecDeque::new(),
            deferred: Vec::new(),
            settle_at: None,
        };
        let mut inbox = Inbox { requests: self.requests, lookups: self.lookups, late: self.late };
        let mut backoff = Backoff::new(self.random);
        let end = loop {
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => SessionEnd::Stopped,
                link = dialer.connect() => match link {
                    Ok(link) => state.serve(link, &mut inbox, &stop).await,
                    Err(error) => SessionEnd::Lost(error),
                },
            };
            if state.status.borrow().is_up() {
                backoff.reset(); // It was a good session; one that ends before it is of use does not count.
            }
            state.close_session();
            let reason = match end {
                SessionEnd::Stopped => break Ok(()),
                SessionEnd::Fatal(fatal) => break Err(fatal),
                SessionEnd::Lost(reason) => reason,
            };
            let pause = backoff.pause();
            warn!(retry_in_ms = pause.as_millis(), "No PBX session: {reason:#}");
            state.tell(|status| status.problem = Some(format!("{reason:#}")));
            if !state.wait(pause, &mut inbox, &stop).await {
                break Ok(());
            }
        };
        state.shared_names.finish().await;
        end
    }
}

impl ControllerState {
    async fn serve(&mut self, mut link: Link, inbox: &mut Inbox, stop: &CancellationToken) -> SessionEnd {
        info!("Logged in to the PBX");
        self.statistics.session_begun();
        self.session = Session::new(self.session.number + 1);
        self.send(rcc::initialize(self.monitor.by_group()));
        let mut tick = interval(TICK);
        let mut portion = interval(PORTION);
        for timer in [&mut tick, &mut portion] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            if let Err(error) = self.flush(&mut link).await {
                return error.into();
            }
            // A PBX may send frames without pause, so rarer events are checked before them.
            let woken = tokio::select! {
                biased;
                () = stop.cancelled() => Err(SessionEnd::Stopped),
                _ = tick.tick() => self.on_tick(),
                _ = portion.tick(), if self.session.is_to_monitor_more() => {
                    for frame in self.session.monitor_next() {
                        self.send(frame);
                    }
                    Ok(())
                }
                Some(message) = inbox.next() => self.on_message(message),
                frame = link.next() => match frame {
                    Ok(frame) => self.on_frame(frame).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(end) = woken {
                if matches!(end, SessionEnd::Stopped) {
                    link.close().await;
                }
                return end;
            }
            if let Some(calls) = &mut self.calls {
                let mut frames = Vec::new();
                self.jobs.review(calls, &mut frames);
                self.outgoing.extend(frames);
            }
        }
    }

    /// Lets time pass without a session. Returns false when told to stop.
    async fn wait(&mut self, pause: Duration, inbox: &mut Inbox, stop: &CancellationToken) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = sleep_until(until) => return true,
                // Without a session there is nothing to end.
                Some(message) = inbox.next() => drop(self.on_message(message)),
            }
        }
    }

    /// Writes the frames that wait. A guard is checked last, directly before its frames are written.
    async fn flush(&mut self, link: &mut Link) -> anyhow::Result<()> {
        while let Some(FrameBatch { frames, jobs, guard }) = self.outgoing.pop_front() {
            if guard.is_some_and(|guard| !guard.is_open(self.clock.boot())) {
                warn!("A command came too late and was not carried out");
                if let Some(calls) = &mut self.calls {
                    jobs.into_iter().for_each(|job| self.jobs.too_late(job, calls));
                }
                continue;
            }
            for frame in frames {
                // A PBX that stops reading must not block the controller.
                timeout(WRITE_WITHIN, link.send(frame)).await.context("the PBX takes no data")??;
            }
        }
        Ok(())
    }

    fn close_session(&mut self) {
        self.outgoing.clear();
        self.jobs.interrupt_all();
        self.give_deferred_up();
        self.session = Session::new(self.session.number);
        self.settle_at = None;
        if let Some(calls) = &mut self.calls {
            let outputs = calls.session_lost(self.clock.now());
            self.perform(outputs);
        }
        self.tell(|status| {
            status.link = PbxLink::Down;
            status.session_since = None;
        });
    }

    fn on_tick(&mut self) -> Result<(), SessionEnd> {
        if self.session.listed {
            self.session.give_up_unanswered();
            self.announce_if_complete();
            self.expire_deferred();
        } else if self.session.begun.elapsed() > LIST_WITHIN {
            return Err(SessionEnd::Lost(anyhow::anyhow!(
                "the PBX did not list its users; is the API check mark RCC set at the App object?"
            )));
        }
        let Some(calls) = &mut self.calls else { return Ok(()) };
        let outputs = calls.tick(self.clock.now());
        if let (Some(at), Some(pbx_id)) = (self.settle_at, &self.pbx_id)
            && Instant::now() >= at
        {
            let missing = calls.users_with_missing_calls();
            self.settle_at = (!missing.is_empty()).then(|| Instant::now() + NEXT_SETTLING);
            if !missing.is_empty() {
                self.shared_names.ask_about_missing(pbx_id.clone(), missing);
            }
        }
        let something_ended = !outputs.is_empty();
        self.perform(outputs);
        if something_ended {
            self.release_users();
        }
        let live_calls = self.calls.as_ref().map_or(0, |calls| count(calls.live_calls()));
        // The number of calls alone causes no heartbeat; the next one carries it.
        self.status.send_if_modified(|status| {
            status.live_calls = live_calls;
            false
        });
        Ok(())
    }
}
