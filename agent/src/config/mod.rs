//! Configuration: a TOML file, overridden by variables `EASYCONNECT_AGENT__<TABLE>__<KEY>`, strict on unknown keys.

mod aws;
mod error;
mod fingerprint;
mod location;
#[cfg(test)]
mod tests;
mod urls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use shared::webhook::Secret;
use toml::{Table, Value};
use tracing_subscriber::filter::Targets;

pub use aws::AwsConfig;
pub use error::ConfigError;
use error::secret_of;
pub use fingerprint::CertificateFingerprint;
pub use location::{AwsLocation, AwsProxy};
pub use urls::PbxUrls;

pub const ENV_PREFIX: &str = "EASYCONNECT_AGENT__";
/// Where the service manager has put the files that only this service may read (systemd's `LoadCredential=`).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Where systemd has put them for the packaged services while they run. Only they and root can look there.
const CREDENTIALS_OF_SERVICES: &str = "/run/credentials";
/// The configuration of the packaged service lies here, those of its instances in folders below.
const PACKAGED_CONFIGURATION: &str = "/etc/easyconnect-agent";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub agent: AgentConfig,
    pub pbx: PbxConfig,
    pub aws: AwsConfig,
    #[serde(default)]
    pub log: LogConfig,
    #[serde(default)]
    pub health: HealthConfig,
    #[serde(skip)]
    outdated_credentials: Vec<&'static str>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// How this agent is called among several on one PBX. As the machine, if nothing else is said.
    #[serde(default = "host_name")]
    pub name: String,
    /// Where the agent keeps what must survive a restart.
    pub state_dir: PathBuf,
    /// How much of it may be events that the cloud has not taken yet, in MiB. Beyond that, the oldest `ringing` goes first.
    #[serde(default)]
    pub outbox_mib: Mebibytes,
}

/// The kernel knows it, also where a service sees little of `/proc`.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A number, which a variable gives as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Mebibytes(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl Mebibytes {
    pub fn bytes(self) -> u64 {
        self.0 << 20
    }
}

impl Default for Mebibytes {
    fn default() -> Self {
        Self(1024)
    }
}

impl TryFrom<NumberOrText> for Mebibytes {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        let number = match value {
            NumberOrText::Number(number) => Some(number),
            NumberOrText::Text(text) => text.parse().ok(),
        };
        let number = number.filter(|number| (1..=1 << 20).contains(number));
        number.map(Self).ok_or_else(|| "is a whole number of MiB between 1 and 1048576".to_owned())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PbxConfig {
    /// `wss://pbx.example.com/PBX0/APPS/websocket`, or a list: the PBX and its standby.
    pub url: PbxUrls,
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
    pub fingerprint: Option<CertificateFingerprint>,
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

    pub fn includes(&self, long_name: &str) -> bool {
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

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub level: String,
    pub format: LogFormat,
}

impl Default for LogConfig {
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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    pub listen: HealthListen,
}

/// Where the agent tells how it is doing; nowhere, if it is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HealthListen(pub Option<SocketAddr>);

impl Default for HealthListen {
    fn default() -> Self {
        Self(Some(SocketAddr::from(([127, 0, 0, 1], 9870))))
    }
}

impl TryFrom<String> for HealthListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self(Some(address))),
            Ok(address) => Err(format!(
                "{address} could be reached from other machines, which nobody guards; use 127.0.0.1:{}",
                address.port()
            )),
            Err(_) => Err(format!("`{text}` is neither an address of this machine such as 127.0.0.1:9870 nor `off`")),
        }
    }
}

impl Config {
    /// Reads the file and the process's variables. Changes nothing.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::load_with(file, None)
    }

    /// The same for root, who looks at a service that somebody else runs. A secret that lies encrypted on the disk is readable
    /// only where the running service has it.
    pub fn load_for_check(file: &Path) -> Result<Self, ConfigError> {
        Self::load_with(file, Some(&credentials_of_service(file)))
    }

    fn load_with(file: &Path, of_service: Option<&Path>) -> Result<Self, ConfigError> {
        let mut config = Self::read(&text_of(file)?, file, std::env::vars())?;
        let own = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
        config.locate(own.as_deref(), file.parent().unwrap_or(Path::new("")), of_service);
        config.check()?;
        Ok(config)
    }

    /// A relative path means a credential of this process or, where there is none of that name, a file beside the configuration.
    /// A credential of the service comes last, because it is as old as the service's start.
    fn locate(&mut self, own: Option<&Path>, beside: &Path, of_service: Option<&Path>) {
        let edited = |file: &PathBuf| std::path::absolute(beside.join(file)).unwrap_or_else(|_| beside.join(file));
        self.aws.edited_credentials_file = self.aws.credentials_file.as_ref().map(edited);
        let AwsConfig { credentials_file, proxy_password_file, .. } = &mut self.aws;
        let files = [
            ("pbx.password_file", &mut self.pbx.password_file),
            ("pbx.ca_file", &mut self.pbx.ca_file),
            ("aws.credentials_file", credentials_file),
            ("aws.proxy_password_file", proxy_password_file),
        ];
        for (key, file) in files.into_iter().filter_map(|(key, file)| Some((key, file.as_mut()?))) {
            if file.is_absolute() {
                continue;
            }
            let handed_over = own.and_then(|own| modified(&own.join(&*file)));
            if handed_over.zip(modified(&beside.join(&*file))).is_some_and(|(then, now)| then < now) {
                self.outdated_credentials.push(key);
            }
            let places = [own, Some(beside), of_service].into_iter().flatten();
            let found = places.map(|folder| folder.join(&*file)).find(|path| path.is_file());
            *file = found.unwrap_or_else(|| beside.join(&*file));
        }
    }

    /// The files of which the service has a credential that is older than the file beside the configuration. systemd hands
    /// credentials over when a service starts, and never again unless it is told to.
    pub fn outdated_credentials(&self) -> &[&'static str] {
        &self.outdated_credentials
    }

    /// Where a running agent with this configuration keeps its socket. The rest, of which a part may come from variables
    /// that only the service has, is not needed for it.
    pub fn state_dir(file: &Path) -> Result<PathBuf, ConfigError> {
        let variable = std::env::var_os(format!("{ENV_PREFIX}AGENT__STATE_DIR"));
        if let Some(folder) = variable {
            return Ok(folder.into());
        }
        let table = parse(&text_of(file)?, file)?;
        let folder = table.get("agent").and_then(|agent| agent.get("state_dir")).and_then(Value::as_str);
        folder
            .map(PathBuf::from)
            .ok_or_else(|| ConfigError::Unreadable(format!("`{}` lacks `agent.state_dir`", file.display())))
    }

    /// Makes the folder for what must survive a restart.
    pub fn create_state_dir(&self) -> Result<(), ConfigError> {
        let folder = &self.agent.state_dir;
        std::fs::create_dir_all(folder).map_err(|error| ConfigError::Invalid {
            key: "agent.state_dir",
            reason: format!("cannot create {}: {error}", folder.display()),
        })
    }

    fn read(text: &str, file: &Path, vars: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut table = parse(text, file)?;
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
        if !self.pbx.url.are_valid() {
            return invalid("pbx.url", "is of the form wss://HOST/PBX0/APPS/websocket, or a list of such");
        }
        if self.pbx.app.is_empty() {
            return invalid("pbx.app", "is the Name of the App object and cannot be empty");
        }
        if self.pbx.ca_file.is_some() && self.pbx.fingerprint.is_some() {
            return invalid("pbx.fingerprint", "cannot be combined with pbx.ca_file; choose one way to trust the PBX");
        }
        if self.pbx.url.iter().any(|url| url.scheme() == "ws")
            && (self.pbx.ca_file.is_some() || self.pbx.fingerprint.is_some())
        {
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
        for (key, value, output) in [
            ("aws.events_queue_url", &self.aws.events_queue_url, "EventsQueueUrl"),
            ("aws.exchange_table", &self.aws.exchange_table, "ExchangeTable"),
        ] {
            if value.is_empty() {
                return invalid(key, &format!("is empty; it is the stack's output {output}"));
            }
        }
        self.aws.check_queues()?;
        self.aws.location()?;
        self.pbx.password().map(drop)
    }
}

impl PbxConfig {
    /// The App object's password, from the configuration or from its file.
    pub fn password(&self) -> Result<Secret, ConfigError> {
        let invalid = |key, reason: String| Err(ConfigError::Invalid { key, reason });
        match (&self.password, &self.password_file) {
            (Some(password), None) if !password.expose().is_empty() => Ok(password.clone()),
            (None, Some(file)) => secret_of(file, "pbx.password_file"),
            (Some(_), Some(_)) => invalid("pbx.password", "cannot be combined with pbx.password_file".to_owned()),
            _ => invalid("pbx.password", "is missing; give it here or as pbx.password_file".to_owned()),
        }
    }
}

/// The credentials of the service that has this configuration: of the instance whose folder it lies in, else of the only one.
fn credentials_of_service(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().and_then(|folder| folder.strip_prefix(PACKAGED_CONFIGURATION).ok());
    let instance = folder.and_then(Path::to_str).filter(|name| !name.is_empty() && !name.contains('/'));
    let unit = match instance {
        Some(name) => format!("easyconnect-agent@{name}.service"),
        None => "easyconnect-agent.service".to_owned(),
    };
    Path::new(CREDENTIALS_OF_SERVICES).join(unit)
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|file| file.modified()).ok()
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file)
        .map_err(|error| ConfigError::Unreadable(format!("cannot read `{}`: {error}", file.display())))
}

fn parse(text: &str, file: &Path) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        // The library quotes the line, in which a secret may stand.
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        ConfigError::Unreadable(format!("`{}`, line {line}: {}", file.display(), error.message()))
    })
}

/// A variable is a text, whatever it looks like; only a list is written as in the file.
fn variable(value: &str) -> Value {
    let list = || format!("list = {value}").parse::<Table>().ok()?.remove("list").filter(Value::is_array);
    list().unwrap_or_else(|| Value::String(value.to_owned()))
}
