//! An environment of a function outside of the cloud: the real binary, as a process that a test may kill, and what Lambda is to it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{Process, Stack, paths};

/// More than any function has, so that a busy machine changes nothing.
const TIME_LEFT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Lambda {
    name: &'static str,
    child: Child,
    work: mpsc::UnboundedSender<Value>,
    answers: mpsc::UnboundedReceiver<Value>,
    runtime: JoinHandle<()>,
    log: PathBuf,
}

/// Lambda's side of the runtime API.
#[derive(Clone)]
struct Runtime {
    work: Arc<Mutex<mpsc::UnboundedReceiver<Value>>>,
    answers: mpsc::UnboundedSender<Value>,
}

/// A function with nothing but what Lambda tells every one: what it is, and whom to ask for work.
pub fn environment(name: &str, runtime: SocketAddr) -> Command {
    environment_of(Command::new(paths::binary(name)), name, runtime)
}

fn environment_of(mut program: Command, name: &str, runtime: SocketAddr) -> Command {
    program
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", runtime.to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "-"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "-"),
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

impl Lambda {
    /// Starts `fanout` or `deliver` as it is deployed, but with this way to the cloud.
    pub async fn start(stack: &Stack, name: &'static str, endpoint: &str) -> Self {
        Self::start_program(Command::new(paths::binary(name)), stack, name, endpoint).await
    }

    /// The same by a command of one's own, which runs the function in some other way.
    pub async fn start_program(program: Command, stack: &Stack, name: &'static str, endpoint: &str) -> Self {
        let deployed = stack.configuration(&format!("{}_FUNCTION", name.to_uppercase())).await;
        let variables = deployed["Environment"]["Variables"].as_object().expect("a function has variables").clone();
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));

        let (work, waiting) = mpsc::unbounded_channel();
        let (answering, answers) = mpsc::unbounded_channel();
        let (address, runtime) = serve(Runtime { work: Arc::new(Mutex::new(waiting)), answers: answering }).await;
        let log = stack.folder().join(format!("{name}-{}.log", Uuid::new_v4()));
        let output = File::create(&log).expect("a log file");
        let child = environment_of(program, name, address)
            .envs(variables)
            .envs([
                ("AWS_REGION", stack.var("AWS_REGION")),
                ("AWS_ENDPOINT_URL", endpoint),
                // The account's root user; what the function's own role permits is shown by the deployed one.
                ("AWS_ACCESS_KEY_ID", stack.var("AWS_ACCESS_KEY_ID")),
                ("AWS_SECRET_ACCESS_KEY", stack.var("AWS_SECRET_ACCESS_KEY")),
            ])
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output)
            .spawn()
            .expect("the function starts");
        Self { name, child, work, answers, runtime, log }
    }

    pub fn process(&self) -> Process {
        Process(self.child.id().expect("the function runs"))
    }

    /// Has an event waiting for the function.
    pub fn hand_over(&self, event: &Value) {
        self.work.send(event.clone()).expect("the runtime is there");
    }

    /// What the function answers to the event that it was handed.
    pub async fn answer(&mut self) -> Value {
        tokio::select! {
            answer = self.answers.recv() => answer.expect("the runtime is there"),
            ended = self.child.wait() => panic!("{} ended: {ended:?}", self.name),
            () = tokio::time::sleep(TIME_LEFT) => panic!("{} does not answer", self.name),
        }
    }

    /// Has the process end, as Lambda does with one that it needs no more.
    pub async fn end(mut self) {
        let pid = Pid::from_raw(self.process().0.cast_signed()).expect("a process");
        kill_process(pid, Signal::TERM).expect("the function is there");
        self.child.wait().await.expect("the function ends");
    }

    /// Ends the process where it stands.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the function is there");
        // An answer that it gave in its last moment would have been too late for a kill at the moment meant.
        assert!(self.answers.try_recv().is_err(), "{} had answered", self.name);
    }
}

impl Drop for Lambda {
    #[expect(clippy::print_stderr, reason = "the log belongs to the report of a failed test")]
    fn drop(&mut self) {
        self.runtime.abort();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("---- log of {}\n{log}", self.name);
        }
    }
}

async fn serve(runtime: Runtime) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
        .route("/2018-06-01/runtime/init/error", post(failed))
        .with_state(runtime);
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the runtime serves") });
    (address, server)
}

async fn next(State(runtime): State<Runtime>) -> Response {
    let Some(event) = runtime.work.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = Timestamp::now() + TIME_LEFT;
    let headers = [
        ("lambda-runtime-aws-request-id", Uuid::new_v4().to_string()),
        ("lambda-runtime-deadline-ms", deadline.as_millisecond().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:local".to_owned()),
    ];
    (headers, Json(event)).into_response()
}

async fn answered(State(runtime): State<Runtime>, answer: String) -> StatusCode {
    // Nobody listens any more when the test has ended.
    let _ = runtime.answers.send(serde_json::from_str(&answer).unwrap_or(Value::String(answer)));
    StatusCode::ACCEPTED
}

async fn failed(State(runtime): State<Runtime>, error: String) -> StatusCode {
    let _ = runtime.answers.send(Value::String(error));
    StatusCode::ACCEPTED
}
