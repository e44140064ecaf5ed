//! The controller: one task that holds the PBX session and the call core, and through which everything about calls passes.
//!
//! It wakes for a frame, a request, an answer of the shared names or the passing of time, asks the pure parts what follows
//! from it, and does that. Nothing else writes to the PBX.

mod directory;
mod frames;
mod inbox;
mod requests;
mod slot;
mod state;

use std::collections::VecDeque;
use std::pin::pin;
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
use crate::pbx::identity::PbxIdentity;
use crate::pbx::link::{Dialer, Link};
use crate::pbx::rcc;
use crate::pbx::session::Session;
use crate::peers::directory::HomeList;
use crate::peers::lookup::{LookupResult, SharedNames};

use inbox::Inbox;
pub use state::FatalError;
use state::{ControllerState, SessionEnd, count};

/// Naming time-outs and waiting jobs are checked this often.
const TICK: Duration = Duration::from_millis(100);
const WRITE_WITHIN: Duration = Duration::from_secs(10);
const LIST_WITHIN: Duration = Duration::from_secs(15);
/// A PBX that shows nobody is asked again after so long.
const SOMEBODY_WITHIN: Duration = Duration::from_secs(60);
/// A session that ends sooner was none of use: the pauses before the next ones go on growing.
const LASTING: Duration = Duration::from_secs(30);
const NEXT_SETTLING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Controller {
    /// The PBX, and where else it is found when it is not there.
    pub dialers: Vec<Dialer>,
    pub monitor: Monitor,
    pub dtmf_recv: DtmfRecv,
    pub identity: PbxIdentity,
    pub agent_id: Arc<str>,
    pub boot_id: Uuid,
    pub clock: CloudClock,
    pub random: Random,
    pub exchange: Exchange,
    /// How many slots this agent knows the commands queues of.
    pub queues: usize,
    pub shared_names: SharedNames,
    pub lookups: mpsc::UnboundedReceiver<LookupResult>,
    pub requests: mpsc::Receiver<ControllerRequest>,
    pub outbox: Outbox,
    /// What the call core knew before the agent was restarted.
    pub records: Records,
    /// The same, if it could be read only after the start.
    pub late: mpsc::UnboundedReceiver<Records>,
    pub status: watch::Sender<ControllerStatus>,
    pub home_list: watch::Sender<Option<Arc<HomeList>>>,
    pub statistics: Statistics,
    pub is_reporter: watch::Receiver<bool>,
}

impl Controller {
    /// Holds a session with the PBX until stopped, and gets a new one whenever it is lost.
    pub async fn run(self, stop: CancellationToken) -> Result<(), FatalError> {
        let Self { dialers, monitor, dtmf_recv, identity, agent_id, boot_id, clock, exchange, shared_names, .. } = self;
        let mut state = ControllerState {
            dialers: dialers.into(),
            monitor,
            dtmf_recv,
            identity,
            agent_id,
            boot_id,
            clock,
            exchange,
            queues: self.queues,
            shared_names,
            outbox: self.outbox,
            records: Some(self.records),
            status: self.status,
            home_list: self.home_list,
            statistics: self.statistics,
            calls: None,
            pbx_id: None,
            session: Session::new(0),
            identified: false,
            listed_nobody: false,
            identify_at: None,
            jobs: Jobs::default(),
            outgoing: VecDeque::new(),
            deferred: Vec::new(),
            is_reporter: self.is_reporter,
            settle_at: None,
        };
        state.warn_if_exposed();
        let mut inbox = Inbox { requests: self.requests, lookups: self.lookups, late: self.late };
        let mut backoff = Backoff::new(self.random);
        let end = 'rounds: loop {
            let mut reason = anyhow::anyhow!("`pbx.url` is empty");
            let dialers = state.dialers.clone();
            for dialer in dialers.iter() {
                let end = tokio::select! {
                    biased;
                    () = stop.cancelled() => SessionEnd::Stopped,
                    link = state.connect(dialer, &mut inbox) => match link {
                        Ok(link) => state.serve(link, &mut inbox, &stop).await,
                        Err(end) => end,
                    },
                };
                let was_up = state.status.borrow().is_up();
                if was_up && state.session.begun.elapsed() >= LASTING {
                    backoff.reset();
                }
                state.close_session();
                reason = match end {
                    SessionEnd::Stopped => break 'rounds Ok(()),
                    SessionEnd::Renewed => {
                        backoff.reset();
                        continue 'rounds;
                    }
                    SessionEnd::Fatal(fatal) => break 'rounds Err(fatal),
                    SessionEnd::Lost(reason) if dialers.len() > 1 => reason.context(format!("at {}", dialer.host())),
                    SessionEnd::Lost(reason) => reason,
                };
                if was_up {
                    break; // The next round begins with the first address again.
                }
                state.tell(|status| status.problem = Some(format!("{reason:#}")));
            }
            let pause = backoff.pause();
            warn!(retry_in_ms = pause.as_millis(), "No PBX session: {reason:#}");
            state.tell(|status| status.problem = Some(format!("{reason:#}")));
            match state.wait(pause, &mut inbox, &stop).await {
                None => {}
                Some(SessionEnd::Renewed) => backoff.reset(),
                Some(_) => break Ok(()),
            }
        };
        state.shared_names.finish().await;
        end
    }
}

impl ControllerState {
    /// Dials, and answers what is asked meanwhile.
    async fn connect(&mut self, dialer: &Dialer, inbox: &mut Inbox) -> Result<Link, SessionEnd> {
        let mut connecting = pin!(dialer.connect());
        loop {
            tokio::select! {
                biased;
                link = &mut connecting => return Ok(link?),
                // Without a session there is nothing else to end.
                Some(message) = inbox.next() => if let Err(end @ SessionEnd::Renewed) = self.on_message(message) {
                    return Err(end);
                },
            }
        }
    }

    async fn serve(&mut self, mut link: Link, inbox: &mut Inbox, stop: &CancellationToken) -> SessionEnd {
        info!("Logged in to the PBX");
        self.statistics.session_begun();
        self.session = Session::new(self.session.number + 1);
        (self.identified, self.listed_nobody, self.identify_at) = (false, false, None);
        self.send(rcc::initialize(self.monitor.by_group()));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.identified && self.identify_at.is_none() {
                for frame in self.session.monitor_next() {
                    self.send(frame);
                }
            }
            if let Err(error) = self.flush(&mut link).await {
                return error.into();
            }
            // A PBX may send frames without pause, so rarer events are checked before them.
            let woken = tokio::select! {
                biased;
                () = stop.cancelled() => Err(SessionEnd::Stopped),
                _ = tick.tick() => self.on_tick().await,
                Some(message) = inbox.next() => self.on_message(message),
                frame = link.next() => match frame {
                    Ok(frame) => self.on_frame(frame).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(end) = woken {
                if matches!(end, SessionEnd::Stopped | SessionEnd::Renewed) {
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

    /// Lets time pass without a session. Ends sooner when told to stop, or when another configuration is worth an attempt.
    async fn wait(&mut self, pause: Duration, inbox: &mut Inbox, stop: &CancellationToken) -> Option<SessionEnd> {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Some(SessionEnd::Stopped),
                () = sleep_until(until) => return None,
                // Without a session there is nothing else to end.
                Some(message) = inbox.next() => if let Err(end @ SessionEnd::Renewed) = self.on_message(message) {
                    return Some(end);
                },
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

    async fn on_tick(&mut self) -> Result<(), SessionEnd> {
        if self.identify_at.is_some_and(|at| Instant::now() >= at) {
            self.identify().await?;
        }
        if self.session.listed && !self.identified && self.session.begun.elapsed() > SOMEBODY_WITHIN {
            return Err(SessionEnd::Lost(anyhow::anyhow!(state::NOBODY)));
        }
        if self.session.listed {
            self.session.on_tick();
            self.announce_if_complete();
            self.tell_refusals();
            self.tell_directory();
            self.expire_deferred();
        } else if self.session.begun.elapsed() > LIST_WITHIN {
            return Err(SessionEnd::Lost(anyhow::anyhow!(
                "the PBX did not list its users; is the API check mark RCC set at the App object?"
            )));
        }
        self.follow_reporter();
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
        // The calls alone cause no heartbeat; the next one carries it.
        let placed = self.jobs.placed_by_queues();
        self.status.send_if_modified(|status| {
            status.live_calls = live_calls;
            if !placed.iter().eq(&status.placed) {
                status.placed = placed.iter().copied().collect();
            }
            false
        });
        Ok(())
    }
}
