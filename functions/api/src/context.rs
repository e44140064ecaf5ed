//! What lives as long as the process: the clients, built once per cold start, and the cache of keys.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use shared::apikey::{ApiKey, KeyHash};
use shared::aws::{self, Platform};
use shared::clock::CloudClock;
use shared::config::{ConfigError, Vars};
use shared::destination::Rules;
use shared::queue::Queue;
use shared::random::Random;
use shared::tables::{Exchange, StateTable};

use crate::auth::Keys;
use crate::dialling::Policy;
use crate::errors::ApiError;
use crate::limits::Requests;

/// Webhooks of a stack, unless the operator says otherwise.
const MOST_WEBHOOKS: usize = 50;

/// Calls between the same two numbers in ten minutes, unless the operator says otherwise.
const CALLS_PER_PAIR: u32 = 10;
/// Requests that may wait for events at once, unless the operator says otherwise.
const MOST_POLLS: u32 = 20;

/// The context, as the handlers of the routes ask for it.
pub(crate) type Ctx = State<Arc<Context>>;

#[derive(Debug)]
pub struct Context {
    pub(crate) clock: CloudClock,
    pub(crate) random: Random,
    pub(crate) keys: Keys,
    pub(crate) requests: Requests,
    pub(crate) policy: Policy,
    pub(crate) state: StateTable,
    pub(crate) exchange: Exchange,
    /// The commands queues by slot, from the first one on.
    pub(crate) doorbells: Vec<Queue>,
    pub(crate) deliveries: Queue,
    /// Calls of the workers of webhooks' own lanes.
    pub(crate) lanes: Queue,
    /// Whether webhooks may do without TLS.
    pub(crate) allow_http: bool,
    pub(crate) max_webhooks: usize,
    pub(crate) max_polls: u32,
    /// Base URL under which apps reach the API, when it is not the host that they asked.
    pub(crate) public_url: Option<String>,
    /// Origins that may show the console in a frame.
    pub(crate) console_frame_ancestors: Vec<String>,
    /// Web pages of these origins may call the API; `*` = all.
    pub(crate) cors_origins: Vec<String>,
    /// The dimension of the figures.
    pub(crate) stack: String,
}

impl Context {
    pub fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        Self::on(&Platform::default(), vars)
    }

    /// The same on another platform than Lambda.
    pub fn on(platform: &Platform, vars: &impl Vars) -> Result<Self, ConfigError> {
        let exchange_table = vars.required("EXCHANGE_TABLE")?;
        vars.required("COMMANDS_QUEUE_URLS")?;
        let commands_urls: Vec<String> = vars.list("COMMANDS_QUEUE_URLS")?;
        let deliveries_url = vars.required("DELIVERIES_QUEUE_URL")?;
        let lanes_url = vars.required("LANES_QUEUE_URL")?;
        let bootstrap = vars.list("ADMIN_KEY_HASHES")?;
        let policy = Policy {
            rules: Rules { allow: vars.list("DESTINATION_ALLOW")?, deny: vars.list("DESTINATION_DENY")? },
            // Zero is how the template says that there is no limit.
            calls_per_hour: Some(vars.parsed("CALLS_PER_HOUR", 0)?).filter(|limit| *limit > 0),
            calls_per_pair: Some(vars.parsed("CALLS_PER_PAIR", CALLS_PER_PAIR)?).filter(|limit| *limit > 0),
        };

        let config = aws::function_config(vars, platform);
        let clock = platform.clock();
        let tables = aws::dynamodb(&config, &clock);
        let sqs = aws::sqs(&config, &clock);
        let state = StateTable::from_vars(tables.clone(), vars)?;
        Ok(Self {
            clock,
            random: platform.random.clone(),
            keys: Keys::new(bootstrap, state.clone()),
            requests: Requests::default(),
            policy,
            state,
            exchange: Exchange::new(tables, exchange_table),
            doorbells: commands_urls.into_iter().map(|url| Queue::new(sqs.clone(), url)).collect(),
            deliveries: Queue::new(sqs.clone(), deliveries_url),
            lanes: Queue::new(sqs, lanes_url),
            allow_http: vars.parsed("WEBHOOK_ALLOW_HTTP", false)?,
            max_webhooks: vars.parsed("MAX_WEBHOOKS", MOST_WEBHOOKS)?,
            max_polls: vars.parsed("MAX_POLLS", MOST_POLLS)?,
            public_url: vars.get("PUBLIC_URL"),
            console_frame_ancestors: vars.list("CONSOLE_FRAME_ANCESTORS")?,
            cors_origins: vars.list("CORS_ALLOWED_ORIGINS")?,
            stack: vars.get("STACK_NAME").unwrap_or_default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The key of a request, if it is valid and has not asked for too much.
    pub(crate) async fn admit(&self, hash: &KeyHash) -> Result<ApiKey, ApiError> {
        self.admit_weighing(hash, 1).await
    }

    /// The same for a request that weighs as much as several.
    pub(crate) async fn admit_weighing(&self, hash: &KeyHash, weight: i64) -> Result<ApiKey, ApiError> {
        let key = self.keys.check(hash, self.now()).await?;
        self.requests.admit(&self.state, &key, weight, self.now()).await?;
        Ok(key)
    }
}
