//! A delivery as the request it becomes: address, content and signature. What is not prepared cannot be sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use shared::delivery::{Delivery, Trial};
use shared::ids::DeliveryId;
use shared::rendering::Rendered;
use shared::webhook::{BasicAuth, Secret, Webhook};
use standardwebhooks::Webhook as Signer;
use tokio::time::Instant;
use url::Url;

use crate::boundary::Boundary;
use crate::failure::Failure;
use crate::receiver::{Content, Outcome, Request, Transport};

#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) url: Url,
    pub(crate) content: Content,
    pub(crate) id: DeliveryId,
    /// Unix seconds; receivers refuse what was signed too long ago.
    pub(crate) timestamp: i64,
    /// One signature for each valid secret.
    pub(crate) signatures: String,
    /// The receiver's own.
    pub(crate) headers: HeaderMap,
}

impl Prepared {
    pub(crate) fn new(
        delivery: &Delivery,
        webhook: &Webhook,
        boundary: &Boundary,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let settings = &webhook.settings;
        let url: Url = settings.url.parse().map_err(|_| Failure::Url)?;
        boundary.check(&url)?;
        let rendered = Rendered::new(delivery, settings, now)?;
        let (id, timestamp) = (delivery.id(), now.as_second());
        let sign = |secret: &Secret| {
            let signer = Signer::new(secret.expose()).ok()?;
            signer.sign(&id.to_string(), timestamp, rendered.signed().as_bytes()).ok()
        };
        let signatures: Option<Vec<String>> = webhook.secrets(now).map(sign).collect();
        let signatures = signatures.ok_or(Failure::Secret)?.join(" ");
        let mut headers = headers(webhook)?;
        if delivery.trial == Some(Trial::Test) {
            headers.insert("webhook-test", HeaderValue::from_static("true"));
        }
        let content = rendered.body.map_or(Content::Query, Content::Json);
        Ok(Self { url: rendered.url, content, id, timestamp, signatures, headers })
    }

    pub(crate) async fn send(self, transport: &dyn Transport, at: Timestamp) -> Outcome {
        let started = Instant::now();
        let headers = [
            ("webhook-id", self.id.to_string()),
            ("webhook-timestamp", self.timestamp.to_string()),
            ("webhook-signature", self.signatures),
        ];
        let own =
            headers.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), value.parse().ok()?)));
        let mut headers = self.headers;
        headers.extend(own.collect::<HeaderMap>());
        let result = transport.send(Request { url: self.url, headers, content: self.content }, at).await;
        Outcome { at, took: started.elapsed(), result }
    }
}

/// The receiver's own headers. They were checked when they were stored; what cannot be sent all the same is a failure, because
/// without its secret the receiver would refuse.
fn headers(webhook: &Webhook) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &webhook.settings.headers {
        let name: HeaderName = name.parse().map_err(|_| Failure::Header)?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| Failure::Header)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    if let Some(BasicAuth { username, password }) = &webhook.settings.basic_auth {
        let credentials = STANDARD.encode(format!("{username}:{}", password.expose()));
        let mut value = HeaderValue::from_str(&format!("Basic {credentials}")).map_err(|_| Failure::Header)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod request_line;
#[cfg(test)]
mod tests {
    use shared::event::CallEvent;
    use shared::webhook::{Format, Method, PreviousSecret};

    use super::*;
    use crate::sample;

    fn prepare(webhook: &Webhook) -> Result<Prepared, Failure> {
        Prepared::new(&sample::delivery(), webhook, &Boundary::default(), sample::now())
    }

    #[test]
    fn a_post_carries_the_published_object() {
        let prepared = prepare(&sample::webhook("https://example.com/hook?tenant=7", Method::Post)).expect("ready");
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
        let url = |own: &str| prepare(&sample::webhook(own, Method::Get)).expect("ready").url.to_string();
        assert_eq!(url("https://example.com/hook"), format!("https://example.com/hook?{APPENDED}"));
        assert_eq!(url("https://example.com/hook?"), format!("https://example.com/hook?{APPENDED}"));
        assert_eq!(
            url("https://example.com/hook?sig=a%2Fb%3D%3D&sv=1+1&from=me#part"),
            format!("https://example.com/hook?sig=a%2Fb%3D%3D&sv=1+1&from=me&{APPENDED}#part")
        );
    }

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The vector that the reference libraries test themselves with.
        let signer = Signer::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        assert_eq!(
            signer.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body).expect("a signature"),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );

        let post = prepare(&sample::webhook("https://example.com/?a=b", Method::Post)).expect("ready");
        let Content::Json(body) = &post.content else { panic!("a POST has a body") };
        let id = sample::delivery().id().to_string();
        assert_eq!((post.id.to_string(), post.timestamp), (id.clone(), sample::now().as_second()));
        assert_eq!(post.signatures, signer.sign(&id, post.timestamp, body.as_bytes()).expect("a signature"));

        let get = prepare(&sample::webhook("https://example.com/?a=b", Method::Get)).expect("ready");
        assert_eq!(get.signatures, signer.sign(&id, get.timestamp, APPENDED.as_bytes()).expect("a signature"));
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let mut webhook = sample::webhook("https://example.com", Method::Post);
        let alone = prepare(&webhook).expect("ready").signatures;
        let until = sample::now().as_second() + 1;
        let previous = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        webhook.previous_secrets = vec![PreviousSecret { secret: previous, until }];
        let both = prepare(&webhook).expect("ready").signatures;
        let (first, second) = both.split_once(' ').expect("two signatures");
        assert_eq!(first, alone);
        assert!(second.starts_with("v1,") && second != first);
    }

    #[test]
    fn the_receiver_s_own_headers_go_along() {
        let mut webhook = sample::webhook("https://example.com", Method::Post);
        webhook.settings.headers.insert("x-make-apikey".to_owned(), Secret::new("k1"));
        let password = Secret::new("open sesame");
        webhook.settings.basic_auth = Some(BasicAuth { username: "Aladdin".to_owned(), password });
        let headers = prepare(&webhook).expect("ready").headers;
        assert_eq!(headers["x-make-apikey"], "k1");
        assert_eq!(headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        webhook.settings.headers.insert("x-bad".to_owned(), Secret::new("a\r\nb: c"));
        assert_eq!(prepare(&webhook).expect_err("refused"), Failure::Header);
    }

    #[test]
    fn the_extended_format_has_more() {
        let mut webhook = sample::webhook("https://example.com", Method::Post);
        webhook.settings.format = Format::Extended;
        let Content::Json(body) = prepare(&webhook).expect("ready").content else { panic!("a POST has a body") };
        assert!(body.starts_with(r#"{"CallId":"#) && body.contains(r#""eventId":""#), "{body}");
        assert!(body.ends_with(r#""sentAt":"2022-09-16T11:57:44.000Z"}"#), "{body}");
    }

    #[test]
    fn an_update_has_the_extended_form_in_either_format() {
        let event = CallEvent::update_example(sample::call_id(), sample::now());
        let webhook = sample::webhook("https://example.com", Method::Post);
        let delivery = Delivery::of_call(event, webhook.id);
        let prepared = Prepared::new(&delivery, &webhook, &Boundary::default(), sample::now()).expect("ready");
        let Content::Json(body) = prepared.content else { panic!("a POST has a body") };
        assert!(
            body.contains(r#""change":"held","revision":1,"held":true,"heldByPeer":false,"parked":false"#),
            "{body}"
        );
        let get = sample::webhook("https://example.com", Method::Get);
        let prepared = Prepared::new(&delivery, &get, &Boundary::default(), sample::now()).expect("ready");
        assert!(prepared.url.query().is_some_and(|query| query.contains("&change=held&revision=1&held=yes")));
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let refused = |webhook: &Webhook| prepare(webhook).expect_err("refused");
        assert_eq!(refused(&sample::webhook("example.com", Method::Post)), Failure::Url);
        assert_eq!(refused(&sample::webhook("http://example.com", Method::Post)), Failure::Scheme);
        assert_eq!(refused(&sample::webhook("https://10.0.0.1", Method::Post)), Failure::Forbidden);
        let mut webhook = sample::webhook("https://example.com", Method::Post);
        webhook.secret = Secret::new("whsec_%");
        assert_eq!(refused(&webhook), Failure::Secret);
    }
}
