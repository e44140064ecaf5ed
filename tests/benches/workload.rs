//! Work for `fanout` and `deliver`, which run as deployed and are kept busy.
//!
//! What the queue, the table and the receiver do is not theirs, so the local cloud answers each kind of request once, and that
//! answer is repeated at once from then on. (Its own answers take milliseconds, in which other programs take the processor's caches;
//! then the same work costs nearly twice as much.)

use easyconnect_tests::stack::{batch, sqs_event};
use easyconnect_tests::{Inbox, Lambda, Stack, eventually};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::delivery::Delivery;
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use shared::webhook::Webhook;
use tokio::process::Command;
use uuid::Uuid;

use crate::parrot::Parrot;

/// Requests have a time limit, which a function may exceed on a machine that does other things as well.
pub(crate) const TRIES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Fanout,
    Deliver,
}

impl Function {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Deliver => "deliver",
        }
    }
}

/// A cloud with one webhook.
pub(crate) struct Workload {
    stack: Stack,
    inbox: Inbox,
    webhook: Webhook,
}

/// A function that is handed so many events at a time, and the cloud that it believes in.
pub(crate) struct Busy {
    pub(crate) lambda: Lambda,
    function: Function,
    at_a_time: usize,
    _parrot: Parrot,
}

impl Workload {
    pub(crate) async fn start() -> Self {
        let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
        let mut webhook = stack.subscribe(&inbox).await;
        // Successes are noted every few seconds only, so nearly every delivery finds a recent one.
        let an_hour = SignedDuration::from_hours(1);
        webhook.health.last_success_at = Some((Timestamp::now() + an_hour).as_millisecond());
        stack.state.put_webhook(&webhook).await.expect("the webhook is stored");
        Self { stack, inbox, webhook }
    }

    /// Starts a function, as this program, and hands it the events that the cloud answers for.
    pub(crate) async fn begin(&self, program: Command, function: Function, at_a_time: usize) -> Busy {
        // Each has one of its own, because they ask for different things, and for different numbers of them.
        let parrot = Parrot::start(self.stack.var("AWS_ENDPOINT_URL")).await;
        let lambda = Lambda::start_program(program, &self.stack, function.name(), &parrot.url()).await;
        let mut busy = Busy { lambda, function, at_a_time, _parrot: parrot };
        let mut tries = 0..TRIES;
        while !self.handle(&mut busy, 1).await {
            assert!(tries.next().is_some(), "this machine is too busy");
        }
        if function == Function::Fanout {
            // The real queue has taken these.
            eventually("the first batch is delivered", async || match self.inbox.count() {
                count if count >= at_a_time => Ok(()),
                count => Err(format!("{count} came")),
            })
            .await;
            self.stack.until_empty("DELIVERIES_QUEUE_URL").await;
        }
        busy
    }

    /// Has a function handle so many batches. Returns whether it could do so in time.
    pub(crate) async fn handle(&self, busy: &mut Busy, batches: usize) -> bool {
        for _ in 0..batches {
            self.inbox.forget();
            busy.lambda.hand_over(&self.invocation(busy));
            if busy.lambda.answer().await != json!({"batchItemFailures": []}) {
                return false;
            }
            if busy.function == Function::Deliver {
                assert_eq!(self.inbox.count(), busy.at_a_time, "each event came once");
            }
        }
        true
    }

    fn invocation(&self, busy: &Busy) -> Value {
        let events = std::iter::repeat_with(event).take(busy.at_a_time);
        match busy.function {
            Function::Fanout => sqs_event(&events.collect::<Vec<CallEvent>>()),
            Function::Deliver => batch(events.map(|event| {
                let delivery = Delivery::of_call(event, self.webhook.id);
                (delivery.group(), envelope::seal(&delivery).expect("JSON"))
            })),
        }
    }
}

fn event() -> CallEvent {
    CallEvent::full_example(CallId::from_uuid(Uuid::new_v4()), Status::Disconnected, Timestamp::now())
}
