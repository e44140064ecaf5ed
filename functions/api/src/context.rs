//! What lives as long as the process: the clients, built once per cold start, and the cache of keys.

use shared::aws;
use shared::clock::CloudClock;
use shared::config::{ConfigError, Vars};
use shared::queue::Queue;
use shared::tables::{Exchange, StateTable};

use crate::auth::Keys;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) keys: Keys,
    pub(crate) exchange: Exchange,
    pub(crate) doorbell: Queue,
}

impl Context {
    pub(crate) fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        let exchange_table = vars.required("EXCHANGE_TABLE")?;
        let state_table = vars.required("STATE_TABLE")?;
        let queue_url = vars.required("COMMANDS_QUEUE_URL")?;
        let bootstrap = vars.list("ADMIN_KEY_HASHES")?;

        let config = aws::function_config(vars);
        let clock = CloudClock::new();
        let tables = aws::dynamodb(&config, &clock);
        Ok(Self {
            keys: Keys::new(bootstrap, StateTable::new(tables.clone(), state_table)),
            exchange: Exchange::new(tables, exchange_table),
            doorbell: Queue::new(aws::sqs(&config, &clock), queue_url),
        })
    }
}
