//! The real agent, as a process that a test may stop, freeze and kill.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::process::Process;
use crate::{Pbx, Stack, eventually, paths};

/// What an agent takes for the cloud.
#[derive(Clone, Debug)]
pub struct Cloud {
    pub endpoint: String,
    pub events_queue_url: String,
    pub commands_queue_url: String,
    pub exchange_table: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl From<&Stack> for Cloud {
    fn from(stack: &Stack) -> Self {
        let var = |name: &str| stack.var(name).to_owned();
        Self {
            endpoint: var("AWS_ENDPOINT_URL"),
            events_queue_url: var("EVENTS_QUEUE_URL"),
            commands_queue_url: var("COMMANDS_QUEUE_URL"),
            exchange_table: var("EXCHANGE_TABLE"),
            access_key_id: var("AGENT_AWS_ACCESS_KEY_ID"),
            secret_access_key: var("AGENT_AWS_SECRET_ACCESS_KEY"),
        }
    }
}

/// What differs from an agent like any other.
#[derive(Clone, Debug, Default)]
pub struct AgentOptions {
    /// URL of the PBX, instead of its plain WebSocket.
    pub pbx_url: Option<String>,
    /// More lines for the configuration's table `pbx`.
    pub pbx_lines: String,
    /// AWS endpoint, instead of the stack's own.
    pub aws_endpoint: Option<String>,
    /// More lines for the configuration's table `aws`.
    pub aws_lines: String,
    /// The folder in which the service manager has put the secrets, instead of configuration and variables.
    pub credentials: Option<PathBuf>,
    /// More variables.
    pub vars: Vec<(String, String)>,
    /// By how many seconds the machine's clock is wrong.
    pub clock_off_by: i64,
    /// The size of the disk that holds its state, as `mount` understands it, instead of as much as there is.
    pub disk: Option<&'static str>,
    /// More tables of the configuration.
    pub tables: String,
    /// What is logged, instead of nearly everything.
    pub log_level: Option<String>,
}

impl AgentOptions {
    /// Writes the configuration of an agent into a folder of its own in the stack's.
    pub fn configure(&self, stack: &Stack, pbx: &Pbx, name: &str) -> PathBuf {
        self.configure_in(stack.folder(), &Cloud::from(stack), pbx, name)
    }

    fn configure_in(&self, folder: &Path, cloud: &Cloud, pbx: &Pbx, name: &str) -> PathBuf {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("agent.toml");
        let url = self.pbx_url.clone().unwrap_or_else(|| pbx.0.ws_url());
        let endpoint = self.aws_endpoint.as_deref().unwrap_or(&cloud.endpoint);
        let (password, aws) = match self.credentials {
            Some(_) => ("password_file = \"pbx-password\"".to_owned(), "credentials_file = \"aws-credentials\""),
            None => (format!("password = {:?}", pbx_sim::world::DEFAULT_PASSWORD), ""),
        };
        let text = format!(
            "[agent]\nname = {name:?}\nstate_dir = {:?}\n\
             [pbx]\nurl = {url:?}\napp = \"easyconnect\"\n{password}\n{}\n\
             [aws]\n{aws}\n{}\nregion = \"us-east-1\"\nendpoint_url = {endpoint:?}\nevents_queue_url = {:?}\n\
             commands_queue_url = {:?}\nexchange_table = {:?}\n\
             [health]\nlisten = \"127.0.0.1:0\"\n{}\n",
            folder.join("state"),
            self.pbx_lines,
            self.aws_lines,
            cloud.events_queue_url,
            cloud.commands_queue_url,
            cloud.exchange_table,
            self.tables,
        );
        std::fs::write(&file, text).expect("the configuration is written");
        file
    }
}

/// The agent's program, to be run with this configuration and the access key of the stack's agent.
pub fn agent_command(stack: &Stack, verb: &str, config: &Path) -> Command {
    let mut command = Command::new(paths::binary("easyconnect-agent"));
    command
        .args([verb, "--config"])
        .arg(config)
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", stack.var("AGENT_AWS_ACCESS_KEY_ID"))
        .env("AWS_SECRET_ACCESS_KEY", stack.var("AGENT_AWS_SECRET_ACCESS_KEY"))
        .stdin(Stdio::null());
    command
}

#[derive(Debug)]
pub struct Agent {
    child: Child,
    pub name: String,
    /// Its configuration file.
    pub config: PathBuf,
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
        Self::spawn_in(stack.folder(), &Cloud::from(stack), pbx, name, options)
    }

    /// Starts an agent that keeps what it has in a folder of its own in this one.
    pub fn spawn_in(folder: &Path, cloud: &Cloud, pbx: &Pbx, name: &str, options: &AgentOptions) -> Self {
        let config = options.configure_in(folder, cloud, pbx, name);
        let folder = folder.join(name);
        let log = folder.join("agent.log");
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut command = match options.disk {
            Some(size) => on_a_small_disk(&folder.join("state"), size),
            None => Command::new(paths::binary("easyconnect-agent")),
        };
        command.args(["run", "--config"]).arg(&config).env_clear();
        if options.clock_off_by != 0 {
            command.env("LD_PRELOAD", wrong_clock(&folder)).env("WRONG_BY_SECONDS", options.clock_off_by.to_string());
        }
        match &options.credentials {
            Some(folder) => command.env("CREDENTIALS_DIRECTORY", folder),
            None => command
                .env("AWS_ACCESS_KEY_ID", &cloud.access_key_id)
                .env("AWS_SECRET_ACCESS_KEY", &cloud.secret_access_key),
        };
        let child = command
            .env("MALLOC_ARENA_MAX", "1") // As its units do.
            .env("RUST_LOG", options.log_level.as_deref().unwrap_or("easyconnect_agent=debug,info"))
            .envs(options.vars.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("the agent starts");
        Self { child, name: name.to_owned(), config, log }
    }

    /// The address of its health port.
    pub async fn health_url(&self) -> String {
        let file = self.config.with_file_name("state").join("health.addr");
        eventually("the health port is open", async || match std::fs::read_to_string(&file) {
            Ok(address) if address.ends_with('\n') => Ok(format!("http://{}", address.trim_end())),
            other => Err(format!("{other:?}")),
        })
        .await
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

    /// What `/proc` says about the process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The folder with the agent's state, also when it is a disk that only the agent sees.
    pub fn state_dir(&self) -> PathBuf {
        let seen_by_the_agent = Path::new("/proc").join(self.child.id().to_string()).join("root");
        let folder = self.log.with_file_name("state");
        seen_by_the_agent.join(folder.strip_prefix("/").expect("an absolute path"))
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

    /// The ids of the statuses that this agent has sent, as its log has them. Updates are told by one agent alone.
    pub fn sent_events(&self) -> HashSet<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(" Event event.id=") && line.contains("kind=\"call\""));
        lines.filter_map(|line| Some(line.split_once("event.id=")?.1.split(' ').next()?.to_owned())).collect()
    }

    /// The time of the first line in the agent's log, on its machine's clock.
    pub fn log_begins_at(&self) -> Timestamp {
        let log = self.log();
        let first = log.split_whitespace().next().unwrap_or_default();
        first.parse().unwrap_or_else(|_| panic!("the log does not begin with a time: {log}"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Starts the agent in a place of its own where its folder is a small disk. The process stays the one that was started.
fn on_a_small_disk(folder: &Path, size: &str) -> Command {
    std::fs::create_dir_all(folder).expect("a folder");
    let mut command = Command::new("/usr/bin/unshare");
    let script = r#"/bin/mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;
    command.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, "sh", size]);
    command.arg(folder).arg(paths::binary("easyconnect-agent"));
    command
}

/// Whether this machine lets a process without rights have a disk of its own.
pub fn small_disks_are_possible() -> bool {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--user", "--map-root-user", "--mount", "/bin/mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A library that makes a process believe in another time of day.
fn wrong_clock(folder: &Path) -> PathBuf {
    let library = folder.join("wrong_clock.so");
    if !library.exists() {
        let mut compiler = Command::new(paths::python());
        compiler.args(["-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", "-o"]).arg(&library);
        let source = paths::repository().join("tests/src/wrong_clock.c");
        let compiled = compiler.arg(source).stdin(Stdio::null()).output().expect("the compiler runs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    }
    library
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
