//! A throw-away cloud for one test: ministack with the real template and functions, IAM enforced.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use easyconnect_agent::config::AwsLocation;
use easyconnect_agent::host::sdk;
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use shared::aws;
use shared::clock::CloudClock;
use shared::delivery::Delivery;
use shared::event::{CallEvent, message};
use shared::ids::{CallId, WebhookId};
use shared::queue::Queue;
use shared::tables::{Exchange, StateTable};
use shared::webhook::{Method, Secret, Settings, Webhook};
use tokio::process::Command;

use crate::api::http_client;
use crate::{Api, Inbox, eventually, paths};

#[derive(Debug)]
pub struct Stack {
    folder: PathBuf,
    vars: HashMap<String, String>,
    pub api: Api,
    pub state: StateTable,
    pub exchange: Exchange,
    pub sdk: aws_config::SdkConfig,
    pub clock: CloudClock,
}

/// Brings up a cloud in this folder, or up to date.
async fn up(folder: &Path, arguments: &[String]) {
    let mut up = Command::new(paths::python());
    up.arg(paths::repository().join("infra/local/stack.py")).args(["up", "--cloud-only", "--dir"]).arg(folder);
    let output = up.args(arguments).stdin(Stdio::null()).output().await.expect("the stack's script runs");
    assert!(
        output.status.success(),
        "the stack does not come up\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Stack {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a stack with template parameters of its own, as `NAME=VALUE`.
    pub async fn start_with(parameters: &[&str]) -> Self {
        let number: u64 = rand::rng().random();
        let folder = std::env::temp_dir().join(format!("easyconnect-test-{number:016x}"));
        let mut arguments = vec!["--owner".to_owned(), std::process::id().to_string()];
        for parameter in parameters {
            arguments.extend(["--param".to_owned(), (*parameter).to_owned()]);
        }
        up(&folder, &arguments).await;
        let env = std::fs::read_to_string(folder.join("stack.env")).expect("stack.env");
        let vars: HashMap<String, String> = env
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        let var = |name: &str| vars.get(name).cloned().unwrap_or_else(|| panic!("stack.env lacks {name}"));
        let location = AwsLocation {
            region: Some(var("AWS_REGION")),
            endpoint_url: Some(var("AWS_ENDPOINT_URL")),
            ..AwsLocation::default()
        };
        let credentials = aws_sdk_sqs::config::Credentials::new(
            var("AWS_ACCESS_KEY_ID"),
            var("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "test",
        );
        let sdk = sdk::config(location).await.into_builder();
        let sdk = sdk.credentials_provider(aws_sdk_sqs::config::SharedCredentialsProvider::new(credentials)).build();
        let clock = CloudClock::new();
        let dynamodb = aws::dynamodb(&sdk, &clock);
        Self {
            api: Api::new(&var("EASYCONNECT_URL"), &var("EASYCONNECT_APIKEY")),
            state: StateTable::new(dynamodb.clone(), var("STATE_TABLE")),
            exchange: Exchange::new(dynamodb, var("EXCHANGE_TABLE")),
            sdk,
            clock,
            folder,
            vars,
        }
    }

    /// Brings a stack that was started without parameters up to date with the functions of this folder.
    pub async fn deploy(&self, programs: &Path) {
        up(&self.folder, &["--bin-dir".to_owned(), programs.display().to_string()]).await;
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn var(&self, name: &str) -> &str {
        self.vars.get(name).unwrap_or_else(|| panic!("stack.env lacks {name}"))
    }

    pub fn queue(&self, variable: &str) -> Queue {
        Queue::new(aws::sqs(&self.sdk, &self.clock), self.var(variable).to_owned())
    }

    /// Registers a webhook that posts to this inbox.
    pub async fn subscribe(&self, inbox: &Inbox) -> Webhook {
        self.subscribe_with(&inbox.url("/hook"), Method::Post).await
    }

    pub async fn subscribe_with(&self, url: &str, method: Method) -> Webhook {
        self.register(Settings { method, ..Settings::new(url.to_owned()) }).await
    }

    /// Registers a webhook with everything its owner may decide.
    pub async fn register(&self, settings: Settings) -> Webhook {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let webhook = Webhook::new(WebhookId::random(), settings, secret, self.clock.now());
        self.state.put_webhook(&webhook).await.expect("the webhook is stored");
        webhook
    }

    pub async fn until_agent_up(&self, name: &str) {
        self.until_status(&format!("agent {name} is up"), |status| {
            let agents = status["agents"].as_array().cloned().unwrap_or_default();
            agents.iter().any(|agent| agent["name"] == name && agent["pbx"] == "up")
        })
        .await;
    }

    pub async fn until_state(&self, state: &str) {
        self.until_status(state, |status| status["state"] == state).await;
    }

    /// Waits until an agent shows that something stands in its way.
    pub async fn until_problem(&self, problem: &str) {
        self.until_status(&format!("an agent says: {problem}"), |status| {
            let agents = status["agents"].as_array().cloned().unwrap_or_default();
            agents.iter().any(|agent| agent["problem"].as_str().is_some_and(|text| text.contains(problem)))
        })
        .await;
    }

    pub async fn until_waiting_events(&self, events: u64) {
        let all = |status: &serde_json::Value| {
            status["agents"].as_array().is_some_and(|all| all.iter().all(|agent| agent["waitingEvents"] == events))
        };
        self.until_status(&format!("{events} waiting events"), all).await;
    }

    pub async fn until_visible_users(&self, users: u64) {
        self.until_status(&format!("{users} visible users"), |status| status["agents"][0]["visibleUsers"] == users)
            .await;
    }

    async fn until_status(&self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
        eventually(what, async || {
            let status = self.api.get("/status").await.ok().body;
            if holds(&status) { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Invokes a function directly, as its event source mapping would, and returns its answer.
    pub async fn invoke(&self, function: &str, payload: &serde_json::Value) -> serde_json::Value {
        let path = format!("/2015-03-31/functions/{}/invocations", self.var(function));
        self.ask("lambda", http_client().post(self.endpoint(&path)).body(payload.to_string())).await
    }

    /// How a function is deployed.
    pub async fn configuration(&self, function: &str) -> serde_json::Value {
        let path = format!("/2015-03-31/functions/{}/configuration", self.var(function));
        self.ask("lambda", http_client().get(self.endpoint(&path))).await
    }

    /// Stops the clock: from now on what happens every minute only happens when the test says so.
    pub async fn stop_clock(&self) {
        let rules = async |verb: &str, body: serde_json::Value| {
            let request = http_client().post(self.endpoint("/")).header("x-amz-target", format!("AWSEvents.{verb}"));
            self.ask("events", request.header("content-type", "application/x-amz-json-1.1").body(body.to_string()))
                .await
        };
        let found = rules("ListRules", serde_json::json!({})).await;
        let found = found["Rules"].as_array().filter(|rules| !rules.is_empty()).expect("a schedule").clone();
        for rule in found {
            rules("DisableRule", serde_json::json!({"Name": rule["Name"]})).await;
        }
    }

    fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.var("AWS_ENDPOINT_URL"))
    }

    /// Sends a request to a service that no SDK is linked for.
    async fn ask(&self, service: &str, request: reqwest::RequestBuilder) -> serde_json::Value {
        let text = self.ask_for_text(service, request).await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{service} answers without JSON: {text}"))
    }

    async fn ask_for_text(&self, service: &str, request: reqwest::RequestBuilder) -> String {
        // The local cloud takes this key as the account's root user and does not check its signature.
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let request = request.header("authorization", signature).header("x-amz-date", "20260101T000000Z");
        let answer = request.send().await.expect("the cloud answers");
        let status = answer.status();
        let text = answer.text().await.expect("a whole answer");
        assert!(status.is_success(), "{service} answers {status}: {text}");
        text
    }

    /// Hands `deliver` a delivery that is in no queue, and returns its answer.
    pub async fn deliver(&self, delivery: &Delivery) -> serde_json::Value {
        let record = (delivery.group(), shared::envelope::seal(delivery).expect("JSON"));
        self.invoke("DELIVER_FUNCTION", &batch([record])).await
    }

    /// A user of this cloud with nothing but these rights, and its access key.
    pub async fn user_with(&self, actions: &[&str]) -> (String, String) {
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
        });
        let name = format!("user-{}", uuid::Uuid::new_v4());
        self.iam(&[("Action", "CreateUser"), ("UserName", &name)]).await;
        let document = policy.to_string();
        let rights = [("UserName", name.as_str()), ("PolicyName", "rights"), ("PolicyDocument", &document)];
        self.iam(&[&[("Action", "PutUserPolicy")][..], &rights[..]].concat()).await;
        let answer = self.iam(&[("Action", "CreateAccessKey"), ("UserName", &name)]).await;
        let of = |tag: &str| {
            let (_, rest) = answer.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no {tag} in {answer}"));
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        (of("AccessKeyId"), of("SecretAccessKey"))
    }

    /// A request to IAM as the account's root user.
    async fn iam(&self, form: &[(&str, &str)]) -> String {
        let mut fields = vec![("Version", "2010-05-08")];
        fields.extend(form);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = http_client().post(self.endpoint("/"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        self.ask_for_text("iam", request).await
    }

    /// How many messages a queue holds, waiting or in somebody's hands.
    pub async fn messages_in(&self, variable: &str) -> usize {
        use aws_sdk_sqs::types::QueueAttributeName as Name;
        let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let client = aws::sqs(&self.sdk, &self.clock);
        let asked = client.get_queue_attributes().queue_url(self.var(variable));
        let answer = asked.set_attribute_names(Some(names.to_vec())).send().await.expect("the queue answers");
        let attributes = answer.attributes.unwrap_or_default();
        names.iter().filter_map(|name| attributes.get(name)?.parse::<usize>().ok()).sum()
    }

    /// Waits until a queue holds nothing any more.
    pub async fn until_empty(&self, variable: &str) {
        eventually(&format!("{variable} is empty"), async || match self.messages_in(variable).await {
            0 => Ok(()),
            n => Err(format!("{n} messages")),
        })
        .await;
    }

    /// What happens every minute, now.
    pub async fn tick(&self) {
        self.invoke("DELIVER_FUNCTION", &serde_json::json!({"source": "aws.events"})).await;
    }

    /// The processes that run a function at this moment.
    pub fn environments(&self, function: &str) -> Vec<Pid> {
        let name = format!("AWS_LAMBDA_FUNCTION_NAME={}", self.var(function));
        let mark = format!("EASYCONNECT_LOCAL_STACK={}", self.folder.canonicalize().expect("a folder").display());
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |text: &str| variables.split(|byte| *byte == 0).any(|variable| variable == text.as_bytes());
            has(&name) && has(&mark)
        })
        .filter_map(Pid::from_raw)
        .collect()
    }

    /// Ends the environments of a function, so that its next request meets a cold start.
    pub async fn force_cold_start(&self, function: &str) {
        let running = self.environments(function);
        assert!(!running.is_empty(), "no environment of {function} runs");
        for pid in &running {
            let _ = kill_process(*pid, Signal::KILL);
        }
        eventually("the environments have ended", async || {
            let left = self.environments(function).into_iter().filter(|pid| running.contains(pid)).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
        })
        .await;
    }

    /// Waits until an event of a call is recorded, and in the feed.
    pub async fn until_recorded(&self, call: CallId, sequence: u8) {
        eventually("the event is recorded", async || {
            let recorded = self.state.recorded(call, false).await.map_err(|error| error.to_string())?.statuses;
            let Some((_, Some(n))) = recorded.iter().find(|(found, _)| *found == sequence) else {
                return Err(format!("recorded: {recorded:?}"));
            };
            let head = self.state.feed_head().await.map_err(|error| error.to_string())?;
            let part = self.state.feed(n - 1, 1, head).await.map_err(|error| error.to_string())?;
            if part.entries.iter().any(|entry| entry.n == *n) { Ok(()) } else { Err(format!("in the feed: {part:?}")) }
        })
        .await;
    }
}

/// A batch of the events queue as Lambda hands it over.
pub fn sqs_event(events: &[CallEvent]) -> serde_json::Value {
    let sealed = |event: &CallEvent| (event.call_id().to_string(), message::seal(event).expect("JSON"));
    batch(events.iter().map(sealed))
}

/// Messages that are in no queue, each with its group.
pub fn batch(messages: impl IntoIterator<Item = (String, String)>) -> serde_json::Value {
    let sent_at = jiff::Timestamp::now().as_millisecond().to_string();
    let record = |(n, (group, body)): (usize, (String, String))| {
        serde_json::json!({
            "messageId": format!("injected-{n}"),
            "receiptHandle": format!("none-{n}"),
            "body": body,
            "attributes": {
                "MessageGroupId": group,
                "SentTimestamp": sent_at,
                "ApproximateReceiveCount": "1",
            },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:injected",
            "awsRegion": "us-east-1",
        })
    };
    serde_json::json!({"Records": messages.into_iter().enumerate().map(record).collect::<Vec<_>>()})
}

impl Drop for Stack {
    #[expect(clippy::print_stderr, reason = "nobody else can tell that something was left running")]
    fn drop(&mut self) {
        // The script waits for every process to end, so that the next test finds the machine as this one did.
        let down = std::process::Command::new(paths::python())
            .arg(paths::repository().join("infra/local/stack.py"))
            .args(["down", "--dir"])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .output();
        if let Err(error) = down {
            eprintln!("the stack in {} was not ended: {error}", self.folder.display());
        }
        // What agents kept beside the stack goes too.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
