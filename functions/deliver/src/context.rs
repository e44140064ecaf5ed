//! What an environment builds once: the clients and the rules.

use std::sync::Arc;

use shared::aws;
use shared::clock::CloudClock;
use shared::config::{ConfigError, Vars};
use shared::queue::Queue;
use shared::tables::StateTable;

use crate::boundary::Boundary;
use crate::client::{Limits, Webhooks};
use crate::verdict::Freshness;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) state: StateTable,
    pub(crate) deliveries: Queue,
    pub(crate) deliveries_dlq: Queue,
    pub(crate) webhooks: Webhooks,
    pub(crate) boundary: Arc<Boundary>,
    pub(crate) limits: Limits,
    pub(crate) freshness: Freshness,
}

impl Context {
    pub(crate) fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        let table = vars.required("STATE_TABLE")?;
        let deliveries = vars.required("DELIVERIES_QUEUE_URL")?;
        let deliveries_dlq = vars.required("DELIVERIES_DLQ_URL")?;
        let boundary = Arc::new(Boundary {
            allowed: vars.list("WEBHOOK_ALLOWED_CIDRS")?,
            http: vars.parsed("WEBHOOK_ALLOW_HTTP", false)?,
        });
        let freshness = Freshness::from_vars(vars)?;
        let limits = Limits::default();
        let config = aws::function_config(vars);
        let clock = CloudClock::new();
        let sqs = aws::sqs(&config, &clock);
        Ok(Self {
            state: StateTable::new(aws::dynamodb(&config, &clock), table),
            deliveries: Queue::new(sqs.clone(), deliveries),
            deliveries_dlq: Queue::new(sqs, deliveries_dlq),
            webhooks: Webhooks::new(&boundary, limits),
            boundary,
            limits,
            freshness,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn variables_become_rules() {
        let mut vars = HashMap::from([
            ("STATE_TABLE", "state"),
            ("DELIVERIES_QUEUE_URL", "http://queue"),
            ("DELIVERIES_DLQ_URL", "http://dlq"),
            ("WEBHOOK_ALLOWED_CIDRS", "127.0.0.1/32, fd00::/8"),
            ("WEBHOOK_ALLOW_HTTP", "true"),
        ]);
        let context = Context::from_vars(&vars).expect("a context");
        assert!(context.boundary.http);
        assert_eq!(context.boundary.allowed.len(), 2);

        vars.insert("WEBHOOK_ALLOWED_CIDRS", "10.0.0.0/33");
        let error = Context::from_vars(&vars).expect_err("no range");
        assert!(error.to_string().starts_with("variable `WEBHOOK_ALLOWED_CIDRS` is `10.0.0.0/33`"), "{error}");
    }
}
