//! An agent whose administrator changes its configuration while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Faults};
use easyconnect_agent::agent::{Agent, Host};
use easyconnect_agent::config::Config;
use easyconnect_agent::events::outbox::Outbox;
use easyconnect_agent::host::health::Listeners;
use easyconnect_agent::host::reloadable::ReloadableCredentials;
use easyconnect_agent::host::telemetry::LogLevel;
use easyconnect_agent::reload::ReloadSource;
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use pbx_sim::InMemory;
use pbx_sim::world::DEFAULT_PASSWORD;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::agent::{PBX, Pipes};
use crate::commands::pbx;
use crate::lives::Lives;
use crate::machine::{agent_config, platform};
use crate::output::Listener;
use crate::stack::Stack;

/// The administrator's desk.
struct Desk {
    cloud: Cloud,
    pbx: Arc<InMemory>,
    file: PathBuf,
    text: String,
    reload: mpsc::Sender<()>,
}

impl Desk {
    /// Changes a text of the configuration and has it read. Returns the PBX session and the agent's problem of then.
    async fn change(&mut self, from: &str, to: &str) -> (Option<u64>, Option<String>) {
        assert!(self.text.contains(from), "{from}");
        self.text = self.text.replace(from, to);
        self.save().await
    }

    async fn save(&self) -> (Option<u64>, Option<String>) {
        std::fs::write(&self.file, &self.text).expect("a file");
        self.reload.send(()).await.expect("the agent runs");
        sleep(Duration::from_secs(30)).await;
        (self.session(), self.problem())
    }

    fn session(&self) -> Option<u64> {
        let state = self.pbx.state();
        let connections = state["connections"].as_array().expect("a list");
        assert!(connections.len() <= 1, "{connections:?}");
        connections.iter().find(|connection| connection["app"].is_string())?["index"].as_u64()
    }

    /// Since when the agent says that it has used its access key.
    fn access_key_since(&self) -> Option<i64> {
        let [item] = &self.cloud.items("exchange", "AGENT")[..] else { panic!("one agent") };
        item["vitals"]["M"]["accessKeySince"]["N"].as_str().map(|since| since.parse().expect("a number"))
    }

    fn problem(&self) -> Option<String> {
        fn find(value: &Value) -> Option<&Value> {
            match value {
                Value::Object(fields) => fields.get("problem").or_else(|| fields.values().find_map(find)),
                _ => None,
            }
        }
        let items = self.cloud.items("exchange", "AGENT");
        items.iter().find_map(find)?["S"].as_str().map(str::to_owned)
    }
}

async fn story(cloud: Cloud, ledger: Ledger) {
    let (figures, mut stack) = (Listener::new(&cloud), Stack::start(cloud.clone(), ledger, 1).await);
    let pbx = pbx(&cloud, 1);
    let (lives, process) = (Lives::new(&cloud, "rack", &stack.chance), cloud.process("rack-1"));
    let folder = lives.state_dir();
    std::fs::write(folder.join("aws-credentials"), "[default]\naws_access_key_id = A\naws_secret_access_key = S\n")
        .expect("a file");
    let text = format!(
        "[agent]\nname = \"rack\"\nstate_dir = {folder:?}\n\
         [pbx]\nurl = \"{PBX}\"\napp = \"easyconnect\"\npassword = {DEFAULT_PASSWORD:?}\n\
         [aws]\nregion = \"eu-west-1\"\ncredentials_file = \"aws-credentials\"\nevents_queue_url = {:?}\n\
         commands_queue_url = {:?}\nexchange_table = \"exchange\"\n[health]\nlisten = \"off\"\n",
        stack.template.queue_url("EventsQueue"),
        stack.template.queue_url("CommandsQueue"),
    );
    let file = folder.join("agent.toml");
    std::fs::write(&file, &text).expect("a file");
    let config = Config::load(&file).expect("a configuration");

    let mut disk = JoinSet::new();
    let work = |work| {
        disk.spawn(work);
        Ok(())
    };
    let outbox = Outbox::open_on(folder, 1 << 30, work).expect("a new outbox");
    let platform = platform(&process, &stack.chance);
    // An earlier run has noted since when it used the key with which this one begins.
    let key_is_used_since = platform.machine.wall() - SignedDuration::from_hours(91 * 24);
    std::fs::write(folder.join("access-key-since"), format!("story {key_is_used_since}")).expect("a file");
    let (sdk, credentials) = ReloadableCredentials::new(&agent_config(&platform).await);
    let (reload, requests) = mpsc::channel(1);
    let requests = stream::unfold(requests, async |mut requests| Some((requests.recv().await?, requests))).boxed();
    let source = ReloadSource { file: file.clone(), requests, log_level: LogLevel::default() };
    let host = Host {
        sdk,
        machine: platform.machine,
        random: platform.random,
        network: Arc::new(Pipes { pbx: pbx.clone(), at: None, chance: stack.chance.clone() }),
        outbox,
        health: Listeners::none(&config),
        reload: Some((source, credentials)),
    };
    let agent = Agent::build_on(host, config).expect("an agent");
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = tokio::spawn(agent.run(async move { drop(stopped.await) }));

    sleep(Duration::from_secs(70)).await;
    let mut desk = Desk { cloud, pbx: pbx.clone(), file, text, reload };
    let first = desk.session();
    assert!(first.is_some(), "a session");

    // What the session does not depend on leaves it alone. The reading finds another access key.
    let key_before = desk.access_key_since();
    assert_eq!(key_before, Some(key_is_used_since.as_millisecond()));
    assert!(figures.figures().iter().any(|figure| figure == "AccessKeyAge"), "{:?}", figures.figures());
    assert_eq!(desk.change("app = ", "dtmf_recv = \"peer\"\napp = ").await, (first, None));
    let key_a = desk.access_key_since();
    assert!(key_a > key_before, "{key_a:?} {key_before:?}");

    // What cannot be read changes nothing, and the next reading counts again.
    let (session, problem) = desk.change("app = ", "ap = ").await;
    assert_eq!(session, first);
    let problem = problem.expect("a problem");
    assert!(problem.contains("is not used") && problem.contains("`pbx.ap`") && !problem.contains('\n'), "{problem}");
    assert_eq!(desk.change("ap = ", "app = ").await, (first, None));

    // Nor do credentials that are not there.
    std::fs::write(folder.join("aws-credentials"), "# nothing\n").expect("a file");
    let (session, problem) = desk.save().await;
    assert_eq!(session, first);
    assert!(problem.is_some_and(|problem| problem.contains("AWS credentials")));
    assert_eq!(desk.access_key_since(), key_a);
    std::fs::write(folder.join("aws-credentials"), "[default]\naws_access_key_id = B\naws_secret_access_key = S\n")
        .expect("a file");

    // What takes a restart is named until it is as before.
    let (session, problem) = desk.change("exchange_table = \"exchange\"", "exchange_table = \"other\"").await;
    assert_eq!(session, first);
    assert_eq!(problem.as_deref(), Some("a restart is needed for the changed `aws.exchange_table`"));
    assert_eq!(desk.change("exchange_table = \"other\"", "exchange_table = \"exchange\"").await, (first, None));
    assert!(desk.access_key_since() > key_a, "another access key begins anew");

    // A new session is made by itself, also while there is none.
    let (second, problem) = desk.change("app = ", "monitor = \"app\"\napp = ").await;
    assert!(second.is_some() && second != first && problem.is_none(), "{second:?} {problem:?}");
    let password = format!("{DEFAULT_PASSWORD:?}");
    let (session, problem) = desk.change(&password, "\"wrong\"").await;
    assert_eq!(session, None);
    assert!(problem.is_some_and(|problem| problem.contains("refused the login")));
    let (third, problem) = desk.change("\"wrong\"", &password).await;
    assert!(third.is_some() && problem.is_none(), "{problem:?}");

    drop(stop);
    agent.await.expect("no panic").expect("an agent that stops");
    drop(disk);
    stack.settle().await;
}

#[test]
fn configuration_changes_while_the_agent_runs() {
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}
