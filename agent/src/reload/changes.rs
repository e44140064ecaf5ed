//! What another reading of the configuration changes in a running agent.
//!
//! What the PBX session depends on takes a new session. What is named in the identities of calls, or owned by a part that is built
//! once, takes a restart: queues, table, state folder, names. Everything else changes at once.

use shared::webhook::Secret;

use crate::config::{Config, ConfigError};

/// A configuration, with what its files held when it was read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) config: Config,
    password: Secret,
    authorities: Option<Vec<u8>>,
    proxy: Option<Secret>,
}

impl Reading {
    pub(super) fn of(config: Config) -> Result<Self, ConfigError> {
        let unreadable =
            |error| ConfigError::Invalid { key: "pbx.ca_file", reason: format!("cannot be read: {error}") };
        Ok(Self {
            password: config.pbx.password()?,
            authorities: config.pbx.ca_file.as_ref().map(std::fs::read).transpose().map_err(unreadable)?,
            proxy: config.aws.proxy_url()?,
            config,
        })
    }

    /// The keys that differ and take a new PBX session.
    pub(super) fn renewing(&self, new: &Self) -> Vec<&'static str> {
        let (old, now) = (&self.config.pbx, &new.config.pbx);
        differing([
            ("pbx.url", old.url.iter().ne(now.url.iter())),
            ("pbx.app", old.app != now.app),
            ("pbx.password", self.password != new.password),
            ("pbx.monitor", old.monitor != now.monitor),
            ("pbx.ca_file", self.authorities != new.authorities),
            ("pbx.fingerprint", old.fingerprint != now.fingerprint),
        ])
    }

    /// The keys that differ and take a restart.
    pub(super) fn restarting(&self, new: &Self) -> Vec<&'static str> {
        let (old, now) = (&self.config, &new.config);
        differing([
            ("agent.name", old.agent.name != now.agent.name),
            ("agent.state_dir", old.agent.state_dir != now.agent.state_dir),
            ("agent.outbox_mib", old.agent.outbox_mib != now.agent.outbox_mib),
            ("pbx.id", old.pbx.id != now.pbx.id),
            ("aws.region", old.aws.region != now.aws.region),
            ("aws.endpoint_url", old.aws.endpoint_url != now.aws.endpoint_url),
            ("aws.proxy", self.proxy != new.proxy),
            ("aws.events_queue_url", old.aws.events_queue_url != now.aws.events_queue_url),
            ("aws.commands_queue_url", old.aws.commands_queue_url != now.aws.commands_queue_url),
            ("aws.commands_queue_urls", old.aws.commands_queue_urls != now.aws.commands_queue_urls),
            ("aws.exchange_table", old.aws.exchange_table != now.aws.exchange_table),
            ("log.format", old.log.format != now.log.format),
            ("health.listen", old.health.listen != now.health.listen),
        ])
    }

    /// What runs once the new reading is used: all of it but what takes a restart.
    pub(super) fn with(&self, new: Self) -> Self {
        let (old, mut config) = (&self.config, new.config);
        config.agent = old.agent.clone();
        config.pbx.id.clone_from(&old.pbx.id);
        config.aws = old.aws.clone();
        config.log.format = old.log.format;
        config.health = old.health.clone();
        Self { config, proxy: self.proxy.clone(), ..new }
    }
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reading(change: Option<(&str, &str, Value)>) -> Reading {
        let mut config = json!({
            "agent": {"name": "rack", "state_dir": "/tmp"},
            "pbx": {"url": "wss://pbx.test/PBX0/APPS/websocket", "app": "easyconnect", "password": "hush-hush"},
            "aws": {"events_queue_url": "e", "commands_queue_url": "c", "exchange_table": "t"},
            "log": {},
            "health": {},
        });
        if let Some((table, key, value)) = change {
            config[table][key] = value;
        }
        Reading::of(serde_json::from_value(config).expect("a configuration")).expect("readable files")
    }

    /// The example of the configuration has every key, which a test of `config` sees to.
    #[test]
    fn every_key_is_known_here() {
        let folder = std::env::temp_dir().join(format!("easyconnect-changes-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("secret");
        std::fs::write(&file, "another").expect("a file");
        let (renewing, restarting) = (
            ["pbx.url", "pbx.app", "pbx.password", "pbx.monitor", "pbx.ca_file", "pbx.fingerprint"],
            [
                "agent.name",
                "agent.state_dir",
                "agent.outbox_mib",
                "pbx.id",
                "aws.region",
                "aws.endpoint_url",
                "aws.proxy",
                "aws.events_queue_url",
                "aws.commands_queue_url",
                "aws.commands_queue_urls",
                "aws.exchange_table",
                "log.format",
                "health.listen",
            ],
        );
        // A file counts with the key of what is in it; credentials are always taken anew.
        let at_once =
            ["pbx.dtmf_recv", "log.level", "pbx.password_file", "aws.credentials_file", "aws.proxy_password_file"];
        let mut table = "";
        let mut known = 0;
        for line in include_str!("../../packaging/agent.toml").lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = name;
            }
            let mut words = line.trim_start_matches("# ").split(' ');
            let (Some(key), Some("=")) = (words.next(), words.next()) else { continue };
            let full = format!("{table}.{key}");
            let value = match key {
                "url" => json!("wss://other.test/PBX0/APPS/websocket"),
                "outbox_mib" => json!(7),
                "monitor" => json!("app"),
                "fingerprint" => json!("11".repeat(32)),
                "ca_file" => json!(file),
                "proxy" => json!("http://proxy.test:3128"),
                "dtmf_recv" => json!("peer"),
                "format" => json!("json"),
                "listen" => json!("off"),
                "commands_queue_urls" => json!(["another"]),
                _ if at_once.contains(&full.as_str()) => Value::Null,
                _ => json!("another"),
            };
            known += 1;
            if value.is_null() {
                continue;
            }
            let (old, new) = (reading(None), reading(Some((table, key, value))));
            let (renews, restarts) = (old.renewing(&new), old.restarting(&new));
            assert_eq!(renews, renewing.iter().copied().filter(|key| *key == full).collect::<Vec<_>>(), "{full}");
            assert_eq!(restarts, restarting.iter().copied().filter(|key| *key == full).collect::<Vec<_>>(), "{full}");
            assert!(renews.len() + restarts.len() == 1 || at_once.contains(&full.as_str()), "{full}");
            // What waits for a restart goes on being named, and what has been changed does not.
            let runs = old.with(new.clone());
            assert_eq!((runs.renewing(&new), runs.restarting(&new)), (vec![], restarts), "{full}");
        }
        assert_eq!(known, renewing.len() + restarting.len() + at_once.len());
        std::fs::remove_dir_all(&folder).expect("the folder is removed");
    }
}
