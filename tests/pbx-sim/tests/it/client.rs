//! A client that speaks raw JSON, and a control client that speaks raw HTTP.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pbx_sim::Sim;
use pbx_sim::world::World;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Far beyond anything that should take time; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn start() -> Sim {
    start_with(World::default()).await
}

pub(crate) async fn start_with(world: World) -> Sim {
    Sim::builder().world(world).seed(1).start().await.unwrap()
}

pub(crate) fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    next_src: u32,
    /// Messages that came while a result was awaited.
    early: std::collections::VecDeque<Value>,
}

impl Client {
    pub(crate) async fn connect(sim: &Sim) -> Self {
        Self::connect_to(sim.ws_url()).await
    }

    async fn connect_to(url: String) -> Self {
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = client_async(url, stream).await.unwrap();
        Self { socket, next_src: 0, early: Default::default() }
    }

    /// Connected and logged in as the default app object.
    pub(crate) async fn app(sim: &Sim) -> Self {
        Self::app_on(Self::connect(sim).await).await
    }

    /// The same at a further PBX.
    pub(crate) async fn app_at(sim: &Sim, pbx: &str) -> Self {
        Self::app_on(Self::connect_to(sim.ws_url_of(pbx).expect("a PBX of the world")).await).await
    }

    async fn app_on(mut client: Self) -> Self {
        let result = client.login("easyconnect", "", "secret-app-pw").await;
        assert_eq!(result["ok"], true);
        client
    }

    pub(crate) async fn login(&mut self, app: &str, sip: &str, password: &str) -> Value {
        self.send(json!({"mt": "AppChallenge"})).await;
        let challenge = self.next().await["challenge"].as_str().unwrap().to_owned();
        let digest = sha256(&format!("{app}::{sip}:::{challenge}:{password}"));
        let login =
            json!({"mt": "AppLogin", "app": app, "domain": "", "sip": sip, "guid": "", "dn": "", "digest": digest});
        self.send(login).await;
        self.next().await
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.text(&message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a message in time").unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                _ => continue,
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        match self.early.pop_front() {
            Some(message) => message,
            None => self.receive().await,
        }
    }

    /// The end of the connection, however it comes.
    pub(crate) async fn ended(&mut self) {
        let end = async { while matches!(self.socket.next().await, Some(Ok(_))) {} };
        timeout(PATIENCE, end).await.expect("the connection ends");
    }

    /// An RCC request and its result. Other messages that come in between are kept.
    pub(crate) async fn rcc(&mut self, mt: &str, fields: Value) -> Value {
        self.next_src += 1;
        let src = format!("r{}", self.next_src);
        let mut request = json!({"api": "RCC", "mt": mt, "src": src});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let src = request["src"].clone();
        self.send(request).await;
        loop {
            let message = self.receive().await;
            if message["mt"] == format!("{mt}Result") && message["src"] == src {
                return message;
            }
            self.early.push_back(message);
        }
    }

    /// Monitors the object with this extension; its events carry the extension as `src`.
    pub(crate) async fn monitor(&mut self, sim: &Sim, extension: &str) -> u64 {
        let cn = cn(sim, extension);
        let result = self.rcc("UserInitialize", json!({"cn": cn, "src": extension})).await;
        let user = &result["user"];
        user.as_u64().or_else(|| user.as_str()?.parse().ok()).unwrap()
    }

    pub(crate) async fn call_info(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["mt"] == "CallInfo" {
                return message;
            }
        }
    }

    /// The next call event of a stream with this `msg`.
    pub(crate) async fn wait_for(&mut self, src: &str, msg: &str) -> Value {
        loop {
            let message = self.call_info().await;
            if message["src"] == src && message["msg"] == msg {
                return message;
            }
        }
    }

    /// Call events, as `src msg(state)`, up to and including `last`.
    pub(crate) async fn story(&mut self, last: &str) -> Vec<String> {
        let mut story = Vec::new();
        while story.last().is_none_or(|line| line != last) {
            let message = self.call_info().await;
            let word = |key: &str| message[key].as_str().unwrap_or("-").to_owned();
            story.push(format!("{} {}({})", word("src"), word("msg"), message["state"]));
        }
        story
    }
}

pub(crate) fn object(sim: &Sim, extension: &str) -> Value {
    let state = sim.state();
    let all = ["users", "queues"].map(|kind| state[kind].as_array().unwrap().clone()).concat();
    let (node, extension) = extension.split_once('/').map_or((None, extension), |(node, rest)| (Some(node), rest));
    let is_meant = |object: &Value| object["extension"] == extension && node.is_none_or(|node| object["node"] == node);
    all.into_iter().find(is_meant).unwrap()
}

pub(crate) fn cn(sim: &Sim, extension: &str) -> String {
    object(sim, extension)["cn"].as_str().unwrap().to_owned()
}

/// Who is connected to whom, as `number-number` pairs, sorted.
pub(crate) fn connected(sim: &Sim) -> Vec<String> {
    let state = sim.state();
    let mut pairs = Vec::new();
    for leg in state["calls"].as_array().unwrap().iter().flat_map(|call| call["legs"].as_array().unwrap()) {
        let own = leg.get("extension").or(leg.get("number")).and_then(Value::as_str).unwrap();
        for other in leg["connectedTo"].as_array().unwrap() {
            pairs.push(format!("{own}-{}", other.as_str().unwrap()));
        }
    }
    pairs.sort();
    pairs
}

/// Polls a state until it is as wanted.
pub(crate) async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let poll = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// One HTTP request to the control API: status and body.
pub(crate) async fn http(sim: &Sim, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = sim.control_url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// An HTTP request with JSON both ways.
pub(crate) async fn api(sim: &Sim, method: &str, path: &str, body: Value) -> (u16, Value) {
    let (status, body) = http(sim, method, path, &body.to_string()).await;
    (status, serde_json::from_str(&body).unwrap())
}
