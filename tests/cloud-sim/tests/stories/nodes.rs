//! A PBX with two numbering nodes and the extension 42 in both: who acts is never guessed, and a key of one node knows nothing of the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::Method;
use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Faults};
use jiff::SignedDuration;
use pbx_sim::world::{DEFAULT_GROUP, NodeSpec, UserSpec, World};
use pbx_sim::{InMemory, Sim};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::api::Api;
use crate::poller::whole_feed;
use crate::receivers::event_of;
use crate::stack::Stack;

fn world() -> World {
    let mut world = World::default();
    world.nodes.push(NodeSpec {
        name: "paris".to_owned(),
        prefix: "9".to_owned(),
        country: Some("33".to_owned()),
        area: Some("1".to_owned()),
        number: String::new(),
    });
    world.users.push(UserSpec::new("42", "Claire Petit").in_group(DEFAULT_GROUP).in_node("paris"));
    world
}

struct Scene {
    stack: Stack,
    pbx: Arc<InMemory>,
}

impl Scene {
    async fn start(cloud: &Cloud, ledger: Ledger) -> Self {
        let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
        let began = Duration::try_from(cloud.now().as_duration()).expect("after 1970");
        let pbx = Sim::builder().world(world()).seed(1).start_in_memory(SystemTime::UNIX_EPOCH + began);
        let pbx = Arc::new(pbx.expect("a world that can exist"));
        stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        // Until the directory is written.
        sleep(Duration::from_secs(30)).await;
        Self { stack, pbx }
    }

    async fn post(&self, api: &Api, path: &str, body: Json) -> (u16, Json) {
        api.insist(Method::POST, path, Some(&body)).await
    }

    /// A key with a list, and the API as its owner has it.
    async fn key(&self, list: &[&str]) -> Api {
        let wanted = json!({"name": list.join(" "), "scopes": ["calls:read", "calls:write", "webhooks"], "extensions": list,
            "allow": ["+33*", "+32*"], "deny": ["+33900*"]});
        let (status, made) = self.post(&self.stack.api, "/apikeys", wanted).await;
        assert_eq!(status, 201, "{made}");
        self.stack.api.with_key(made["key"].as_str().expect("a key"))
    }

    /// What the PBX was asked to dial last.
    fn dialled(&self) -> Json {
        self.pbx.log().into_iter().rfind(|entry| entry["mt"] == "UserCall").expect("a call")["frame"]["e164"].clone()
    }
}

fn code(answer: &(u16, Json)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

async fn story(cloud: Cloud, ledger: Ledger) {
    let mut scene = Scene::start(&cloud, ledger).await;
    let all = scene.stack.api.clone();
    let call = |from: &str, to: &str| json!({"from": from, "to": to});

    let refused = scene.post(&all, "/rcc/makecall", call("42", "+33 4 72 59 16 87")).await;
    assert_eq!(code(&refused), (409, "ambiguous_extension"), "{refused:?}");
    let message = refused.1["message"].as_str().unwrap_or_default();
    assert!(message.contains("paris/42, root/42"), "{message}");
    for (from, dialled) in [("paris/42", "90033472591687"), ("root/42", "00033472591687"), ("claire.petit", "900")] {
        let to = if from == "claire.petit" { "+1 202 555 0123" } else { "+33 4 72 59 16 87" };
        let made = scene.post(&all, "/rcc/makecall", call(from, to)).await;
        assert_eq!(made.0, 200, "{made:?}");
        let told = scene.dialled();
        assert!(told.as_str().is_some_and(|told| told.starts_with(dialled)), "{told}");
        let ended = scene.post(&all, "/rcc/disconnect", json!({"CallId": made.1["CallId"]})).await;
        assert_eq!(ended.0, 200, "{ended:?}");
    }

    // A list with an extension of both nodes would say nothing.
    for (path, wanted) in [
        ("/apikeys", json!({"name": "x", "scopes": ["calls:read"], "extensions": ["42"]})),
        ("/webhooks", json!({"url": "https://x.example/hook", "extensions": ["42"]})),
    ] {
        let refused = scene.post(&all, path, wanted).await;
        assert_eq!(code(&refused), (409, "ambiguous_extension"), "{refused:?}");
    }

    // A key of one node knows nothing of the other.
    let (root, paris) = (scene.key(&["root/42"]).await, scene.key(&["paris/42"]).await);
    for (extension, to) in [("root/42", "50"), ("paris/42", "42")] {
        let _ = scene.pbx.control("/call", json!({"from": "+3247000000", "to": extension}));
        sleep(Duration::from_secs(2)).await;
        for (api, own) in [(&root, "root/42"), (&paris, "paris/42")] {
            let calls = api.get("/rcc/calls").await;
            let seen = calls["calls"].as_array().map_or(0, Vec::len);
            assert_eq!(seen, usize::from(own == extension), "{own} sees {calls}");
        }
        let _ = scene.pbx.control("/hangup", json!({"extension": extension}));
        // For each of them 42 is its own.
        let api = if extension == "root/42" { &root } else { &paris };
        let user = api.get("/rcc/users/42").await;
        assert_eq!(user["node"], extension.trim_end_matches("/42"), "{user}");
        let made = scene
            .post(api, "/rcc/makecall", call("42", if extension == "root/42" { to } else { "+32 2 555 12 34" }))
            .await;
        assert_eq!(made.0, 200, "{made:?}");
        let _ = scene.post(api, "/rcc/disconnect", json!({"CallId": made.1["CallId"]})).await;
    }
    for (api, other) in [(&root, "paris/42"), (&paris, "root/42")] {
        let refused = scene.post(api, "/rcc/makecall", call(other, "50")).await;
        assert_eq!(code(&refused), (403, "extension_not_allowed"), "{refused:?}");
    }
    // `9 0 900 …` is a national number in Paris, `0 00 33 900 …` the same one from the other node.
    for (api, to) in [(&paris, "90900123456"), (&root, "00033900123456"), (&root, "90472591687")] {
        let refused = scene.post(api, "/rcc/makecall", call("42", to)).await;
        assert_eq!(code(&refused), (403, "destination_not_allowed"), "{to}: {refused:?}");
    }

    scene.stack.settle().await;
    let everything = whole_feed(&all).await;
    for event in &everything {
        let (call, number) = event_of(event).expect("an event");
        scene.stack.ledger.sent(&format!("feed {call}"), number);
        scene.stack.ledger.accepted(&format!("feed {call}"), number);
    }
    let is_of = |event: &Json, node: &str| event["node"] == node && event["monitoredExtension"] == "42";
    let of = |events: &[Json], node: &str| events.iter().filter(|event| is_of(event, node)).count();
    let (at_root, at_paris) = (of(&everything, "root"), of(&everything, "paris"));
    assert!(at_root > 0 && at_paris > 0, "{everything:?}");
    for (api, node, count) in [(&root, "root", at_root), (&paris, "paris", at_paris)] {
        let events = whole_feed(api).await;
        assert_eq!((events.len(), of(&events, node)), (count, count));
        let event = &events[0];
        assert_eq!((&event["pbx"], &event["monitoredExtension"]), (&json!("master"), &json!("42")));
        assert!(event["userName"].is_string() && event["userGuid"].is_string(), "{event}");
    }
}

#[test]
fn same_extension_in_two_nodes() {
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}
