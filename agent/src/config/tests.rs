use super::*;

const GOOD: &str = r#"
    [agent]
    name = "rack"
    state_dir = "/tmp"
    [pbx]
    url = "wss://pbx.test/PBX0/APPS/websocket"
    app = "easyconnect"
    password = "hush-hush"
    [aws]
    events_queue_url = "https://sqs.test/events.fifo"
    commands_queue_url = "https://sqs.test/commands"
    exchange_table = "exchange"
"#;

fn read(text: &str) -> Result<Config, String> {
    read_with(text, &[])
}

fn read_with(text: &str, vars: &[(&str, &str)]) -> Result<Config, String> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::read(text, Path::new("agent.toml"), vars).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

fn check(from: &str, to: &str, error: &str) {
    let text = GOOD.replace(from, to);
    assert_ne!(text, GOOD, "nothing was replaced");
    let message = read(&text).expect_err("invalid");
    assert!(message.contains(error), "{message}");
    assert!(!message.contains('\n') && !message.contains("hush"), "{message}");
}

#[test]
fn good_configuration_hides_its_secret() {
    let config = read(GOOD).expect("valid");
    assert!(config.pbx.monitor.by_group());
    assert_eq!(config.pbx.password().expect("a password").expose(), "hush-hush");
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn url_may_be_a_list() {
    let urls =
        |text: &str| -> Vec<String> { read(text).expect("valid").pbx.url.iter().map(ToString::to_string).collect() };
    let one = "wss://pbx.test/PBX0/APPS/websocket";
    assert_eq!(urls(GOOD), [one]);
    let two = GOOD.replace(&format!("\"{one}\""), &format!("[\"{one}\", \"wss://standby.test/PBX0/APPS/websocket\"]"));
    assert_eq!(urls(&two), [one, "wss://standby.test/PBX0/APPS/websocket"]);
    check(&format!("\"{one}\""), "[]", "pbx.url");
    check(&format!("\"{one}\""), "[\"wss://pbx.test\", \"https://pbx.test\"]", "pbx.url");
}

#[test]
fn errors_name_the_key() {
    check("app =", "ap =", "ap");
    check("\"easyconnect\"", "\"\"", "pbx.app");
    check("wss://pbx.test", "https://pbx.test", "pbx.url");
    check("password = \"hush-hush\"", "", "pbx.password");
    check("password = \"hush-hush\"", "password_file = \"/nowhere\"", "/nowhere");
    check("name = \"rack\"", "name = \"a/b\"", "agent.name");
    check("exchange_table", "table", "table");
    check("app =", "fingerprint = \"12\"\napp =", "64 hexadecimal digits");
    check("wss://", "ws://u@[/", "pbx.url");
    check("\"exchange\"", "\"\"", "aws.exchange_table");
    check("exchange_table", "proxy = \"hush.test:3128\"\nexchange_table", "aws.proxy");
    check("exchange_table", "credentials_file = \"/nowhere\"\nexchange_table", "/nowhere");
    let proxy = |lines: &str, error| check("exchange_table", &format!("{lines}\nexchange_table"), error);
    proxy("proxy = \"http://u:hush-hush@proxy.test:3128\"", "aws.proxy_password_file");
    proxy("proxy_password_file = \"/nowhere\"", "without aws.proxy");
    proxy("proxy = \"http://proxy.test:3128\"\nproxy_password_file = \"/nowhere\"", "USER@HOST");
    proxy("proxy = \"http://u@proxy.test:3128\"\nproxy_password_file = \"/nowhere\"", "/nowhere");
}

#[test]
fn the_password_of_the_proxy_is_a_credential() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("proxy-password"), "hush 100%\n").expect("a file");
    let lines = "proxy = \"http://agent@proxy.test:3128\"\nproxy_password_file = \"proxy-password\"\nexchange_table";
    let text = GOOD.replace("exchange_table", lines);
    let mut config = Config::read(&text, Path::new("agent.toml"), std::iter::empty()).expect("valid");
    config.locate(Some(&folder), Path::new("/etc/agent"), None);
    config.check().expect("valid");
    let url = config.aws.proxy_url().expect("valid").expect("a proxy");
    assert_eq!(url.expose(), "http://agent:hush%20100%25@proxy.test:3128/");
    assert!(!format!("{config:?} {:?}", config.aws.location()).contains("hush"));
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}

#[test]
fn relative_files_are_credentials_or_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("pbx-password"), "hush-hush\n").expect("a file");
    let text = GOOD.replace("password = \"hush-hush\"", "password_file = \"pbx-password\"\nca_file = \"pbx.pem\"");
    let mut config = Config::read(&text, Path::new("agent.toml"), std::iter::empty()).expect("valid");
    config.locate(Some(&folder), Path::new("/etc/agent"), None);
    assert_eq!(config.pbx.password().expect("a password").expose(), "hush-hush");
    assert_eq!(config.pbx.ca_file.as_deref(), Some(Path::new("/etc/agent/pbx.pem")));
    config.locate(None, Path::new("/nowhere"), None);
    assert_eq!(config.pbx.password_file, Some(folder.join("pbx-password")), "an absolute path stays");

    // Only what lies nowhere else is taken from the running service.
    let mut encrypted = Config::read(&text, Path::new("agent.toml"), std::iter::empty()).expect("valid");
    encrypted.locate(None, Path::new("/etc/agent"), Some(&folder));
    assert_eq!(encrypted.pbx.password_file, Some(folder.join("pbx-password")));
    assert_eq!(encrypted.pbx.ca_file.as_deref(), Some(Path::new("/etc/agent/pbx.pem")));
    std::fs::write(folder.join("pbx.pem"), "").expect("a file");
    let (service, beside) = (folder.join("service"), &folder);
    std::fs::create_dir(&service).expect("a folder");
    std::fs::write(service.join("pbx-password"), "yesterday\n").expect("a file");
    let mut changed = Config::read(&text, Path::new("agent.toml"), std::iter::empty()).expect("valid");
    changed.locate(None, beside, Some(&service));
    assert_eq!(changed.pbx.password().expect("a password").expose(), "hush-hush");

    // A credential that is older than the file that an administrator edits is not what he means.
    let stale = std::fs::File::open(service.join("pbx-password")).expect("a file");
    for (age, outdated) in [(0, &[][..]), (60, &["pbx.password_file"][..])] {
        let then = std::fs::metadata(folder.join("pbx-password")).and_then(|file| file.modified()).expect("a time");
        stale.set_modified(then - std::time::Duration::from_secs(age)).expect("a file of our own");
        let mut config = Config::read(&text, Path::new("agent.toml"), std::iter::empty()).expect("valid");
        config.locate(Some(&service), beside, None);
        assert_eq!(config.pbx.password().expect("a password").expose(), "yesterday");
        assert_eq!(config.outdated_credentials(), outdated);
    }
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}

#[test]
fn lacking_credentials_belong_into_the_file_that_is_edited() {
    let text = GOOD.replace("exchange_table", "credentials_file = \"aws-credentials\"\nexchange_table");
    let mut config = Config::read(&text, Path::new("agent.toml"), std::iter::empty()).expect("valid");
    config.locate(Some(Path::new("/run/credentials/agent")), Path::new("/etc/agent"), None);
    assert_eq!(config.aws.credentials_file_to_edit(), Some(Path::new("/etc/agent/aws-credentials")));
    let fix = crate::host::credentials::credentials_fix(&config.aws);
    assert!(fix.contains("into /etc/agent/aws-credentials") && !fix.contains("AWS_ACCESS_KEY_ID"), "{fix}");
    let fix = crate::host::credentials::credentials_fix(&read(GOOD).expect("valid").aws);
    assert!(fix.contains("AWS_ACCESS_KEY_ID") && fix.contains("AWS_PROFILE"), "{fix}");
}

#[test]
fn an_agent_without_a_name_is_called_like_its_machine() {
    let name = read(&GOOD.replace("name = \"rack\"", "")).expect("valid").agent.name;
    assert_eq!(name, rustix::system::uname().nodename().to_str().expect("text"));
}

/// What is packaged as the configuration to fill in.
const EXAMPLE: &str = include_str!("../../packaging/agent.toml");

#[test]
fn every_key_of_the_example_exists() {
    let is_key = |line: &str| line.split(' ').nth(1) == Some("=");
    let lines = EXAMPLE.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line));
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    assert!(uncommented.contains("\nmonitor = "), "commented keys are tried, too");
    Config::read(&uncommented, Path::new("agent.toml"), std::iter::empty()).map(drop).expect("keys that exist");
}

#[test]
fn the_example_has_every_key() {
    for table in ["agent", "pbx", "aws", "log", "health"] {
        let unknown = format!("{ENV_PREFIX}{}__NO_SUCH_KEY", table.to_uppercase());
        let message = read_with(EXAMPLE, &[(&unknown, "x")]).expect_err("unknown");
        // "unknown field `no_such_key`, expected one of `level`, `format`"
        let (_, known) = message.split_once("expected").unwrap_or_else(|| panic!("{message}"));
        let lines = EXAMPLE.lines().skip_while(|line| *line != format!("[{table}]")).skip(1);
        let lines: Vec<&str> = lines.take_while(|line| !line.starts_with('[')).collect();
        for key in known.split('`').skip(1).step_by(2) {
            let given = lines.iter().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(given, "`{key}` in [{table}]");
        }
    }
}

#[test]
fn the_example_asks_for_what_it_lacks() {
    let lacking = Config::read(EXAMPLE, Path::new("agent.toml"), std::iter::empty())
        .expect("the right form")
        .check()
        .expect_err("incomplete");
    assert!(lacking.to_string().contains("aws.events_queue_url"), "{lacking}");
}

#[test]
fn no_error_shows_a_secret() {
    for value in ["\"hush-hush", "471147114711", "[\"hush-hush\"]", "{ hush = 1 }"] {
        let message = read(&GOOD.replace("\"hush-hush\"", value)).expect_err("invalid");
        assert!(!message.contains("hush") && !message.contains("4711"), "{message}");
    }
}

#[test]
fn variables_go_before_the_file_and_are_texts() {
    let vars = [("EASYCONNECT_AGENT__PBX__PASSWORD", "123456"), ("EASYCONNECT_AGENT__PBX__ID", "7"), ("OTHER", "x")];
    let config = read_with(GOOD, &vars).expect("valid");
    assert_eq!(config.pbx.password().expect("a password").expose(), "123456");
    assert_eq!(config.pbx.id.as_deref(), Some("7"));
    let list = [("EASYCONNECT_AGENT__PBX__MONITOR", "[\"Reception\"]")];
    assert!(read_with(GOOD, &list).expect("valid").pbx.monitor.includes("Reception"));
    let unknown = read_with(GOOD, &[("EASYCONNECT_AGENT__PBX__APPP", "x")]).expect_err("unknown");
    assert!(unknown.contains("appp"), "{unknown}");
    assert!(read_with(GOOD, &[("EASYCONNECT_AGENT__PBX", "x")]).is_err());
}

#[test]
fn a_syntax_error_names_the_file_and_the_line() {
    let message = read(&GOOD.replace("\"rack\"", "\"rack")).expect_err("invalid");
    assert!(message.contains("`agent.toml`, line 3"), "{message}");
}

#[test]
fn health_is_for_this_machine_only() {
    let listen = |value| read_with(GOOD, &[("EASYCONNECT_AGENT__HEALTH__LISTEN", value)]).map(|c| c.health.listen.0);
    assert_eq!(read(GOOD).expect("valid").health.listen.0.map(|address| address.port()), Some(9870));
    assert_eq!(listen("[::1]:0").expect("valid").map(|address| address.port()), Some(0));
    assert_eq!(listen("off"), Ok(None));
    for (value, error) in [("0.0.0.0:9870", "use 127.0.0.1:9870"), ("192.0.2.1:1", "other machines"), ("on", "off")] {
        let message = listen(value).expect_err("invalid");
        assert!(message.contains("health.listen") && message.contains(error), "{message}");
    }
}

#[test]
fn whom_digits_with_recv_reach() {
    assert_eq!(read(GOOD).expect("valid").pbx.dtmf_recv, DtmfRecv::Own);
    let peer = read_with(GOOD, &[("EASYCONNECT_AGENT__PBX__DTMF_RECV", "peer")]).expect("valid").pbx.dtmf_recv;
    assert_eq!(peer, DtmfRecv::Peer);
    assert!(DtmfRecv::Own.flag(true) && !DtmfRecv::Own.flag(false));
    assert!(!DtmfRecv::Peer.flag(true) && DtmfRecv::Peer.flag(false));
}

#[test]
fn how_much_the_outbox_may_hold() {
    assert_eq!(read(GOOD).expect("valid").agent.outbox_mib.bytes(), 1 << 30);
    let named = |value: &str| read(&GOOD.replace("[pbx]", &format!("outbox_mib = {value}\n[pbx]")));
    assert_eq!(named("64").expect("valid").agent.outbox_mib.bytes(), 64 << 20);
    let var = read_with(GOOD, &[("EASYCONNECT_AGENT__AGENT__OUTBOX_MIB", "64")]).expect("valid");
    assert_eq!(var.agent.outbox_mib.bytes(), 64 << 20);
    for wrong in ["0", "-1", "\"much\""] {
        let message = named(wrong).expect_err("invalid");
        assert!(message.contains("outbox_mib"), "{message}");
    }
}

#[test]
fn whom_to_monitor() {
    let monitor =
        |value: &str| read(&GOOD.replace("app =", &format!("monitor = {value}\napp ="))).expect("valid").pbx.monitor;
    assert!(monitor("\"group\"").by_group());
    assert_eq!(monitor("\"app\""), Monitor::Named(MonitorName::App));
    let list = monitor("[\"Thomas De Wilde\"]");
    assert!(list.includes("Thomas De Wilde") && !list.includes("Reception") && !list.by_group());
}

#[test]
fn commands_queues_are_a_list_or_the_first_one() {
    let queues = |text: &str| read(text).expect("valid").aws.commands_queues().to_vec();
    let one = "commands_queue_url = \"https://sqs.test/commands\"";
    assert_eq!(queues(GOOD), ["https://sqs.test/commands"]);
    let two = GOOD.replace(one, "commands_queue_urls = [\"https://sqs.test/1\", \"https://sqs.test/2\"]");
    assert_eq!(queues(&two), ["https://sqs.test/1", "https://sqs.test/2"]);
    check(one, "", "CommandsQueueUrls");
    check(one, "commands_queue_url = \"\"", "CommandsQueueUrl");
    check(one, "commands_queue_urls = [\"https://sqs.test/1\", \"\"]", "CommandsQueueUrls");
    check(one, &format!("commands_queue_urls = {:?}", ["https://sqs.test/1"; 9]), "CommandsQueueUrls");
    check(one, &format!("{one}\ncommands_queue_urls = [\"https://sqs.test/1\"]"), "cannot be combined");
}

#[test]
fn each_instance_has_credentials_of_its_own() {
    for (file, unit) in [
        ("/etc/easyconnect-agent/agent.toml", "easyconnect-agent.service"),
        ("/etc/easyconnect-agent/branch/agent.toml", "easyconnect-agent@branch.service"),
        ("/etc/easyconnect-agent/a-b/agent.toml", "easyconnect-agent@a-b.service"),
        ("/etc/easyconnect-agent/old/branch/agent.toml", "easyconnect-agent.service"),
        ("/srv/branch/agent.toml", "easyconnect-agent.service"),
        ("agent.toml", "easyconnect-agent.service"),
    ] {
        assert_eq!(credentials_of_service(Path::new(file)), Path::new("/run/credentials").join(unit), "{file}");
    }
}
