//! The desk: one task that holds the PBX session and the call core, and through which everything about calls passes.
//!
//! It wakes for a frame, a request, an answer of the shared memory or the passing of time, asks the pure parts what follows
//! from it, and does that. Nothing else writes to the PBX.

mod inbox;
mod requests;

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
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::calls::{Calls, Origin, Output, Records};
use crate::commands::jobs::{Jobs, Outgoing};
use crate::commands::request::{Act, Request};
use crate::config::{DtmfRecv, Monitor};
use crate::events::outbox::Outbox;
use crate::host::backoff::Backoff;
use crate::host::statistics::Vitals;
use crate::host::status::DeskStatus;
use crate::pbx::frames::{CallInfo, Frame, UserInfo};
use crate::pbx::link::{Dialer, Link};
use crate::pbx::rcc;
use crate::pbx::session::{FIRST_SETTLING, Session};
use crate::peers::lookup::{Memory, Recollection};

use inbox::Inbox;

/// Naming time-outs and waiting jobs are looked at this often.
const TICK: Duration = Duration::from_millis(100);
/// As often as the PBX itself lists a portion of users, a portion of them is monitored.
const PORTION: Duration = Duration::from_millis(20);
const WRITE_WITHIN: Duration = Duration::from_secs(10);
const LIST_WITHIN: Duration = Duration::from_secs(15);
const NEXT_SETTLING: Duration = Duration::from_secs(10);

/// What no retry can mend.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    #[error(
        "cannot tell which PBX this is: its visible users name {0}. Set `pbx.id` in the configuration to one short name, \
         the same for all agents of this PBX"
    )]
    PbxId(String),
    #[error(
        "the PBX shows no user, so it cannot be told which PBX this is. Make the App object an active member of the group with \
         the users, and the users members of it; or set `pbx.id`"
    )]
    Nobody,
}

/// Why a session ended.
enum End {
    Stopped,
    Lost(anyhow::Error),
    Fatal(Fatal),
}

impl<E: Into<anyhow::Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Lost(error.into())
    }
}

#[derive(Debug)]
pub struct Desk {
    pub dialer: Dialer,
    pub monitor: Monitor,
    pub dtmf_recv: DtmfRecv,
    pub configured_pbx_id: Option<String>,
    pub agent_id: Arc<str>,
    pub boot_id: Uuid,
    pub clock: CloudClock,
    pub random: Random,
    pub exchange: Exchange,
    pub memory: Memory,
    pub recollections: mpsc::UnboundedReceiver<Recollection>,
    pub requests: mpsc::Receiver<Request>,
    pub outbox: Outbox,
    /// What the call core knew before the agent was restarted.
    pub records: Records,
    /// The same, if it could be read only after the start.
    pub late: mpsc::UnboundedReceiver<Records>,
    pub status: watch::Sender<DeskStatus>,
    pub vitals: Vitals,
}

impl Desk {
    /// Holds a session with the PBX until stopped, and gets a new one whenever it is lost.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Fatal> {
        let Self { dialer, monitor, dtmf_recv, configured_pbx_id, agent_id, boot_id, clock, exchange, memory, .. } =
            self;
        if dialer.is_exposed() {
            warn!(
                "The connection to the PBX is not encrypted, and nobody proves to be the PBX: `pbx.url` begins with ws://"
            );
        }
        let mut shift = Shift {
            monitor,
            dtmf_recv,
            configured_pbx_id,
            agent_id,
            boot_id,
            clock,
            exchange,
            memory,
            outbox: self.outbox,
            records: Some(self.records),
            status: self.status,
            vitals: self.vitals,
            calls: None,
            pbx_id: None,
            session: Session::new(0),
            jobs: Jobs::default(),
            outgoing: VecDeque::new(),
            deferred: Vec::new(),
            settle_at: None,
        };
        let mut inbox = Inbox { requests: self.requests, recollections: self.recollections, late: self.late };
        let mut backoff = Backoff::new(self.random);
        let end = loop {
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => End::Stopped,
                link = dialer.connect() => match link {
                    Ok(link) => shift.serve(link, &mut inbox, &stop).await,
                    Err(error) => End::Lost(error),
                },
            };
            if shift.status.borrow().is_up() {
                backoff.reset(); // It was a good session; one that ends before it is of use does not count.
            }
            shift.close_session();
            let reason = match end {
                End::Stopped => break Ok(()),
                End::Fatal(fatal) => break Err(fatal),
                End::Lost(reason) => reason,
            };
            let pause = backoff.pause();
            warn!(retry_in_ms = pause.as_millis(), "No PBX session: {reason:#}");
            shift.tell(|status| status.problem = Some(format!("{reason:#}")));
            if !shift.wait(pause, &mut inbox, &stop).await {
                break Ok(());
            }
        };
        shift.memory.finish().await;
        end
    }
}

/// Everything that the desk keeps between one event and the next.
struct Shift {
    monitor: Monitor,
    dtmf_recv: DtmfRecv,
    configured_pbx_id: Option<String>,
    agent_id: Arc<str>,
    boot_id: Uuid,
    clock: CloudClock,
    exchange: Exchange,
    memory: Memory,
    outbox: Outbox,
    /// Taken by the call core when it begins.
    records: Option<Records>,
    status: watch::Sender<DeskStatus>,
    vitals: Vitals,
    /// The call core, from the moment on when the PBX is known by its id.
    calls: Option<Calls>,
    pbx_id: Option<Arc<str>>,
    session: Session,
    jobs: Jobs,
    /// Frames to be written before anything else happens.
    outgoing: VecDeque<Outgoing>,
    /// Commands that wait for a monitor that the PBX has been asked for.
    deferred: Vec<Act>,
    /// When to look again after calls that did not come back.
    settle_at: Option<Instant>,
}

impl Shift {
    async fn serve(&mut self, mut link: Link, inbox: &mut Inbox, stop: &CancellationToken) -> End {
        info!("Logged in to the PBX");
        self.vitals.session_begun();
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
            // A PBX may send frames without end; what comes before them here is rare.
            let woken = tokio::select! {
                biased;
                () = stop.cancelled() => Err(End::Stopped),
                _ = tick.tick() => self.on_tick(),
                _ = portion.tick(), if self.session.is_to_monitor_more() => {
                    for frame in self.session.monitor_next() {
                        self.send(frame);
                    }
                    Ok(())
                }
                Some(post) = inbox.next() => self.on_post(post),
                frame = link.next() => match frame {
                    Ok(frame) => self.on_frame(frame).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(end) = woken {
                if matches!(end, End::Stopped) {
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
                Some(post) = inbox.next() => drop(self.on_post(post)),
            }
        }
    }

    fn send(&mut self, text: String) {
        self.outgoing.push_back(text.into());
    }

    /// Writes what is to be written. A guard is asked as the very last thing before its frames go out.
    async fn flush(&mut self, link: &mut Link) -> anyhow::Result<()> {
        while let Some(Outgoing { frames, jobs, guard }) = self.outgoing.pop_front() {
            if guard.is_some_and(|guard| !guard.is_open(self.clock.boot())) {
                warn!("A command came too late and was not carried out");
                if let Some(calls) = &mut self.calls {
                    jobs.into_iter().for_each(|job| self.jobs.too_late(job, calls));
                }
                continue;
            }
            for frame in frames {
                // A PBX that reads nothing any more must not hold up what else the desk does.
                timeout(WRITE_WITHIN, link.send(frame)).await.context("the PBX takes no data")??;
            }
        }
        Ok(())
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), End> {
        match frame {
            Frame::CallInfo(call_info) => self.on_call_info(call_info),
            Frame::User(user_info) => self.on_user_info(user_info),
            Frame::InitializeResult { error: None } => self.on_listed().await?,
            Frame::InitializeResult { error: Some(error) } => {
                return Err(End::Lost(anyhow::anyhow!(
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
        if let Some((guid, identity)) = self.session.user_info(user_info, &self.monitor) {
            if let Some(calls) = &mut self.calls {
                calls.user_is(guid.clone(), identity);
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

    fn release_users(&mut self) {
        let calls = self.calls.as_ref();
        for frame in self.session.release(|guid| calls.is_some_and(|calls| calls.has_calls(guid))) {
            self.send(frame);
        }
    }

    /// The list of users is complete: now it is certain which PBX this is, and monitoring can begin.
    async fn on_listed(&mut self) -> Result<(), End> {
        self.session.listed = true;
        let pbx_id = self.identify().map_err(End::Fatal)?;
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
            calls.user_is(guid, identity);
        }
        self.announce_if_complete();
        Ok(())
    }

    fn identify(&self) -> Result<Arc<str>, Fatal> {
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
            [] if self.session.visible().next().is_none() => Err(Fatal::Nobody),
            [] => Err(Fatal::PbxId("none".to_owned())),
            several => Err(Fatal::PbxId(several.join(", "))),
        }
    }

    /// Once everybody is monitored, the agent can act, and says so.
    fn announce_if_complete(&mut self) {
        if !self.session.is_complete() || self.status.borrow().is_up() {
            return;
        }
        let now = self.clock.now();
        info!(users = self.session.visible().count(), pbx = self.pbx_id.as_deref(), "Monitoring");
        self.settle_at = Some(Instant::now() + FIRST_SETTLING);
        let (pbx_id, prefixes) = (self.pbx_id.clone(), self.session.prefixes.clone());
        let visible_users = count(self.session.visible().count());
        self.tell(|status| {
            status.link = PbxLink::Up;
            status.pbx_id = pbx_id;
            status.session_since = Some(now);
            status.prefixes = prefixes;
            status.visible_users = visible_users;
            status.problem = None;
        });
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

    fn on_tick(&mut self) -> Result<(), End> {
        if self.session.listed {
            self.session.give_up_unanswered();
            self.announce_if_complete();
            self.expire_deferred();
        } else if self.session.begun.elapsed() > LIST_WITHIN {
            return Err(End::Lost(anyhow::anyhow!(
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
                self.memory.ask_about_missing(pbx_id.clone(), missing);
            }
        }
        let something_ended = !outputs.is_empty();
        self.perform(outputs);
        if something_ended {
            self.release_users();
        }
        let live_calls = self.calls.as_ref().map_or(0, |calls| count(calls.live_calls()));
        // Not worth a heartbeat of its own; the next one takes it along.
        self.status.send_if_modified(|status| {
            status.live_calls = live_calls;
            false
        });
        Ok(())
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        let (Some(pbx_id), Some(calls)) = (&self.pbx_id, &mut self.calls) else { return };
        let mut events = Vec::new();
        for output in outputs {
            match output {
                Output::Event(event) => {
                    debug!(event.id = %event.event_id, call.id = %event.call_id(), status = event.status().as_str(), "Event");
                    self.jobs.on_event(&event);
                    self.vitals.event(&event);
                    events.push(*event);
                }
                Output::Remember(user, item) => self.memory.remember(pbx_id.clone(), user, item),
                Output::Ask(leg, user) => self.memory.ask(pbx_id.clone(), leg, user),
            }
        }
        self.vitals.nameless_calls(calls.nameless_calls());
        let changes = calls.changes();
        if !events.is_empty() || !changes.is_empty() {
            self.outbox.put(&events, changes, self.clock.now());
        }
    }

    fn belongs_to(&self, other: &str) -> End {
        let own = self.pbx_id.as_deref().unwrap_or("?");
        End::Lost(anyhow::anyhow!(
            "this stack belongs to PBX `{other}`, whose agent is online; PBX `{own}` needs a stack of its own"
        ))
    }

    fn tell_users(&mut self) {
        let visible_users = count(self.session.visible().count());
        self.tell(|status| status.visible_users = visible_users);
    }

    fn tell(&self, change: impl FnOnce(&mut DeskStatus)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
