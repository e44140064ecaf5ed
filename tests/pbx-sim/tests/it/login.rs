//! Challenge, digest, rights.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use pbx_sim::world::{UserSpec, World};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{client_async, connect_async};

use crate::client::{Client, cn, sha256, start, start_with};

#[tokio::test]
async fn a_wrong_digest_an_unknown_app_and_a_used_challenge_are_refused() {
    let sim = start().await;
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.login("easyconnect", "", "wrong").await["ok"], false);
    assert_eq!(client.login("nobody", "", "secret-app-pw").await["ok"], false);

    client.send(json!({"mt": "AppChallenge"})).await;
    let challenge = client.next().await["challenge"].as_str().unwrap().to_owned();
    assert!(challenge.len() <= 16 && challenge.bytes().all(|b| b.is_ascii_digit()));
    let digest = sha256(&format!("easyconnect:::::{challenge}:secret-app-pw"));
    let login = json!({"mt": "AppLogin", "app": "easyconnect", "digest": digest});
    client.send(json!({"mt": "AppLogin", "app": "easyconnect", "digest": "0"})).await;
    assert_eq!(client.next().await["ok"], false);
    client.send(login).await;
    assert_eq!(client.next().await["ok"], false, "the challenge was used up");
    assert_eq!(client.login("easyconnect", "", "secret-app-pw").await["ok"], true);
    sim.shutdown().await;
}

#[tokio::test]
async fn the_digest_covers_info_as_received() {
    let sim = start().await;
    for (sent, hashed, ok) in [
        (r#"{"z":1,"a":"é/"}"#, r#"{"z":1,"a":"é/"}"#, true),
        ("{}", "{}", true),
        (r#"{"z":1,"a":2}"#, r#"{"a":2,"z":1}"#, false),
        (r#"{"z": 1}"#, r#"{"z":1}"#, false),
    ] {
        let mut client = Client::connect(&sim).await;
        client.send(json!({"mt": "AppChallenge", "user": "ignored"})).await;
        let challenge = client.next().await["challenge"].as_str().unwrap().to_owned();
        let digest = sha256(&format!("easyconnect:d.example::g:n:{hashed}:{challenge}:secret-app-pw"));
        client
            .text(&format!(
                r#"{{"info":{sent},"mt":"AppLogin","app":"easyconnect","domain":"d.example","sip":"","guid":"g",
                "dn":"n","pbxObj":"x","key":"y","digest":"{digest}"}}"#
            ))
            .await;
        assert_eq!(client.next().await["ok"], ok, "{sent}");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn nothing_works_before_login_and_apis_that_are_not_granted_stay_silent() {
    let mut world = World::default();
    world.apps[0].apis = vec!["RCC".to_owned()];
    let sim = start_with(world).await;
    let mut client = Client::connect(&sim).await;
    let call = json!({"from": "42", "to": "44"});
    sim.control("/call", call).unwrap();
    client.send(json!({"api": "RCC", "mt": "Initialize", "src": "early"})).await;
    let refused = client.next().await;
    assert_eq!((&refused["mt"], &refused["src"]), (&json!("InitializeResult"), &json!("early")));
    assert!(refused["error"].is_string());

    assert_eq!(client.login("easyconnect", "", "secret-app-pw").await["ok"], true);
    client.send(json!({"api": "PbxAdminApi", "mt": "GetGroups", "src": "silent"})).await;
    client.send(json!({"api": "RCC", "mt": "NoSuchThing", "src": "silent"})).await;
    client.send(json!({"mt": "KeepAlive"})).await;
    client.send(json!({"mt": "NoSuchThing"})).await;
    client.text("no json").await;
    // The first thing that comes back belongs to the later request.
    client.send(json!({"api": "RCC", "mt": "Devices", "cn": "Workshop", "src": 7})).await;
    let devices = client.next().await;
    assert_eq!((&devices["mt"], &devices["src"]), (&json!("DevicesResult"), &json!(7)));

    sim.control("/quirks", json!({"error_replies": true, "echo_keepalive": true})).unwrap();
    client.send(json!({"api": "PbxAdminApi", "mt": "GetGroups", "src": "loud"})).await;
    let refused = client.next().await;
    assert_eq!((&refused["mt"], &refused["error"]), (&json!("GetGroupsResult"), &json!("not granted")));
    client.send(json!({"mt": "KeepAlive"})).await;
    assert_eq!(client.next().await["mt"], "KeepAlive");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_login_with_sip_sees_that_user_only() {
    let mut world = World::default();
    world.users.push(UserSpec { password: Some("own-pw".to_owned()), ..UserSpec::new("61", "Porter") });
    let sim = start_with(world).await;
    let rows = async |client: &mut Client| {
        client.rcc("Initialize", json!({"grp": true, "calls": true})).await;
        let mut rows = Vec::new();
        client.send(json!({"api": "RCC", "mt": "Devices", "src": "end"})).await;
        loop {
            match client.next().await {
                end if end["src"] == "end" => return rows,
                row => rows.push(row["e164"].as_str().unwrap_or_default().to_owned()),
            }
        }
    };
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.login("easyconnect", "thomas.de.wilde", "secret-app-pw").await["ok"], true);
    assert_eq!(rows(&mut client).await, ["42"]);
    assert_eq!(client.rcc("UserInitialize", json!({"cn": "Sales"})).await["user"], 0);
    assert_eq!(client.rcc("UserInitialize", json!({"cn": cn(&sim, "42")})).await["user"], 1);

    // The name of the app object is nobody's name, so this sees nothing.
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.login("easyconnect", "easyconnect", "secret-app-pw").await["ok"], true);
    assert!(rows(&mut client).await.is_empty());

    let mut client = Client::connect(&sim).await;
    assert_eq!(client.login("", "porter", "own-pw").await["ok"], true);
    assert_eq!(rows(&mut client).await, ["61"]);
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.login("", "sales", "").await["ok"], false, "no password, no login");
    sim.shutdown().await;
}

#[tokio::test]
async fn variants_of_the_login() {
    let sim = start().await;
    sim.control("/quirks", json!({"numeric_challenge": true, "close_after_failed_login": true})).unwrap();
    let mut client = Client::connect(&sim).await;
    client.send(json!({"mt": "AppChallenge"})).await;
    let challenge = client.next().await["challenge"].as_u64().unwrap();
    let digest = sha256(&format!("easyconnect:::::{challenge}:secret-app-pw"));
    client.send(json!({"mt": "AppLogin", "app": "easyconnect", "digest": digest.to_uppercase()})).await;
    assert_eq!(client.next().await["ok"], true);
    client.send(json!({"mt": "AppLogin", "app": "easyconnect", "digest": digest})).await;
    assert_eq!(client.next().await["ok"], false);
    client.ended().await;
    sim.shutdown().await;
}

#[tokio::test]
async fn tls_with_the_published_certificate() {
    let sim = start().await;
    let (status, pem) = crate::client::http(&sim, "GET", "/cert.pem", "").await;
    assert_eq!((status, pem.as_str()), (200, sim.ca_pem()));
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let hex = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&der));
    assert_eq!(hex, sim.fingerprint());
    let mut roots = RootCertStore::empty();
    roots.add(der).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let url = sim.wss_url();
    let address = url.strip_prefix("wss://").unwrap().split('/').next().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut socket, _) = client_async(url.as_str(), stream).await.unwrap();
    socket.send(Message::text(r#"{"mt":"AppChallenge","src":"tls"}"#)).await.unwrap();
    let answer: Value = serde_json::from_str(&socket.next().await.unwrap().unwrap().into_text().unwrap()).unwrap();
    assert_eq!((&answer["mt"], &answer["src"]), (&json!("AppChallengeResult"), &json!("tls")));
    assert_eq!(sim.state()["connections"][0]["tls"], true);
    sim.shutdown().await;
}

#[tokio::test]
async fn pings_fragments_and_other_paths() {
    let sim = start().await;
    let mut client = Client::connect(&sim).await;
    client.socket.send(Message::Ping(Bytes::from_static(b"alive?"))).await.unwrap();
    assert_eq!(client.socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"alive?")));

    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    for (part, kind, last) in [(r#"{"mt":"App"#, Data::Text, false), (r#"Challenge"}"#, Data::Continue, true)] {
        let frame = Frame::message(Bytes::from_static(part.as_bytes()), OpCode::Data(kind), last);
        client.socket.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(client.next().await["mt"], "AppChallengeResult");

    let elsewhere = sim.ws_url().replace("PBX0", "PBX9");
    assert!(connect_async(elsewhere).await.unwrap_err().to_string().contains("404"));
    sim.shutdown().await;
}
