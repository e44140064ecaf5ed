//! The audit trail of keys and webhooks: who made, changed and deleted them. What is dialled is written down by `dialling`.
//!
//! An entry is written before the change it is about, so that nothing changes without one; it may tell of a change that failed.

use jiff::Timestamp;
use shared::apikey::ApiKey;
use shared::tables::{AuditEntry, AuditKind};
use shared::webhook::Settings;
use url::Url;

use crate::context::Context;
use crate::errors::{ApiError, in_time};

/// What was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    Key { id: &'a str, name: &'a str },
    Webhook { id: &'a str, settings: &'a Settings },
}

/// Writes down what somebody is about to do. `fields` are the names of what the request gives or, of a webhook,
/// changes: who changes one has to give all of it.
pub(crate) async fn record(
    context: &Context,
    by: &ApiKey,
    operation: &str,
    subject: Subject<'_>,
    fields: Vec<String>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let (kind, id, name) = match subject {
        Subject::Key { id, name } => (AuditKind::Key, id, name.to_owned()),
        // The rest of the URL may hold a receiver's secret.
        Subject::Webhook { id, settings } => (AuditKind::Webhook, id, origin(&settings.url)),
    };
    let entry = AuditEntry {
        time: now.as_millisecond(),
        kind,
        key_id: by.id.clone(),
        key_name: by.name.clone(),
        operation: operation.to_owned(),
        subject: Some(id.to_owned()),
        subject_name: Some(name),
        fields,
        nonce: context.random.uuid().to_string(),
        ..AuditEntry::default()
    };
    in_time(context.state.audit(&entry)).await
}

fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}
