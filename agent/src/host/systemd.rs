//! What the service manager (systemd) is told: that the agent has begun, how it is doing, and that it is alive.
//!
//! Alive means that the controller and the outbox, through which everything passes, answer, and that no other worker has ended or
//! hangs. Without a service manager nothing is told to anybody.
//!
//! systemd is told that the agent has begun before the PBX answers. A unit that waits for the PBX would be killed and started again while
//! the PBX is away, and lose what is in memory.

use std::fmt::{self, Write as _};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use sd_notify::NotifyState;
use shared::agent_status::{AgentStatus, PbxLink};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::status::ControllerStatus;

/// The workers are asked this many times within the watchdog's time. While the controller dials a PBX that is silent, it
/// answers after 20 seconds only.
const PROBES: u32 = 4;
/// Without a watchdog nobody hears of it, but the status still tells of a worker that does not answer.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// The status line also tells of what no session change announces: the cloud, and events that wait.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub struct SystemdNotifier {
    pub status: watch::Receiver<ControllerStatus>,
    /// The line for `systemctl status` at this moment.
    pub line: Box<dyn Fn() -> String + Send + Sync>,
    /// Asks the workers, and answers whether all of them are at work. A worker that hangs leaves it without an answer.
    pub are_alive: Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
}

impl fmt::Debug for SystemdNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemdNotifier").field("status", &self.status).finish_non_exhaustive()
    }
}

impl SystemdNotifier {
    /// Tells that the agent runs, whether or not the PBX answers: a restart fixes no connection.
    /// Then reports the status until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let every = sd_notify::watchdog_enabled().map_or(PROBE_EVERY, |patience| patience / PROBES);
        self.watch(every, stop, notify).await;
    }

    async fn watch(mut self, every: Duration, stop: CancellationToken, tell: impl Fn(&[NotifyState<'_>])) {
        tell(&[NotifyState::Ready]);
        let (mut probe, mut look) = (interval(every), interval(LINE_EVERY));
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answer: Option<BoxFuture<'static, bool>> = None;
        let mut told = String::new();
        self.status.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = self.status.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                // One probe at a time: a worker that hangs is not asked again.
                _ = probe.tick(), if answer.is_none() => answer = Some((self.are_alive)()),
                Some(are_alive) = async { Some(answer.as_mut()?.await) }, if answer.is_some() => {
                    answer = None;
                    if are_alive {
                        tell(&[NotifyState::Watchdog]);
                    }
                }
                _ = look.tick() => {}
                () = stop.cancelled() => break,
            }
            let line = (self.line)();
            if line != told {
                tell(&[NotifyState::Status(&line)]);
                told = line;
            }
        }
        // The status ends with the controller, which an agent that stops does not outlive by much.
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        stop.cancelled().await;
    }
}

/// One line for `systemctl status`: the PBX session, what is wrong beside it, and what waits.
pub fn describe(agent: &AgentStatus, monitored_users: Option<u32>) -> String {
    let mut line = match (agent.pbx, &agent.pbx_id) {
        (PbxLink::Up, Some(pbx)) => format!("connected to PBX {pbx}, {} users", agent.visible_users),
        (PbxLink::Up, None) => format!("connected to the PBX, {} users", agent.visible_users),
        (PbxLink::Down, _) => "no PBX session".to_owned(),
    };
    if let (PbxLink::Up, Some(monitored)) = (agent.pbx, monitored_users) {
        let refused = agent.visible_users.saturating_sub(monitored);
        let _ = write!(line, ", {monitored} monitored");
        if refused > 0 {
            let _ = write!(line, ", {refused} refused by the PBX");
        }
    }
    if let Some(problem) = &agent.problem {
        let _ = write!(line, "{} {problem}", if agent.pbx == PbxLink::Down { ":" } else { ";" });
    }
    if agent.waiting_events > 0 {
        let _ = write!(line, "; {} events wait", agent.waiting_events);
        // A line that changes with each second would fill the journal of the service manager.
        if let Some(minutes) = agent.vitals.oldest_event_age_ms.map(|age| age / 60_000).filter(|minutes| *minutes > 0) {
            let _ = write!(line, ", the oldest for {:#}", SignedDuration::from_mins(minutes));
        }
    }
    // A line ends the status.
    line.replace('\n', " ")
}

/// Tells that the configuration is read again. It has to be followed by [`ready`].
pub fn reloading() {
    tell_reloading(notify);
}

/// systemd tells by the time whether this answers its latest request for a reload.
fn tell_reloading(tell: impl Fn(&[NotifyState<'_>])) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!("No monotonic time: {error}"),
    }
}

pub fn ready() {
    notify(&[NotifyState::Ready]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!("The service manager does not listen: {error}");
    }
}

#[cfg(test)]
mod tests {
    use shared::agent_status::Vitals;
    use tokio::sync::mpsc::{self, UnboundedReceiver};
    use tokio::sync::oneshot;

    use super::*;

    struct Bench {
        line: watch::Sender<String>,
        status: watch::Sender<ControllerStatus>,
        /// What the workers have to answer.
        probes: UnboundedReceiver<oneshot::Sender<bool>>,
        told: UnboundedReceiver<String>,
        stop: CancellationToken,
    }

    impl Bench {
        fn new() -> Self {
            let (status, watched) = watch::channel(ControllerStatus::starting());
            let (line, lines) = watch::channel("no PBX session".to_owned());
            let (teller, told) = mpsc::unbounded_channel();
            let (probe, probes) = mpsc::unbounded_channel();
            let stop = CancellationToken::new();
            let service = SystemdNotifier {
                status: watched,
                line: Box::new(move || lines.borrow().clone()),
                are_alive: Box::new(move || {
                    let (reply, answer) = oneshot::channel();
                    let _ = probe.send(reply);
                    Box::pin(async move { answer.await.unwrap_or(false) })
                }),
            };
            tokio::spawn(service.watch(Duration::from_millis(1), stop.clone(), move |state| {
                let lines: Vec<String> = state.iter().map(ToString::to_string).collect();
                let _ = teller.send(lines.join(" "));
            }));
            Self { line, status, probes, told, stop }
        }

        async fn told(&mut self) -> String {
            self.told.recv().await.expect("the service runs")
        }

        async fn probed(&mut self) -> oneshot::Sender<bool> {
            self.probes.recv().await.expect("the service runs")
        }
    }

    #[tokio::test]
    async fn only_workers_that_answer_are_alive() {
        let mut bench = Bench::new();
        assert_eq!(bench.told().await, "READY=1");
        assert_eq!(bench.told().await, "STATUS=no PBX session");
        for _ in 0..3 {
            bench.probed().await.send(true).expect("the service waits");
            assert_eq!(bench.told().await, "WATCHDOG=1");
        }
        bench.probed().await.send(false).expect("the service waits");
        let unanswered = bench.probed().await;
        // Later something else is told, and no sign of life before it.
        bench.line.send_replace("connected".to_owned());
        bench.status.send_modify(|status| status.link = PbxLink::Up);
        assert_eq!(bench.told().await, "STATUS=connected");
        unanswered.send(true).expect("the service waits");
        assert_eq!(bench.told().await, "WATCHDOG=1");
        bench.stop.cancel();
        assert_eq!(bench.told().await, "STOPPING=1 STATUS=stopping");
    }

    #[tokio::test(start_paused = true)]
    async fn line_is_told_again_when_it_changes_without_a_change_of_the_session() {
        let mut bench = Bench::new();
        assert_eq!(bench.told().await, "READY=1");
        assert_eq!(bench.told().await, "STATUS=no PBX session");
        bench.line.send_replace("12 events wait".to_owned());
        assert_eq!(bench.told().await, "STATUS=12 events wait");
    }

    #[test]
    fn reload_is_told_with_its_time() {
        let told = std::cell::RefCell::new(String::new());
        tell_reloading(|state| told.borrow_mut().extend(state.iter().map(|state| format!("{state}\n"))));
        let told = told.into_inner();
        let time =
            told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.trim_end().parse::<u64>().ok());
        assert!(time.is_some_and(|time| time > 0), "{told}");
    }

    #[test]
    fn line_tells_the_session_the_cloud_and_what_waits() {
        let mut status: AgentStatus = serde_json::from_value(serde_json::json!({
            "agentId": "rack/1", "name": "rack", "version": "0.1.0", "pbxId": "main", "pbx": "up", "startedAt": 1, "updatedAt": 2,
            "visibleUsers": 6, "liveCalls": 0, "waitingEvents": 0, "expiresAt": 9,
        }))
        .expect("a status");
        assert_eq!(describe(&status, None), "connected to PBX main, 6 users");
        assert_eq!(describe(&status, Some(6)), "connected to PBX main, 6 users, 6 monitored");
        status.problem = Some("The events queue takes nothing".to_owned());
        status.waiting_events = 12;
        status.vitals = Vitals { oldest_event_age_ms: Some(150_000), ..Vitals::default() };
        assert_eq!(
            describe(&status, Some(4)),
            "connected to PBX main, 6 users, 4 monitored, 2 refused by the PBX; The events queue takes nothing; 12 events wait, the \
             oldest for 2m"
        );
        status.pbx = PbxLink::Down;
        status.problem = Some("cannot connect\nto it".to_owned());
        status.waiting_events = 0;
        assert_eq!(describe(&status, None), "no PBX session: cannot connect to it");
    }
}
