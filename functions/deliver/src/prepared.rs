//! A delivery as the request it becomes: address, content and signature. What is not prepared cannot be sent.

use jiff::Timestamp;
use shared::delivery::Delivery;
use shared::event::WebHookEvent;
use shared::ids::DeliveryId;
use shared::subscription::{Method, Subscription};
use standardwebhooks::Webhook;
use url::{Url, form_urlencoded};

use crate::boundary::Boundary;
use crate::failure::Failure;

#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) url: Url,
    pub(crate) content: Content,
    pub(crate) id: DeliveryId,
    /// Unix seconds; receivers refuse what was signed too long ago.
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The body of a POST.
    Json(String),
    /// The event is in the URL of a GET.
    Query,
}

impl Prepared {
    pub(crate) fn new(
        delivery: &Delivery,
        subscription: &Subscription,
        boundary: &Boundary,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let mut url: Url = subscription.url.parse().map_err(|_| Failure::Url)?;
        boundary.check(&url)?;
        let webhook = Webhook::new(subscription.secret.expose()).map_err(|_| Failure::Secret)?;
        let event = &delivery.event.web_hook_event;
        let (signed, content) = match subscription.method {
            Method::Post => {
                let body = serde_json::to_string(event).expect("the event has only text keys");
                (body.clone(), Content::Json(body))
            }
            Method::Get => {
                let appended = query(event);
                url.set_query(Some(&match url.query() {
                    None | Some("") => appended.clone(),
                    Some(own) => format!("{own}&{appended}"),
                }));
                (appended, Content::Query)
            }
        };
        let (id, timestamp) = (delivery.id(), now.as_second());
        let signature = webhook.sign(&id.to_string(), timestamp, signed.as_bytes()).map_err(|_| Failure::Secret)?;
        Ok(Self { url, content, id, timestamp, signature })
    }
}

/// The event as a query string. A space is `%20`, which every receiver reads as one; `+` is not read so by all.
fn query(event: &WebHookEvent) -> String {
    let mut query = String::new();
    for (name, value) in event.query_pairs() {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.extend(
            form_urlencoded::byte_serialize(value.as_bytes()).map(|part| if part == "+" { "%20" } else { part }),
        );
    }
    query
}

#[cfg(test)]
mod tests {
    use shared::event::{ConferenceEvent, ConferenceEventKind};
    use shared::subscription::Secret;
    use shared::time::PublishedTime;

    use super::*;
    use crate::sample;

    fn prepare(subscription: &Subscription) -> Result<Prepared, Failure> {
        Prepared::new(&sample::delivery(), subscription, &Boundary::default(), sample::now())
    }

    #[test]
    fn a_post_carries_the_published_object() {
        let prepared =
            prepare(&sample::subscription("https://example.com/hook?tenant=7", Method::Post)).expect("ready");
        assert_eq!(prepared.url.as_str(), "https://example.com/hook?tenant=7");
        let expected = concat!(
            r#"{"CallId":"1ea84350-ef40-49c4-a3cd-b1d59c821b47","conferenceEvents":[],"#,
            r#""conferenceId":"577193ccf44465016826009033600110","connected":false,"conversationTime":-1,"endTime":null,"#,
            r#""from":"00472591687","fromName":"","monitoredExtension":"42","monitioredUser":"Thomas De Wilde","#,
            r#""monitoredUser":"Thomas De Wilde","outgoing":false,"pickupTime":null,"#,
            r#""startTime":"2022-09-16 11:57:43 (UTC)","status":"ringing","to":"42","toName":"Thomas De Wilde","#,
            r#""totalTime":-1}"#
        );
        assert_eq!(prepared.content, Content::Json(expected.to_owned()));
    }

    const APPENDED: &str = concat!(
        "CallId=1ea84350-ef40-49c4-a3cd-b1d59c821b47&conferenceEvents=%5B%5D",
        "&conferenceId=577193ccf44465016826009033600110&connected=no&conversationTime=-1&endTime=",
        "&from=00472591687&fromName=&monitoredExtension=42&monitioredUser=Thomas%20De%20Wilde",
        "&monitoredUser=Thomas%20De%20Wilde&outgoing=no&pickupTime=",
        "&startTime=2022-09-16%2011%3A57%3A43%20%28UTC%29&status=ringing&to=42&toName=Thomas%20De%20Wilde&totalTime=-1",
    );

    #[test]
    fn a_get_appends_the_same_names_to_the_url_s_own_query() {
        let url = |own: &str| prepare(&sample::subscription(own, Method::Get)).expect("ready").url.to_string();
        assert_eq!(url("https://example.com/hook"), format!("https://example.com/hook?{APPENDED}"));
        assert_eq!(url("https://example.com/hook?"), format!("https://example.com/hook?{APPENDED}"));
        assert_eq!(
            url("https://example.com/hook?sig=a%2Fb%3D%3D&sv=1+1&from=me#part"),
            format!("https://example.com/hook?sig=a%2Fb%3D%3D&sv=1+1&from=me&{APPENDED}#part")
        );
    }

    #[test]
    fn a_query_survives_every_character() {
        let mut event = sample::delivery().event.web_hook_event;
        event.from = "+32 472&to=1".to_owned();
        event.from_name = "Zoë \"50 %\" #1 'ü' 名前".to_owned();
        event.connected = true;
        event.conference_events = vec![ConferenceEvent {
            kind: ConferenceEventKind::Held,
            time: PublishedTime(sample::now()),
            from: Some("42".to_owned()),
            from_name: None,
            to: None,
            to_name: None,
            cause: None,
        }];
        let text = query(&event);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*%&=".contains(&byte)), "{text}");
        let read: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let written: Vec<(String, String)> =
            event.query_pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(read, written);
        assert!(text.contains("connected=yes"));
        // What is signed is what is sent, byte by byte.
        let mut url: Url = "https://example.com/".parse().expect("a URL");
        url.set_query(Some(&text));
        assert_eq!(url.query(), Some(text.as_str()));
    }

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The vector that the reference libraries test themselves with.
        let webhook = Webhook::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        assert_eq!(
            webhook.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body).expect("a signature"),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );

        let post = prepare(&sample::subscription("https://example.com/?a=b", Method::Post)).expect("ready");
        let Content::Json(body) = &post.content else { panic!("a POST has a body") };
        let id = sample::delivery().id().to_string();
        assert_eq!((post.id.to_string(), post.timestamp), (id.clone(), sample::now().as_second()));
        assert_eq!(post.signature, webhook.sign(&id, post.timestamp, body.as_bytes()).expect("a signature"));

        let get = prepare(&sample::subscription("https://example.com/?a=b", Method::Get)).expect("ready");
        assert_eq!(get.signature, webhook.sign(&id, get.timestamp, APPENDED.as_bytes()).expect("a signature"));
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let refused = |subscription: &Subscription| prepare(subscription).expect_err("refused");
        assert_eq!(refused(&sample::subscription("example.com", Method::Post)), Failure::Url);
        assert_eq!(refused(&sample::subscription("http://example.com", Method::Post)), Failure::Scheme);
        assert_eq!(refused(&sample::subscription("https://10.0.0.1", Method::Post)), Failure::Forbidden);
        let mut subscription = sample::subscription("https://example.com", Method::Post);
        subscription.secret = Secret::new("whsec_%");
        assert_eq!(refused(&subscription), Failure::Secret);
    }
}
