//! What a webhook can be told besides calls: for people who have no other way to notice that something does not work.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{EventId, WebhookId};
use crate::time::iso_millis;
use crate::webhook::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    pub id: EventId,
    pub kind: Kind,
    pub occurred_at: Timestamp,
    /// What happened, for a person.
    pub message: String,
    /// The webhook that it is about, if it is about one.
    #[serde(default, rename = "subscriptionId")]
    pub webhook_id: Option<WebhookId>,
}

/// A notice as a receiver gets it: flat, every property always present.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeBody<'a> {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub notice_id: EventId,
    pub occurred_at: String,
    pub message: &'a str,
    #[serde(rename = "subscriptionId")]
    pub webhook_id: Option<WebhookId>,
}

impl Notice {
    /// The same thing that happened at the same moment is the same notice, whoever saw it.
    pub fn new(kind: Kind, at: Timestamp, message: String, webhook_id: Option<WebhookId>) -> Self {
        let subject = webhook_id.map(|id| id.to_string()).unwrap_or_default();
        let id = EventId::of_notice(kind.as_str(), &subject, &iso_millis(at));
        Self { id, kind, occurred_at: at, message, webhook_id }
    }

    /// The same of one of several PBXs.
    pub fn of_pbx(kind: Kind, at: Timestamp, message: String, pbx: &str) -> Self {
        let id = EventId::of_notice(kind.as_str(), pbx, &iso_millis(at));
        Self { id, kind, occurred_at: at, message, webhook_id: None }
    }

    pub fn body(&self) -> NoticeBody<'_> {
        NoticeBody {
            kind: self.kind,
            notice_id: self.id,
            occurred_at: iso_millis(self.occurred_at),
            message: &self.message,
            webhook_id: self.webhook_id,
        }
    }
}

impl NoticeBody<'_> {
    /// In the form that a GET webhook appends to its query string.
    pub fn query_pairs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("type", self.kind.as_str().to_owned()),
            ("noticeId", self.notice_id.to_string()),
            ("occurredAt", self.occurred_at.clone()),
            ("message", self.message.to_owned()),
            ("subscriptionId", self.webhook_id.map(|id| id.to_string()).unwrap_or_default()),
        ]
    }
}
