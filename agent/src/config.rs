//! Configuration: a TOML file, overridden by variables `EASYCONNECT_AGENT__<TABLE>__<KEY>`, strict on unknown keys.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use shared::subscription::Secret;
use url::Url;

pub const ENV_PREFIX: &str = "EASYCONNECT_AGENT__";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("there is no file `{}`", .0.display())]
    NoFile(PathBuf),
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
        if !file.is_file() {
            return Err(ConfigError::NoFile(file.to_owned()));
        }
        Self::from_figment(&Figment::new().merge(Toml::file_exact(file)).merge(Env::prefixed(ENV_PREFIX).split("__")))
    }

    fn from_figment(figment: &Figment) -> Result<Self, ConfigError> {
        let config: Self = figment.extract().map_err(|error| ConfigError::Unreadable(one_line(&error)))?;
        config.check()?;
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

/// Figment reports a list with sources; an administrator wants the first thing to mend, in one line.
fn one_line(error: &figment::Error) -> String {
    let first = error.clone().into_iter().next().unwrap_or_else(|| error.clone());
    let path = first.path.join(".");
    let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    let source = first.metadata.as_ref().map(|metadata| format!(" (in {})", metadata.name)).unwrap_or_default();
    format!("{place}{}{source}", first.kind).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [agent]
        name = "rack"
        state_dir = "/var/lib/easyconnect-agent"
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
        Config::from_figment(&Figment::new().merge(Toml::string(text))).map_err(|error| error.to_string())
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
