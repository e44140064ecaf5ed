use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method as HttpMethod, StatusCode, Uri};
use axum::routing::any;
use futures_util::stream;
use shared::webhook::{Method, Webhook};
use standardwebhooks::Webhook as Signer;
use tokio::net::TcpListener;

use super::*;
use crate::prepared::Prepared;
use crate::sample;

type Seen = Arc<Mutex<Vec<(HttpMethod, Uri, HeaderMap, Bytes)>>>;

/// A receiver on the loopback that answers in as many ways as it has paths.
struct Receiver {
    port: u16,
    seen: Seen,
}

impl Receiver {
    async fn start() -> Self {
        Self::start_at([127, 0, 0, 1]).await
    }

    async fn start_at(address: [u8; 4]) -> Self {
        let seen = Seen::default();
        let note = async |State(seen): State<Seen>, method, uri, headers, body| {
            seen.lock().expect("not poisoned").push((method, uri, headers, body));
            (StatusCode::ACCEPTED, "thank you")
        };
        let endless = async || {
            let chunks = stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from("é".repeat(700) + "x")));
            Body::from_stream(chunks)
        };
        let stuck = async || {
            let chunks = stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from("so far")) });
            Body::from_stream(futures_util::StreamExt::chain(chunks, stream::pending()))
        };
        let router = Router::new()
            .route("/hook", any(note))
            .route("/moved", any(async || (StatusCode::FOUND, [("location", "/hook")])))
            .route("/endless", any(endless))
            .route("/stuck", any(stuck))
            .route("/silent", any(std::future::pending::<()>))
            .route("/busy", any(async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "17")])))
            .with_state(Arc::clone(&seen));
        let listener = TcpListener::bind((Ipv4Addr::from(address), 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn seen(&self) -> usize {
        self.seen.lock().expect("not poisoned").len()
    }
}

/// Open for `http` and `127.0.0.1`, as on the local stack.
fn boundary() -> Arc<Boundary> {
    Arc::new(Boundary { allowed: vec!["127.0.0.1/32".parse().expect("a range")], http: true })
}

fn webhooks(boundary: &Arc<Boundary>, total: Duration) -> Webhooks {
    Webhooks::new(boundary, Limits { connect: total, total })
}

async fn send(webhook: &Webhook, total: Duration) -> Result<Answer, Failure> {
    let boundary = boundary();
    let prepared = Prepared::new(&sample::delivery(), webhook, &boundary, sample::now())?;
    prepared.send(&webhooks(&boundary, total), sample::now()).await.result
}

async fn post(url: &str) -> Result<Answer, Failure> {
    send(&sample::webhook(url, Method::Post), Duration::from_secs(10)).await
}

#[tokio::test]
async fn a_post_arrives_signed_and_whole() {
    let receiver = Receiver::start().await;
    let answer = post(&receiver.url("/hook?key=1")).await.expect("an answer");
    assert_eq!(answer, Answer { status: 202, retry_after: None, text: "thank you".to_owned() });

    let (method, uri, headers, body) = receiver.seen.lock().expect("not poisoned").remove(0);
    assert_eq!((method, uri.to_string()), (HttpMethod::POST, "/hook?key=1".to_owned()));
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("user-agent"), USER_AGENT);
    assert_eq!(header("webhook-id"), sample::delivery().id().to_string());
    let timestamp = header("webhook-timestamp").parse().expect("seconds");
    let expected = Signer::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
        .and_then(|webhook| webhook.sign(header("webhook-id"), timestamp, &body))
        .expect("a signature");
    assert_eq!(header("webhook-signature"), expected);
    let event: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(event["monitioredUser"], "Thomas De Wilde");
}

#[tokio::test]
async fn a_get_arrives_as_it_was_signed() {
    let receiver = Receiver::start().await;
    let webhook = sample::webhook(&receiver.url("/hook?key=1"), Method::Get);
    send(&webhook, Duration::from_secs(10)).await.expect("an answer");
    let (method, uri, headers, body) = receiver.seen.lock().expect("not poisoned").remove(0);
    assert_eq!((method, body.len()), (HttpMethod::GET, 0));
    assert!(!headers.contains_key("content-type"));
    let appended = uri.query().and_then(|query| query.strip_prefix("key=1&")).expect("the URL's own query comes first");
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let timestamp = header("webhook-timestamp").parse().expect("seconds");
    let expected = Signer::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
        .and_then(|webhook| webhook.sign(header("webhook-id"), timestamp, appended.as_bytes()))
        .expect("a signature");
    assert_eq!(header("webhook-signature"), expected);
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let receiver = Receiver::start().await;
    assert_eq!(post(&receiver.url("/moved")).await.expect("an answer").status, 302);
    assert_eq!(receiver.seen(), 0, "nobody followed it");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let receiver = Receiver::start().await;
    let answer = post(&receiver.url("/endless")).await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert!((ANSWER_BYTES - 4..=ANSWER_BYTES).contains(&answer.text.len()), "{}", answer.text.len());
}

#[tokio::test]
async fn a_receiver_that_hangs_is_cut_off() {
    let receiver = Receiver::start().await;
    let limit = Duration::from_millis(200);
    let silent = sample::webhook(&receiver.url("/silent"), Method::Post);
    assert_eq!(send(&silent, limit).await, Err(Failure::Timeout));
    // It has said what it had to say; the rest of its answer is not worth a repeat.
    let stuck = sample::webhook(&receiver.url("/stuck"), Method::Post);
    let answer = send(&stuck, limit).await.expect("an answer");
    assert_eq!((answer.status, answer.text.as_str()), (200, "so far"));
}

#[tokio::test]
async fn forbidden_addresses_are_not_reached() {
    let receiver = Receiver::start().await;
    let hook = |host: &str| format!("http://{host}:{}/hook", receiver.port);
    assert_eq!(post(&hook("127.0.0.2")).await, Err(Failure::Forbidden));
    assert_eq!(post(&hook("[::1]")).await, Err(Failure::Forbidden));
    assert_eq!(post(&hook("[::ffff:127.0.0.2]")).await, Err(Failure::Forbidden));
    assert_eq!(receiver.seen(), 0);
    assert_eq!(post(&hook("[::ffff:127.0.0.1]")).await.map(|answer| answer.status), Ok(202));

    // A name passes the first check, and the resolver answers with what is inside the boundary only.
    assert_eq!(post(&hook("localhost")).await.map(|answer| answer.status), Ok(202));
    let closed = Arc::new(Boundary { allowed: Vec::new(), http: true });
    let webhook = sample::webhook(&hook("localhost"), Method::Post);
    let prepared = Prepared::new(&sample::delivery(), &webhook, &closed, sample::now()).expect("a name");
    let outcome = prepared.send(&webhooks(&closed, Duration::from_secs(10)), sample::now()).await;
    assert_eq!(outcome.result, Err(Failure::Forbidden));
    assert_eq!(receiver.seen(), 2);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    /// Passes whoever checks a name once and connects later.
    fn look_up(_: Name) -> LookUp {
        let last = if ASKED.fetch_add(1, Ordering::Relaxed) == 0 { 1 } else { 2 };
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, last], 0))]) })
    }
    let (receiver, forbidden) = (Receiver::start().await, Receiver::start_at([127, 0, 0, 2]).await);
    let boundary = boundary();
    let limit = Duration::from_secs(10);
    let webhooks = Webhooks::with_resolver(
        Resolver { boundary: Arc::clone(&boundary), look_up },
        Limits { connect: limit, total: limit },
    );
    let post = async |port: u16| {
        let webhook = sample::webhook(&format!("http://rebound.example:{port}/hook"), Method::Post);
        let prepared = Prepared::new(&sample::delivery(), &webhook, &boundary, sample::now()).expect("a name");
        prepared.send(&webhooks, sample::now()).await.result.map(|answer| answer.status)
    };
    assert_eq!(post(receiver.port).await, Ok(202));
    assert_eq!(post(forbidden.port).await, Err(Failure::Forbidden));
    // The warm connection goes where its address was checked, whatever the name says by now.
    assert_eq!(post(receiver.port).await, Ok(202));
    assert_eq!((receiver.seen(), forbidden.seen(), ASKED.load(Ordering::Relaxed)), (2, 0, 2));
}

#[tokio::test]
async fn failures_are_told_apart() {
    let receiver = Receiver::start().await;
    assert_eq!(post("http://receiver.invalid/").await, Err(Failure::Unresolved));
    let tls = post(&format!("https://127.0.0.1:{}/hook", receiver.port)).await.expect_err("no TLS there");
    assert!(matches!(tls, Failure::Tls(_)), "{tls:?}");
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("an address");
    assert_eq!(post(&format!("http://{closed}/")).await, Err(Failure::ConnectionRefused));
}

#[tokio::test]
async fn a_wish_to_be_left_alone_is_read() {
    let receiver = Receiver::start().await;
    let answer = post(&receiver.url("/busy")).await.expect("an answer");
    assert_eq!((answer.status, answer.retry_after), (429, Some(Duration::from_secs(17))));

    let read = |text: &str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
        retry_after(&headers, sample::now())
    };
    assert_eq!(read("Fri, 16 Sep 2022 11:58:44 GMT"), Some(Duration::from_secs(60)));
    assert_eq!(read("Fri, 16 Sep 2022 11:00:00 GMT"), None, "long past");
    assert_eq!(read("soon"), None);
    assert_eq!(read("-1"), None);
}

#[tokio::test]
async fn connections_stay_warm() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    let router = Router::new().fallback(async || "thank you");
    tokio::spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, move |_| *counted.lock().expect("not poisoned") += 1);
        axum::serve(listener, router).await
    });
    let boundary = boundary();
    let webhooks = webhooks(&boundary, Duration::from_secs(10));
    let webhook = sample::webhook(&url, Method::Post);
    for _ in 0..3 {
        let prepared = Prepared::new(&sample::delivery(), &webhook, &boundary, sample::now()).expect("ready");
        prepared.send(&webhooks, sample::now()).await.result.expect("an answer");
    }
    assert_eq!(*connections.lock().expect("not poisoned"), 1);
}
