//! What the service manager (systemd) is told: that the agent has begun, how it is doing, and that it is alive.
//!
//! Alive means that the controller, through which everything passes, answers. Without a service manager nothing is told to anybody.
//!
//! systemd is told that the agent has begun before the PBX answers. A unit that waits for the PBX would be killed and started again while
//! the PBX is away, and lose what is in memory.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::status::ControllerStatus;

/// The controller is asked this many times within the watchdog's time. While it dials a PBX that is silent, it
/// answers after 20 seconds only.
const PROBES: u32 = 4;
/// Without a watchdog the probes are of no use, but cost nothing.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// `M` is a message to the controller.
#[derive(Debug)]
pub struct SystemdNotifier<M> {
    pub status: watch::Receiver<ControllerStatus>,
    pub controller: mpsc::Sender<M>,
    /// The message that the controller answers as soon as it takes it.
    pub probe: fn(oneshot::Sender<()>) -> M,
}

impl<M> SystemdNotifier<M> {
    /// Tells that the agent runs, whether or not the PBX answers: a restart fixes no connection.
    /// Then reports the status until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let every = sd_notify::watchdog_enabled().map_or(PROBE_EVERY, |patience| patience / PROBES);
        self.watch(every, stop, notify).await;
    }

    async fn watch(mut self, every: Duration, stop: CancellationToken, tell: impl Fn(&[NotifyState<'_>])) {
        tell(&[NotifyState::Ready]);
        let mut probe = interval(every);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answer: Option<oneshot::Receiver<()>> = None;
        self.status.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = self.status.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    tell(&[NotifyState::Status(&describe(&self.status.borrow_and_update()))]);
                }
                // One probe at a time: a controller that hangs is not asked again.
                _ = probe.tick(), if answer.is_none() => {
                    let (reply, heard) = oneshot::channel();
                    // Where the queue of messages is full, the next tick asks again.
                    answer = self.controller.try_send((self.probe)(reply)).is_ok().then_some(heard);
                }
                Some(heard) = async { Some(answer.as_mut()?.await) }, if answer.is_some() => {
                    answer = None;
                    if heard.is_ok() {
                        tell(&[NotifyState::Watchdog]);
                    }
                }
                () = stop.cancelled() => break,
            }
        }
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

/// One line for `systemctl status`.
fn describe(status: &ControllerStatus) -> String {
    match (&status.problem, &status.pbx_id) {
        (None, Some(pbx)) => format!("connected to PBX {pbx}, {} users", status.visible_users),
        (None, None) => "connecting to the PBX".to_owned(),
        // A line ends the status.
        (Some(problem), _) => format!("no PBX session: {}", problem.replace('\n', " ")),
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!("The service manager does not listen: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::agent_status::PbxLink;
    use tokio::sync::mpsc::UnboundedReceiver;

    /// A probe, or anything else that the controller is told.
    type Message = Option<oneshot::Sender<()>>;

    struct Bench {
        status: watch::Sender<ControllerStatus>,
        controller: mpsc::Receiver<Message>,
        told: UnboundedReceiver<String>,
        stop: CancellationToken,
    }

    impl Bench {
        /// A service, and a controller with room for one message.
        fn new() -> Self {
            Self::with(mpsc::channel(1))
        }

        fn with((messages, controller): (mpsc::Sender<Message>, mpsc::Receiver<Message>)) -> Self {
            let (status, watched) = watch::channel(ControllerStatus::starting());
            let (teller, told) = mpsc::unbounded_channel();
            let stop = CancellationToken::new();
            let service = SystemdNotifier { status: watched, controller: messages, probe: Some };
            tokio::spawn(service.watch(Duration::from_millis(1), stop.clone(), move |state| {
                let lines: Vec<String> = state.iter().map(ToString::to_string).collect();
                let _ = teller.send(lines.join(" "));
            }));
            Self { status, controller, told, stop }
        }

        async fn told(&mut self) -> String {
            self.told.recv().await.expect("the service runs")
        }

        /// What the controller has to answer, as soon as it looks.
        async fn probed(&mut self) -> oneshot::Sender<()> {
            loop {
                if let Some(reply) = self.controller.recv().await.expect("the service runs") {
                    return reply;
                }
            }
        }

        fn connect(&self) {
            self.status.send_modify(|status| {
                status.link = PbxLink::Up;
                status.problem = None;
                status.pbx_id = Some("main".into());
                status.visible_users = 6;
            });
        }
    }

    #[tokio::test]
    async fn only_a_controller_that_answers_is_alive() {
        let mut bench = Bench::new();
        assert_eq!(bench.told().await, "READY=1");
        assert_eq!(bench.told().await, "STATUS=no PBX session: starting");
        for _ in 0..3 {
            bench.probed().await.send(()).expect("the service waits");
            assert_eq!(bench.told().await, "WATCHDOG=1");
        }
        let unanswered = bench.probed().await;
        // Later something else is told, and no sign of life before it.
        bench.connect();
        assert_eq!(bench.told().await, "STATUS=connected to PBX main, 6 users");
        unanswered.send(()).expect("the service waits");
        assert_eq!(bench.told().await, "WATCHDOG=1");
        bench.stop.cancel();
        assert_eq!(bench.told().await, "STOPPING=1 STATUS=stopping");
    }

    #[tokio::test]
    async fn a_controller_that_takes_no_message_is_not_alive() {
        let (messages, controller) = mpsc::channel(1);
        messages.try_send(None).expect("room");
        let mut bench = Bench::with((messages, controller));
        assert_eq!(bench.told().await, "READY=1");
        assert_eq!(bench.told().await, "STATUS=no PBX session: starting");
        bench.connect();
        assert_eq!(bench.told().await, "STATUS=connected to PBX main, 6 users");
        bench.probed().await.send(()).expect("the service waits");
        assert_eq!(bench.told().await, "WATCHDOG=1");
    }
}
