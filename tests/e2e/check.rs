//! `easyconnect-agent check` finds what an administrator got wrong, says how to mend it, and disturbs nobody.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use easyconnect_tests::{Agent, AgentOptions, Front, Pbx, Stack, Tunnel, agent_command};
use jiff::SignedDuration;
use pbx_sim::Sim;
use pbx_sim::world::World;
use serde_json::Value;

const HOPS: [&str; 22] = [
    "config",
    "dns",
    "tcp",
    "tls",
    "websocket",
    "login",
    "api",
    "group",
    "monitor",
    "pbx-id",
    "aws-region",
    "aws-dns",
    "aws-tcp",
    "aws-proxy",
    "aws-tls",
    "clock",
    "aws-credentials",
    "sqs-events",
    "sqs-commands",
    "exchange-table",
    "pbx-slot",
    "disk",
];

/// What a check has printed.
struct Checked {
    code: Option<i32>,
    hops: BTreeMap<String, Value>,
    text: String,
}

impl Checked {
    /// Runs `check --json`.
    async fn of(mut command: Command) -> Self {
        command.arg("--json");
        let output =
            tokio::task::spawn_blocking(move || command.output().expect("the agent runs")).await.expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let whole: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(whole["ok"], output.status.success());
        let hops = whole["hops"].as_array().expect("hops").iter();
        let hops = hops.map(|hop| (hop["hop"].as_str().expect("a name").to_owned(), hop.clone())).collect();
        Self { code: output.status.code(), hops, text }
    }

    fn state(&self, hop: &str) -> &str {
        self.hops.get(hop).unwrap_or_else(|| panic!("no {hop} in {}", self.text))["state"].as_str().unwrap_or_default()
    }

    /// Exactly these hops are broken; what depends on them is skipped, and nothing else.
    #[track_caller]
    fn is_broken_at(&self, broken: &[&str], skipped: &[&str]) {
        let mut names: Vec<&str> = self.hops.keys().map(String::as_str).collect();
        let mut all = HOPS;
        names.sort_unstable();
        all.sort_unstable();
        assert_eq!(names, all);
        for hop in HOPS {
            match self.state(hop) {
                "broken" => assert!(broken.contains(&hop), "{hop}: {}", self.text),
                "skipped" => assert!(skipped.contains(&hop), "{hop}: {}", self.text),
                _ => assert!(!broken.contains(&hop) && !skipped.contains(&hop), "{hop}: {}", self.text),
            }
        }
        let code = match broken {
            [] => 0,
            ["config"] => 64,
            _ => 1,
        };
        assert_eq!(self.code, Some(code));
    }

    /// What is said about a hop, with its fix.
    #[track_caller]
    fn says(&self, hop: &str, texts: &[&str]) {
        let found = &self.hops[hop];
        let said =
            format!("{} {}", found["detail"].as_str().unwrap_or_default(), found["fix"].as_str().unwrap_or_default());
        for text in texts {
            assert!(said.contains(text), "{text:?} in: {said}");
        }
    }
}

/// Prepared configurations for one stack and PBX.
struct Desk<'a> {
    stack: &'a Stack,
    pbx: &'a Pbx,
}

impl Desk<'_> {
    fn file(&self, options: &AgentOptions) -> PathBuf {
        options.configure(self.stack, self.pbx, "checked")
    }

    async fn check(&self, options: &AgentOptions) -> Checked {
        Checked::of(agent_command(self.stack, "check", &self.file(options))).await
    }

    /// Checks a configuration in which one text is another one.
    async fn check_with(&self, from: &str, to: &str) -> Checked {
        let file = self.file(&AgentOptions::default());
        replace(&file, from, to);
        Checked::of(agent_command(self.stack, "check", &file)).await
    }

    async fn check_url(&self, url: String, pbx_lines: &str) -> Checked {
        let options = AgentOptions { pbx_url: Some(url), pbx_lines: pbx_lines.to_owned(), ..AgentOptions::default() };
        self.check(&options).await
    }

    /// Checks with another access key.
    async fn check_as(&self, key: &(String, String)) -> Checked {
        let mut command = agent_command(self.stack, "check", &self.file(&AgentOptions::default()));
        command.env("AWS_ACCESS_KEY_ID", &key.0).env("AWS_SECRET_ACCESS_KEY", &key.1);
        Checked::of(command).await
    }
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("the configuration");
    assert!(text.contains(from), "{from:?} in {text}");
    fs::write(file, text.replace(from, to)).expect("the configuration is written");
}

const BEHIND_TCP: [&str; 7] = ["tls", "websocket", "login", "api", "group", "monitor", "pbx-id"];
/// What needs a region, in the order in which it is tried.
const BEHIND_REGION: [&str; 10] = [
    "aws-dns",
    "aws-tcp",
    "aws-proxy",
    "aws-tls",
    "aws-credentials",
    "clock",
    "sqs-events",
    "sqs-commands",
    "exchange-table",
    "pbx-slot",
];

#[tokio::test(flavor = "multi_thread")]
async fn healthy_check_beside_a_running_agent_disturbs_nobody() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let options = AgentOptions {
        pbx_url: Some(pbx.0.wss_url()),
        pbx_lines: format!("fingerprint = {:?}", pbx.0.fingerprint()),
        ..AgentOptions::default()
    };
    let agent = Agent::start_with(&stack, &pbx, "one", &options).await;
    let before = (folder(&agent), stack.messages_in("EVENTS_QUEUE_URL").await);
    let (opened, ended) = (pbx.heard("UserInitialize"), pbx.heard("UserEnd"));

    let checked = Checked::of(agent_command(&stack, "check", &agent.config)).await;
    checked.is_broken_at(&[], &[]);
    for hop in HOPS {
        assert_eq!(checked.state(hop), "ok", "{}", checked.text);
        assert!(checked.hops[hop]["ms"].is_u64() && checked.hops[hop].get("fix").is_none(), "{}", checked.text);
    }
    checked.says("group", &["6 users and queues"]);
    checked.says("tls", &["valid until"]);
    checked.says("pbx-slot", &["slot 1 of 8"]);
    for secret in [pbx_sim::world::DEFAULT_PASSWORD, stack.var("AGENT_AWS_SECRET_ACCESS_KEY"), "Thomas"] {
        assert!(!checked.text.contains(secret), "{}", checked.text);
    }

    // The command that is given now reaches the agent: no other poll stood at the queue, and no message hides.
    let after = (folder(&agent), stack.messages_in("EVENTS_QUEUE_URL").await);
    assert_eq!(before, after);
    assert_eq!(
        (pbx.heard("UserInitialize"), pbx.heard("UserEnd")),
        (opened + 1, ended + 1),
        "one monitor for a moment"
    );
    assert_eq!(stack.messages_in("COMMANDS_QUEUE_URL").await, 0);
    stack.api.make_call("44", "43").await.ok();
    let status = stack.api.get("/status").await.ok().body;
    assert_eq!(
        (&status["agents"][0]["reconnects"], status["agents"].as_array().map(Vec::len)),
        (&Value::from(0), Some(1))
    );

    let shown = agent_command(&stack, "check", &agent.config).output().expect("the agent runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("✓ login") && shown.ends_with("Everything works.\n"), "{shown}");
}

/// What is in the agent's state folder, except for times.
fn folder(agent: &Agent) -> Vec<String> {
    let folder = agent.config.with_file_name("state");
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the state folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_configuration_is_told_by_file_line_and_key() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let desk = Desk { stack: &stack, pbx: &pbx };
    let others = &HOPS[1..];
    let torn = desk.check_with("app = \"easyconnect\"", "app = \"easyconnect").await;
    torn.is_broken_at(&["config"], others);
    torn.says("config", &["agent.toml", "line 6"]);
    let misspelt = desk.check_with("app =", "aap =").await;
    misspelt.is_broken_at(&["config"], others);
    misspelt.says("config", &["aap", "correct", "agent.toml"]);
    let open = desk.check_with("127.0.0.1:0", "0.0.0.0:9870").await;
    open.is_broken_at(&["config"], others);
    open.says("config", &["health.listen", "use 127.0.0.1:9870"]);
    let missing = Checked::of(agent_command(&stack, "check", Path::new("/nowhere/agent.toml"))).await;
    missing.is_broken_at(&["config"], others);
    missing.says("config", &["/nowhere/agent.toml"]);

    // The disk is no matter of the file's text, but of where it points to.
    let file = stack.folder().join("file");
    fs::write(&file, "").expect("a file");
    let folder = format!("{:?}", stack.folder().join("checked/state"));
    let unwritable = desk.check_with(&folder, &format!("{:?}", file.join("state"))).await;
    unwritable.is_broken_at(&["disk"], &[]);
    unwritable.says("disk", &["agent.state_dir"]);
    assert!(!stack.folder().join("checked/state").exists(), "the check has created a folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_way_to_the_pbx_is_told_hop_by_hop() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let desk = Desk { stack: &stack, pbx: &pbx };

    let unknown = desk.check_url("wss://pbx.invalid/PBX0/APPS/websocket".to_owned(), "").await;
    unknown.is_broken_at(&["dns"], &[&["tcp"][..], &BEHIND_TCP].concat());
    unknown.says("dns", &["pbx.invalid", "pbx.url"]);

    let closed = desk.check_url("wss://127.0.0.1:1/PBX0/APPS/websocket".to_owned(), "").await;
    closed.is_broken_at(&["tcp"], &BEHIND_TCP);
    closed.says("tcp", &["pbx.url", "firewall"]);

    let behind_tls = &BEHIND_TCP[1..];
    let shown: Vec<&str> =
        pbx.0.fingerprint().as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex")).collect();
    let shown = shown.join(":").to_uppercase();
    let stranger = desk.check_url(pbx.0.wss_url(), "").await;
    stranger.is_broken_at(&["tls"], behind_tls);
    stranger.says("tls", &["pbx.ca_file", "pbx.fingerprint", &shown]);
    let other = desk.check_url(pbx.0.wss_url(), &format!("fingerprint = {:?}", "00".repeat(32))).await;
    other.is_broken_at(&["tls"], behind_tls);
    other.says("tls", &["not the one of `pbx.fingerprint`", &shown]);
    // What it shows can be copied into the configuration.
    let pinned = desk.check_url(pbx.0.wss_url(), &format!("fingerprint = {shown:?}")).await;
    pinned.is_broken_at(&[], &[]);
    let plain = desk.check_url(pbx.0.ws_url().replace("ws://", "wss://"), "").await;
    plain.is_broken_at(&["tls"], behind_tls);
    plain.says("tls", &["pbx.url"]);

    let expired = Pbx(Sim::builder().certificate_days(-2).start().await.expect("the simulator starts"));
    let authority = stack.folder().join("authority.pem");
    fs::write(&authority, expired.0.ca_pem()).expect("the certificate is written");
    let checked = desk.check_url(expired.0.wss_url(), &format!("ca_file = {authority:?}")).await;
    checked.is_broken_at(&["tls"], behind_tls);
    checked.says("tls", &["expired", "renew the certificate"]);
    let soon = Pbx(Sim::builder().certificate_days(3).start().await.expect("the simulator starts"));
    fs::write(&authority, soon.0.ca_pem()).expect("the certificate is written");
    let checked = desk.check_url(soon.0.wss_url(), &format!("ca_file = {authority:?}")).await;
    checked.is_broken_at(&[], &[]);
    assert_eq!(checked.state("tls"), "warning", "{}", checked.text);
    checked.says("tls", &["days", "renew the certificate"]);

    let elsewhere = desk.check_url(pbx.0.ws_url().replace("/PBX0", "/PBX7"), "").await;
    elsewhere.is_broken_at(&["websocket"], &["login", "api", "group", "monitor", "pbx-id"]);
    elsewhere.says("websocket", &["/PBX7/APPS/websocket", "pbx.url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn app_object_without_password_rights_or_group_is_told() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let desk = Desk { stack: &stack, pbx: &pbx };
    let password = pbx_sim::world::DEFAULT_PASSWORD;
    let wrong = desk.check_with(&format!("{password:?}"), "\"not-the-word\"").await;
    wrong.is_broken_at(&["login"], &["api", "group", "monitor", "pbx-id"]);
    wrong.says("login", &["pbx.password", "pbx.app"]);
    assert!(!wrong.text.contains("not-the-word"), "{}", wrong.text);
    assert_eq!(wrong.state("tls"), "warning", "it is ws://");

    let with_app = async |change: fn(&mut World)| {
        let mut world = World::default();
        change(&mut world);
        Pbx(Sim::builder().world(world).start().await.expect("the simulator starts"))
    };
    let ungranted = with_app(|world| world.apps[0].apis = vec!["PbxApi".to_owned()]).await;
    let checked = desk.check_url(ungranted.0.ws_url(), "").await;
    checked.is_broken_at(&["api"], &["group", "monitor", "pbx-id"]);
    checked.says("api", &["RCC", "easyconnect"]);
    // Some boxes say so instead of being silent.
    ungranted.control("/quirks", &serde_json::json!({"error_replies": true}));
    let checked = desk.check_url(ungranted.0.ws_url(), "").await;
    checked.is_broken_at(&["api"], &["group", "monitor", "pbx-id"]);
    checked.says("api", &["not granted", "RCC"]);

    let full = with_app(|_| {}).await;
    full.control("/quirks", &serde_json::json!({"monitor_limit": 0}));
    let checked = desk.check_url(full.0.ws_url(), "").await;
    checked.is_broken_at(&["monitor"], &[]);
    checked.says("monitor", &["the PBX refuses it"]);

    let alone = with_app(|world| world.apps[0].groups.clear()).await;
    let checked = desk.check_url(alone.0.ws_url(), "").await;
    checked.is_broken_at(&["group"], &["monitor", "pbx-id"]);
    checked.says("group", &["active member", "easyconnect"]);

    let checked = desk.check_url(pbx.0.ws_url(), "monitor = [\"Thomas De Wilde\", \"Nobody\"]").await;
    checked.is_broken_at(&[], &[]);
    assert_eq!(checked.state("group"), "warning");
    checked.says("group", &["Nobody", "pbx.monitor"]);
    let crowded =
        Pbx(Sim::builder().world(World::default().with_users(60)).start().await.expect("the simulator starts"));
    let checked = desk.check_url(crowded.0.ws_url(), "").await;
    checked.is_broken_at(&[], &[]);
    assert_eq!(checked.state("group"), "warning");
    checked.says("group", &["about 50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_way_to_aws_is_told_hop_by_hop() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let desk = Desk { stack: &stack, pbx: &pbx };
    let behind_credentials = ["sqs-events", "sqs-commands", "exchange-table", "pbx-slot"];

    let nowhere = desk.check_with("region = \"us-east-1\"\n", "").await;
    nowhere.is_broken_at(&["aws-region"], &BEHIND_REGION);
    nowhere.says("aws-region", &["aws.region", "AWS_REGION"]);
    let elsewhere =
        desk.check_with(stack.var("EVENTS_QUEUE_URL"), "https://sqs.eu-west-1.amazonaws.com/1/events.fifo").await;
    elsewhere.is_broken_at(&["aws-region"], &BEHIND_REGION);
    elsewhere.says("aws-region", &["set `aws.region` to eu-west-1"]);

    let mut command = agent_command(&stack, "check", &desk.file(&AgentOptions::default()));
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let keyless = Checked::of(command).await;
    keyless.is_broken_at(&["aws-credentials"], &BEHIND_REGION[5..]);
    keyless.says("aws-credentials", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"]);
    // As it is after an installation, when nobody has written into the file yet.
    let file = desk.file(&AgentOptions { credentials: Some(PathBuf::new()), ..AgentOptions::default() });
    fs::write(file.with_file_name("pbx-password"), pbx_sim::world::DEFAULT_PASSWORD).expect("a file");
    let secrets = file.with_file_name("aws-credentials");
    fs::write(&secrets, "#[default]\n#aws_access_key_id = AKIA...\n").expect("a file");
    let mut command = agent_command(&stack, "check", &file);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let commented = Checked::of(command).await;
    commented.is_broken_at(&["aws-credentials"], &BEHIND_REGION[5..]);
    commented.says("aws-credentials", &[&format!("into {}", secrets.display())]);
    let unknown = desk.check_as(&("AKIAUNKNOWNUNKNOWN00".to_owned(), "no-such-secret".to_owned())).await;
    unknown.is_broken_at(&["aws-credentials"], &behind_credentials);
    unknown.says("aws-credentials", &["AWS_ACCESS_KEY_ID"]);
    assert!(!unknown.text.contains("no-such-secret"), "{}", unknown.text);

    let events = stack.var("EVENTS_QUEUE_URL");
    let misnamed = desk.check_with(events, &events.replace(".fifo", "x.fifo")).await;
    misnamed.is_broken_at(&["sqs-events"], &[]);
    misnamed.says("sqs-events", &["aws.events_queue_url", "output"]);
    let exchanged = desk.check_with(events, stack.var("COMMANDS_QUEUE_URL")).await;
    exchanged.is_broken_at(&["sqs-events"], &[]);
    exchanged.says("sqs-events", &["aws.events_queue_url", "FIFO", "EventsQueueUrl"]);
    assert_eq!(stack.messages_in("COMMANDS_QUEUE_URL").await, 0, "the check has sent something");
    let table = format!("{:?}", stack.var("EXCHANGE_TABLE"));
    let misnamed = desk.check_with(&table, "\"no-such-table\"").await;
    misnamed.is_broken_at(&["exchange-table"], &["pbx-slot"]);
    misnamed.says("exchange-table", &["aws.exchange_table"]);

    let all = [
        "sqs:SendMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "dynamodb:GetItem",
        "dynamodb:Query",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
    ];
    for (missing, hop) in
        all.iter().zip(["sqs-events"].into_iter().chain(["sqs-commands"; 4]).chain(["exchange-table"; 5]))
    {
        let rights: Vec<&str> = all.iter().copied().filter(|right| right != missing).collect();
        let checked = desk.check_as(&stack.user_with(&rights).await).await;
        let skipped: &[&str] = if hop == "exchange-table" { &["pbx-slot"] } else { &[] };
        checked.is_broken_at(&[hop], skipped);
        checked.says(hop, &["AgentPolicyArn", missing]);
    }

    let endpoint = |url: String| AgentOptions { aws_endpoint: Some(url), ..AgentOptions::default() };
    let front = Front::start(stack.var("AWS_ENDPOINT_URL"), SignedDuration::from_mins(-11)).await;
    let ahead = desk.check(&endpoint(front.url())).await;
    ahead.is_broken_at(&["clock"], &[]);
    ahead.says("clock", &["ahead of AWS", "NTP"]);
    let front = Front::start(stack.var("AWS_ENDPOINT_URL"), SignedDuration::from_secs(30)).await;
    let behind = desk.check(&endpoint(front.url())).await;
    behind.is_broken_at(&[], &[]);
    assert_eq!(behind.state("clock"), "warning", "{}", behind.text);
    behind.says("clock", &["s behind AWS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_network_to_aws_is_told_hop_by_hop() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let desk = Desk { stack: &stack, pbx: &pbx };
    let way = |endpoint: &str, proxy: Option<&str>| AgentOptions {
        aws_endpoint: Some(endpoint.to_owned()),
        aws_lines: proxy.unwrap_or_default().to_owned(),
        ..AgentOptions::default()
    };

    let unknown = desk.check(&way("https://aws.invalid", None)).await;
    unknown.is_broken_at(&["aws-dns"], &BEHIND_REGION[1..]);
    unknown.says("aws-dns", &["aws.invalid", "aws.region", "aws.proxy"]);
    let closed = desk.check(&way("http://127.0.0.1:1", None)).await;
    closed.is_broken_at(&["aws-tcp"], &BEHIND_REGION[2..]);
    closed.says("aws-tcp", &["127.0.0.1:1", "firewall"]);
    let plain = desk.check(&way(&stack.var("AWS_ENDPOINT_URL").replace("http://", "https://"), None)).await;
    plain.is_broken_at(&["aws-tls"], &BEHIND_REGION[4..]);

    let tunnel = Tunnel::start(stack.var("AWS_ENDPOINT_URL")).await;
    let (cloud, allowed) = (Tunnel::endpoint(), tunnel.lines(stack.folder()));
    let lost = desk.check(&way(&cloud, Some("proxy = \"http://proxy.invalid:3128\""))).await;
    lost.is_broken_at(&["aws-dns"], &BEHIND_REGION[1..]);
    lost.says("aws-dns", &["proxy.invalid", "correct the host of `aws.proxy`"]);
    let dead = desk.check(&way(&cloud, Some("proxy = \"http://127.0.0.1:1\""))).await;
    dead.is_broken_at(&["aws-tcp"], &BEHIND_REGION[2..]);
    dead.says("aws-tcp", &["aws.proxy", "start the proxy"]);
    let stranger = desk.check(&way(&cloud, Some(&tunnel.lines_without_password()))).await;
    stranger.is_broken_at(&["aws-proxy"], &BEHIND_REGION[3..]);
    stranger.says("aws-proxy", &["407", "http://USER@HOST:PORT", "aws.proxy_password_file"]);
    let forbidden = desk.check(&way("https://elsewhere.easyconnect.test", Some(&allowed))).await;
    forbidden.is_broken_at(&["aws-proxy"], &BEHIND_REGION[3..]);
    forbidden.says("aws-proxy", &["403", "CONNECT to elsewhere.easyconnect.test:443"]);
    let opened = desk.check(&way(&cloud, Some(&allowed))).await;
    opened.is_broken_at(&["aws-tls"], &BEHIND_REGION[4..]);
    opened.says("aws-tls", &["does not trust", "opens the encryption", "update-ca-certificates"]);
    assert!(!opened.text.contains("hush-hush"), "{}", opened.text);

    let authority = stack.folder().join("cloud.pem");
    fs::write(&authority, &tunnel.ca_pem).expect("a file");
    let mut command = agent_command(&stack, "check", &desk.file(&way(&cloud, Some(&allowed))));
    command.env("SSL_CERT_FILE", &authority);
    Checked::of(command).await.is_broken_at(&[], &[]);
}

/// Root can open every file, so what the agent's own user cannot do must be told from owners and modes.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_root_can_open_is_told() {
    const NOBODY: u32 = 65534;
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if !rustix::process::geteuid().is_root() || !users.contains(&format!("nobody:x:{NOBODY}:")) {
        return;
    }
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let desk = Desk { stack: &stack, pbx: &pbx };
    // The way to it must be open to everybody.
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
    let (state, authority, config) = (folder.join("state"), folder.join("authority.pem"), folder.join("agent.toml"));
    fs::create_dir_all(&state).expect("a folder");
    chown(&state, Some(NOBODY), None).expect("root may do that");
    fs::write(&authority, pbx.0.ca_pem()).expect("a file");
    let lines = format!("ca_file = {authority:?}");
    let options = AgentOptions { pbx_url: Some(pbx.0.wss_url()), pbx_lines: lines, ..AgentOptions::default() };
    fs::copy(desk.file(&options), &config).expect("the configuration is copied");
    replace(&config, &format!("{:?}", stack.folder().join("checked/state")), &format!("{state:?}"));
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("root may do that");
    let check = async || Checked::of(agent_command(&stack, "check", &config)).await;

    for path in [&folder, &config, &authority] {
        mode(path, 0o755);
    }
    check().await.is_broken_at(&[], &[]);
    mode(&authority, 0o600);
    let unreadable = check().await;
    unreadable.is_broken_at(&["config"], &HOPS[1..]);
    unreadable.says("config", &["nobody may not read", "authority.pem", "chgrp"]);
    mode(&authority, 0o644);
    // What `run` leaves behind when it was tried as root.
    fs::write(state.join("outbox.redb"), "").expect("a file");
    let foreign = check().await;
    foreign.is_broken_at(&["disk"], &[]);
    foreign.says("disk", &["outbox.redb belongs to root, not to nobody", "chown -R nobody:"]);
    fs::remove_dir_all(&folder).expect("the folder is removed");
}
