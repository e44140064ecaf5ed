//! A command from the API to the agent's answer and back, beside the same chain bare.
//!
//! The floor is what the chain costs without EasyConnect: one HTTP request that the function answers by itself, and then
//! put, send, receive, conditional update, put and get with the same SDK against the same local cloud.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use easyconnect_tests::{Agent, Pbx, Stack};
use shared::aws;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

use crate::report::{Report, median, millis};

const COMMANDS: usize = 200;
const GOAL: Duration = Duration::from_millis(15);

pub(crate) async fn measure(report: &mut Report) {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let stack = Arc::new(stack);
    let agent = Agent::start(&stack, &pbx, "bench").await;
    let mut figures = Vec::new();
    for at_a_time in [1, 20] {
        let command = repeat(at_a_time, {
            let stack = stack.clone();
            move || {
                let stack = stack.clone();
                async move {
                    stack.api.get("/rcc/calls").await.ok();
                }
            }
        })
        .await;
        let hop = repeat(at_a_time, {
            let stack = stack.clone();
            move || {
                let stack = stack.clone();
                async move {
                    stack.api.get("/rcc/calls?wait=no").await.refused(400, "invalid_request");
                }
            }
        })
        .await;
        figures.push((at_a_time, command, hop));
    }
    // The agent must not take the bare chain's messages.
    drop(agent);
    for (at_a_time, command, hop) in figures {
        let chain = Chain::new(&stack, at_a_time);
        let bare = repeat(at_a_time, {
            let chain = chain.clone();
            move || {
                let chain = chain.clone();
                async move { chain.once().await }
            }
        })
        .await;
        let above = command.saturating_sub(hop + bare);
        let figure = format!("command round trip, {at_a_time} at a time");
        let goal = format!("<= {} above floor (now {})", millis(GOAL), millis(above));
        report.line(&figure, &millis(command), &millis(hop + bare), &goal, above <= GOAL);
        report.note(&format!("floor: HTTP {} + bare chain {}", millis(hop), millis(bare)));
    }
}

/// The median duration of an action that is repeated, so many at a time.
async fn repeat<F: Future<Output = ()> + Send>(
    at_a_time: usize,
    action: impl Fn() -> F + Clone + Send + 'static,
) -> Duration {
    let mut workers = JoinSet::new();
    for _ in 0..at_a_time {
        let action = action.clone();
        workers.spawn(async move {
            action().await; // Connections and caches are warm from here on.
            let mut durations = Vec::new();
            for _ in 0..COMMANDS / at_a_time {
                let begun = Instant::now();
                action().await;
                durations.push(begun.elapsed());
            }
            durations
        });
    }
    median(&mut workers.join_all().await.concat())
}

type Waiting = Arc<Mutex<std::collections::HashMap<String, oneshot::Sender<()>>>>;

/// The bare chain: this side puts, sends and gets; two receivers stand for the agent.
#[derive(Clone)]
struct Chain {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    table: String,
    queue: String,
    waiting: Waiting,
    _receivers: Arc<JoinSet<()>>,
}

impl Chain {
    fn new(stack: &Stack, _at_a_time: usize) -> Self {
        let (dynamodb, sqs) = (aws::dynamodb(&stack.sdk, &stack.clock), aws::sqs(&stack.sdk, &stack.clock));
        let (table, queue) = (stack.var("EXCHANGE_TABLE").to_owned(), stack.var("COMMANDS_QUEUE_URL").to_owned());
        let waiting = Waiting::default();
        let mut receivers = JoinSet::new();
        for _ in 0..easyconnect_agent::commands::receiver::RECEIVERS {
            receivers.spawn(receive(dynamodb.clone(), sqs.clone(), table.clone(), queue.clone(), waiting.clone()));
        }
        Self { dynamodb, sqs, table, queue, waiting, _receivers: Arc::new(receivers) }
    }

    async fn once(&self) {
        let id = uuid::Uuid::new_v4().to_string();
        let (done, finished) = oneshot::channel();
        self.waiting.lock().await.insert(id.clone(), done);
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .item("pk", text(&id))
            .item("sk", text("bench"))
            .item("state", text("queued"))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await
            .expect("put");
        self.sqs.send_message().queue_url(&self.queue).message_body(&id).send().await.expect("send");
        finished.await.expect("the receivers run");
        let item = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .key("pk", text(&id))
            .key("sk", text("bench"))
            .consistent_read(true)
            .send()
            .await
            .expect("get");
        assert!(item.item.is_some());
    }
}

async fn receive(
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    table: String,
    queue: String,
    waiting: Waiting,
) {
    loop {
        let received = sqs
            .receive_message()
            .queue_url(&queue)
            .max_number_of_messages(10)
            .wait_time_seconds(20)
            .send()
            .await
            .expect("receive");
        for message in received.messages.unwrap_or_default() {
            let (dynamodb, sqs, table, queue, waiting) =
                (dynamodb.clone(), sqs.clone(), table.clone(), queue.clone(), waiting.clone());
            tokio::spawn(async move {
                let id = message.body.unwrap_or_default();
                let Some(done) = waiting.lock().await.remove(&id) else { return };
                dynamodb
                    .update_item()
                    .table_name(&table)
                    .key("pk", text(&id))
                    .key("sk", text("bench"))
                    .update_expression("SET #state = :running")
                    .condition_expression("#state = :queued")
                    .expression_attribute_names("#state", "state")
                    .expression_attribute_values(":running", text("running"))
                    .expression_attribute_values(":queued", text("queued"))
                    .send()
                    .await
                    .expect("update");
                dynamodb
                    .put_item()
                    .table_name(&table)
                    .item("pk", text(&id))
                    .item("sk", text("bench"))
                    .item("state", text("succeeded"))
                    .send()
                    .await
                    .expect("put");
                let _ = done.send(());
                let receipt = message.receipt_handle.unwrap_or_default();
                sqs.delete_message().queue_url(&queue).receipt_handle(receipt).send().await.expect("delete");
            });
        }
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}
