//! The real agent, as a process that a test may stop, freeze and kill.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::{Pbx, Stack, eventually, paths};

/// What differs from an agent like any other.
#[derive(Clone, Debug, Default)]
pub struct AgentOptions {
    /// URL of the PBX, instead of its plain WebSocket.
    pub pbx_url: Option<String>,
    /// More lines for the configuration's table `pbx`.
    pub pbx_lines: String,
    /// AWS endpoint, instead of the stack's own.
    pub aws_endpoint: Option<String>,
}

#[derive(Debug)]
pub struct Agent {
    child: Child,
    pub name: String,
    log: PathBuf,
}

impl Agent {
    /// Starts an agent and waits until it monitors the PBX.
    pub async fn start(stack: &Stack, pbx: &Pbx, name: &str) -> Self {
        Self::start_with(stack, pbx, name, &AgentOptions::default()).await
    }

    pub async fn start_with(stack: &Stack, pbx: &Pbx, name: &str, options: &AgentOptions) -> Self {
        let agent = Self::spawn(stack, pbx, name, options);
        stack.until_agent_up(name).await;
        agent
    }

    /// Starts an agent and does not wait for it.
    pub fn spawn(stack: &Stack, pbx: &Pbx, name: &str, options: &AgentOptions) -> Self {
        let folder = stack.folder().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = folder.join("agent.toml");
        let url = options.pbx_url.clone().unwrap_or_else(|| pbx.0.ws_url());
        let endpoint = options.aws_endpoint.as_deref().unwrap_or(stack.var("AWS_ENDPOINT_URL"));
        let mut text = String::new();
        let _ = write!(
            text,
            "[agent]\nname = {name:?}\nstate_dir = {:?}\n\
             [pbx]\nurl = {url:?}\napp = \"easyconnect\"\npassword = {:?}\n{}\n\
             [aws]\nregion = \"us-east-1\"\nendpoint_url = {endpoint:?}\nevents_queue_url = {:?}\n\
             commands_queue_url = {:?}\nexchange_table = {:?}\n",
            folder.join("state"),
            pbx_sim::world::DEFAULT_PASSWORD,
            options.pbx_lines,
            stack.var("EVENTS_QUEUE_URL"),
            stack.var("COMMANDS_QUEUE_URL"),
            stack.var("EXCHANGE_TABLE"),
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let log = folder.join("agent.log");
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new(paths::binary("easyconnect-agent"))
            .args(["run", "--config"])
            .arg(&config)
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", stack.var("AGENT_AWS_ACCESS_KEY_ID"))
            .env("AWS_SECRET_ACCESS_KEY", stack.var("AGENT_AWS_SECRET_ACCESS_KEY"))
            .env("RUST_LOG", "easyconnect_agent=debug,info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("the agent starts");
        Self { child, name: name.to_owned(), log }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the agent is there");
    }

    /// Stops the process where it stands. The signal alone is only a wish: on a busy machine the agent would run on for a while.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).expect("a child");
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "agent {} ended", self.name);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("the agent is there");
        self.child.wait().expect("the agent is gone");
    }

    /// Waits until the agent has logged this.
    pub async fn until_log(&self, text: &str) {
        eventually(&format!("agent {} logs {text:?}", self.name), async || {
            if self.log().contains(text) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually(&format!("agent {} ends", self.name), async || {
            self.child.try_wait().expect("a child").ok_or_else(|| "it still runs".to_owned())
        })
        .await
    }

    /// The ids of the events that this agent has sent, as its log has them.
    pub fn sent_events(&self) -> HashSet<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(" Event event.id="));
        lines.filter_map(|line| Some(line.split_once("event.id=")?.1.split(' ').next()?.to_owned())).collect()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    #[expect(clippy::print_stderr, reason = "the log belongs to the report of a failed test")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- log of agent {}\n{}", self.name, self.log());
        }
    }
}
