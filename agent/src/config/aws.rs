//! The table `aws` of the configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::tables::SLOTS;
use shared::webhook::Secret;
use url::Url;

use super::error::{ConfigError, secret_of};
use super::location::{AwsLocation, AwsProxy};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    #[serde(default)]
    pub region: Option<String>,
    /// Another endpoint than AWS itself, for a local stack.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// A shared credentials file, instead of `~/.aws/credentials`.
    #[serde(default)]
    pub(super) credentials_file: Option<PathBuf>,
    /// The file that an administrator edits. The service may read a copy that the service manager has made.
    #[serde(skip)]
    pub(super) edited_credentials_file: Option<PathBuf>,
    /// `http://proxy.example.com:3128`, for what goes to AWS; the PBX is always dialled directly.
    #[serde(default)]
    proxy: Option<Secret>,
    /// The password of the user in the proxy's URL.
    #[serde(default)]
    pub(super) proxy_password_file: Option<PathBuf>,
    pub events_queue_url: String,
    /// The queue of the first slot, for the agents of the only PBX of a stack.
    #[serde(default)]
    pub commands_queue_url: Option<String>,
    /// The queues of all slots, in their order.
    #[serde(default)]
    pub commands_queue_urls: Vec<String>,
    pub exchange_table: String,
}

impl AwsConfig {
    /// The commands queues by slot, from the first one on.
    pub fn commands_queues(&self) -> &[String] {
        match &self.commands_queue_url {
            Some(_) => self.commands_queue_url.as_slice(),
            None => &self.commands_queue_urls,
        }
    }

    /// The key that names them.
    pub fn commands_queues_key(&self) -> &'static str {
        if self.commands_queue_url.is_some() { "aws.commands_queue_url" } else { "aws.commands_queue_urls" }
    }

    pub(super) fn check_queues(&self) -> Result<(), ConfigError> {
        let invalid = |key, reason: &str| Err(ConfigError::Invalid { key, reason: reason.to_owned() });
        let urls = &self.commands_queue_urls;
        match &self.commands_queue_url {
            Some(_) if !urls.is_empty() => invalid(
                "aws.commands_queue_url",
                "cannot be combined with aws.commands_queue_urls, which has its queue, too",
            ),
            Some(url) if url.is_empty() => {
                invalid("aws.commands_queue_url", "is empty; it is the stack's output CommandsQueueUrl")
            }
            Some(_) => Ok(()),
            None if (1..=SLOTS).contains(&urls.len()) && urls.iter().all(|url| !url.is_empty()) => Ok(()),
            None => invalid("aws.commands_queue_urls", "is the list in the stack's output CommandsQueueUrls"),
        }
    }

    /// The full path of the file in which an administrator keeps the credentials, if there is one.
    pub fn credentials_file_to_edit(&self) -> Option<&Path> {
        self.edited_credentials_file.as_deref().or(self.credentials_file.as_deref())
    }

    /// The URL of the proxy with the password out of its file, as programs take it.
    pub fn proxy_url(&self) -> Result<Option<Secret>, ConfigError> {
        let invalid = |key, reason: &str| Err(ConfigError::Invalid { key, reason: reason.to_owned() });
        let Some(given) = &self.proxy else {
            return match self.proxy_password_file {
                Some(_) => invalid("aws.proxy_password_file", "is of no use without aws.proxy"),
                None => Ok(None),
            };
        };
        let Ok(mut url) = Url::parse(given.expose()) else {
            return invalid("aws.proxy", "is of the form http://HOST:PORT or http://USER@HOST:PORT");
        };
        if url.password().is_some() {
            return invalid("aws.proxy", "has a password, which belongs into the file of aws.proxy_password_file");
        }
        let Some(file) = &self.proxy_password_file else { return Ok(Some(given.clone())) };
        if url.username().is_empty() {
            return invalid("aws.proxy", "lacks the user of aws.proxy_password_file: http://USER@HOST:PORT");
        }
        // `set_password` takes a percent sign for the beginning of a code.
        let password = secret_of(file, "aws.proxy_password_file")?.expose().replace('%', "%25");
        match url.set_password(Some(&password)) {
            Ok(()) => Ok(Some(Secret::new(url))),
            Err(()) => invalid("aws.proxy", "is of the form http://USER@HOST:PORT"),
        }
    }

    /// Where AWS is for the agent.
    pub fn location(&self) -> Result<AwsLocation, ConfigError> {
        let invalid = |key, reason: String| ConfigError::Invalid { key, reason };
        if let Some(file) = &self.credentials_file {
            let unreadable =
                |error| invalid("aws.credentials_file", format!("cannot read `{}`: {error}", file.display()));
            std::fs::File::open(file).map_err(unreadable)?;
        }
        let proxy = self.proxy_url()?.map(|url| AwsProxy::new(url.expose())).transpose();
        Ok(AwsLocation {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            credentials_file: self.credentials_file.clone(),
            proxy: proxy.map_err(|error| invalid("aws.proxy", format!("is of the form http://HOST:PORT ({error})")))?,
        })
    }
}
