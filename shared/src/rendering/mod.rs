//! What a receiver is told: the address and content of the request that a delivery becomes. `deliver` signs and sends it, and the
//! API shows it to the webhook's owner.

pub mod query;

use jiff::Timestamp;
use url::Url;

use self::query::Pair;
use crate::delivery::{Delivery, Payload, Trial};
use crate::event::{CallEvent, ConferenceEvent, ExtendedEvent, WebHookEvent};
use crate::notice::NoticeBody;
use crate::time::{from_millis, iso_millis};
use crate::webhook::{Format, Method, Settings};

/// Why no request can be made of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrenderable {
    #[error("the webhook's URL cannot be read")]
    Url,
    #[error("the webhook's URL leaves no room for the event in a request line of 4 KB")]
    TooLong,
}

/// The request of a delivery, but for its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub url: Url,
    /// The body of a POST; a GET has the event in its URL.
    pub body: Option<String>,
    /// The query string that was appended for a GET.
    pub appended: Option<String>,
}

impl Rendered {
    /// Renders what is sent at this moment.
    pub fn new(delivery: &Delivery, settings: &Settings, at: Timestamp) -> Result<Self, Unrenderable> {
        let mut url: Url = settings.url.parse().map_err(|_| Unrenderable::Url)?;
        let masked = match &delivery.payload {
            Payload::Call(event) if settings.mask_numbers => Some(event.masked()),
            _ => None,
        };
        let told = Told::new(delivery, masked.as_ref(), settings.format, at);
        Ok(match settings.method {
            Method::Post => Self { url, body: Some(told.json()), appended: None },
            Method::Get => {
                let appended = query::append(&mut url, told.query_pairs(), told.conference_events());
                Self { url, body: None, appended: Some(appended.ok_or(Unrenderable::TooLong)?) }
            }
        })
    }

    /// What is signed: the body, or what was appended to the URL.
    pub fn signed(&self) -> &str {
        self.body.as_ref().or(self.appended.as_ref()).map_or("", String::as_str)
    }
}

/// What a payload is told with.
enum Told<'a> {
    Published(&'a WebHookEvent),
    Extended(Box<ExtendedEvent<'a>>),
    Notice(NoticeBody<'a>),
}

impl<'a> Told<'a> {
    /// `masked` is told in place of the delivery's own event.
    fn new(delivery: &'a Delivery, masked: Option<&'a CallEvent>, format: Format, now: Timestamp) -> Self {
        let event = match &delivery.payload {
            Payload::Call(event) => masked.unwrap_or(event),
            Payload::Notice(notice) => return Self::Notice(notice.body()),
        };
        // An update has no other form: the published object has no place for what it says.
        if format == Format::Easyconnect && event.update.is_none() {
            return Self::Published(&event.web_hook_event);
        }
        Self::Extended(Box::new(ExtendedEvent {
            test: delivery.trial == Some(Trial::Test),
            queued_at: delivery.queued_at.map(from_millis).map(iso_millis),
            fanned_out_at: delivery.fanned_out_at.map(from_millis).map(iso_millis),
            sent_at: Some(iso_millis(now)),
            ..ExtendedEvent::from(event)
        }))
    }

    fn json(&self) -> String {
        let text = match self {
            Self::Published(event) => serde_json::to_string(event),
            Self::Extended(event) => serde_json::to_string(event),
            Self::Notice(notice) => serde_json::to_string(notice),
        };
        text.expect("there are only text keys")
    }

    fn conference_events(&self) -> &[ConferenceEvent] {
        match self {
            Self::Published(event) => &event.conference_events,
            Self::Extended(event) => &event.web_hook_event.conference_events,
            Self::Notice(_) => &[],
        }
    }

    fn query_pairs(&self) -> Vec<Pair> {
        match self {
            Self::Published(event) => event.query_pairs(),
            Self::Extended(event) => event.query_pairs(),
            Self::Notice(notice) => notice.query_pairs(),
        }
    }
}
