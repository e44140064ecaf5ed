//! Configuration: a TOML file, overridden by variables `EASYCONNECT_AGENT__<TABLE>__<KEY>`, strict on unknown keys.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::subscription::Secret;
use toml::{Table, Value};
use tracing_subscriber::filter::Targets;
use url::Url;

use crate::pbx::tls;

pub const ENV_PREFIX: &str = "EASYCONNECT_AGENT__";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Unreadable(String),
    #[error("`{key}`: {reason}")]
    Invalid { key: &'static str, reason: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub agent: Agent,
    pub pbx: Pbx,
    pub aws: Aws,
    #[serde(default)]
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// How this agent is called among several on one PBX.
    pub name: String,
    /// Where the agent keeps what must survive a restart.
    pub state_dir: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pbx {
    /// `wss://pbx.example.com/PBX0/APPS/websocket`.
    pub url: Url,
    /// `Name` of the App object.
    pub app: String,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    /// Names the PBX in identities; needed only when its users do not all name the same one.
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub monitor: Monitor,
    /// Whom digits reach that are sent with `recv`; the PBX's documentation and working clients disagree.
    #[serde(default)]
    pub dtmf_recv: DtmfRecv,
    /// PEM file with the authorities to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the PBX's certificate, for boxes that signed their own.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
}

/// Who is monitored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Monitor {
    Named(MonitorName),
    /// Long names, out of those who have access to the App.
    List(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MonitorName {
    /// Members of the groups in which the App object is an active member.
    Group,
    /// Everybody with access to the App.
    App,
}

impl Monitor {
    pub fn by_group(&self) -> bool {
        *self == Self::default()
    }

    pub fn wants(&self, long_name: &str) -> bool {
        match self {
            Self::List(names) => names.iter().any(|name| name == long_name),
            Self::Named(_) => true,
        }
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::Named(MonitorName::Group)
    }
}

/// Whom the PBX means by `recv` in `UserDTMF`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtmfRecv {
    /// The user, as the SOAP documentation says.
    #[default]
    Own,
    /// The other party, as some clients rely on.
    Peer,
}

impl DtmfRecv {
    /// The flag that sends to the user or to the other party.
    pub fn flag(self, to_own_party: bool) -> bool {
        to_own_party == (self == Self::Own)
    }
}

/// A SHA-256 fingerprint, with or without colons.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.replace(':', "").to_lowercase(), &mut bytes)
            .map_err(|_| "a SHA-256 fingerprint has 64 hexadecimal digits".to_owned())?;
        Ok(Self(bytes))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    #[serde(default)]
    pub region: Option<String>,
    /// Another endpoint than AWS itself, for a local stack.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    pub events_queue_url: String,
    pub commands_queue_url: String,
    pub exchange_table: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads the file and the process's variables.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable(format!("cannot read `{}`: {error}", file.display())))?;
        let config = Self::read(&text, std::env::vars())?;
        config.check()?;
        Ok(config)
    }

    fn read(text: &str, vars: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            // The library quotes the line, in which a secret may stand.
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            ConfigError::Unreadable(format!("line {line}: {}", error.message()))
        })?;
        for (name, value) in vars {
            let Some(path) = name.strip_prefix(ENV_PREFIX) else { continue };
            let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
            let [section, key] = path.as_slice() else {
                return Err(ConfigError::Unreadable(format!(
                    "variable `{name}` is not of the form {ENV_PREFIX}TABLE__KEY"
                )));
            };
            let section = table.entry(section).or_insert_with(|| Table::new().into());
            let Some(section) = section.as_table_mut() else {
                return Err(ConfigError::Unreadable(format!("variable `{name}`: there is no such table")));
            };
            section.insert(key.clone(), variable(&value));
        }
        let config = serde_path_to_error::deserialize(table).map_err(|error| {
            let (path, error) = (error.path().to_string(), error.into_inner());
            ConfigError::Unreadable(format!("`{path}`: {}", error.message()))
        })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key, reason: &str| Err(ConfigError::Invalid { key, reason: reason.to_owned() });
        if self.agent.name.is_empty() || self.agent.name.contains(['/', ' ']) {
            return invalid("agent.name", "is a short name without spaces and slashes");
        }
        match self.pbx.url.scheme() {
            "ws" | "wss" if self.pbx.url.host_str().is_some() => {}
            _ => return invalid("pbx.url", "is of the form wss://HOST/PBX0/APPS/websocket"),
        }
        if self.pbx.app.is_empty() {
            return invalid("pbx.app", "is the Name of the App object and cannot be empty");
        }
        if self.pbx.ca_file.is_some() && self.pbx.fingerprint.is_some() {
            return invalid("pbx.fingerprint", "cannot be combined with pbx.ca_file; choose one way to trust the PBX");
        }
        if self.pbx.url.scheme() == "ws" && (self.pbx.ca_file.is_some() || self.pbx.fingerprint.is_some()) {
            return invalid("pbx.url", "is ws:// but a certificate to trust is given; did you mean wss://?");
        }
        if self.pbx.id.as_ref().is_some_and(|id| id.is_empty() || id.contains(['#', ' ', '/'])) {
            return invalid("pbx.id", "is a short name without spaces, slashes and #");
        }
        // A word that is no level would be taken for the name of a module, and switch everything else off.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let known = |part: &str| part.contains('=') || levels.contains(&part.trim().to_lowercase().as_str());
        if self.log.level.parse::<Targets>().is_err() || !self.log.level.split(',').all(known) {
            return invalid("log.level", "is error, warn, info, debug or trace");
        }
        if let Err(error) = tls::client_config(&self.pbx) {
            return Err(ConfigError::Invalid { key: "pbx", reason: format!("{error:#}") });
        }
        if let Err(error) = std::fs::create_dir_all(&self.agent.state_dir) {
            let reason = format!("cannot create {}: {error}", self.agent.state_dir.display());
            return Err(ConfigError::Invalid { key: "agent.state_dir", reason });
        }
        self.pbx.password().map(drop)
    }
}

impl Pbx {
    /// The App object's password, from the configuration or from its file.
    pub fn password(&self) -> Result<Secret, ConfigError> {
        let invalid = |key, reason: String| Err(ConfigError::Invalid { key, reason });
        match (&self.password, &self.password_file) {
            (Some(password), None) if !password.expose().is_empty() => Ok(password.clone()),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim())),
                Ok(_) => invalid("pbx.password_file", format!("`{}` is empty", file.display())),
                Err(error) => invalid("pbx.password_file", format!("cannot read `{}`: {error}", file.display())),
            },
            (Some(_), Some(_)) => invalid("pbx.password", "cannot be combined with pbx.password_file".to_owned()),
            _ => invalid("pbx.password", "is missing; give it here or as pbx.password_file".to_owned()),
        }
    }
}

/// A variable is a text, whatever it looks like; only a list is written as in the file.
fn variable(value: &str) -> Value {
    let list = || format!("list = {value}").parse::<Table>().ok()?.remove("list").filter(Value::is_array);
    list().unwrap_or_else(|| Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
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
        let config = Config::read(text, vars).map_err(|error| error.to_string())?;
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
        let vars =
            [("EASYCONNECT_AGENT__PBX__PASSWORD", "123456"), ("EASYCONNECT_AGENT__PBX__ID", "7"), ("OTHER", "x")];
        let config = read_with(GOOD, &vars).expect("valid");
        assert_eq!(config.pbx.password().expect("a password").expose(), "123456");
        assert_eq!(config.pbx.id.as_deref(), Some("7"));
        let list = [("EASYCONNECT_AGENT__PBX__MONITOR", "[\"Reception\"]")];
        assert!(read_with(GOOD, &list).expect("valid").pbx.monitor.wants("Reception"));
        let unknown = read_with(GOOD, &[("EASYCONNECT_AGENT__PBX__APPP", "x")]).expect_err("unknown");
        assert!(unknown.contains("appp"), "{unknown}");
        assert!(read_with(GOOD, &[("EASYCONNECT_AGENT__PBX", "x")]).is_err());
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
    fn whom_to_monitor() {
        let monitor = |value: &str| {
            read(&GOOD.replace("app =", &format!("monitor = {value}\napp ="))).expect("valid").pbx.monitor
        };
        assert!(monitor("\"group\"").by_group());
        assert_eq!(monitor("\"app\""), Monitor::Named(MonitorName::App));
        let list = monitor("[\"Thomas De Wilde\"]");
        assert!(list.wants("Thomas De Wilde") && !list.wants("Reception") && !list.by_group());
    }
}
