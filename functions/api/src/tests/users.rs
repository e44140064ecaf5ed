//! Who is named in a path, and what comes of a list when a PBX does not answer.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::cloud::{Asked, Cloud, item};
use super::*;

/// The partition that a query is for.
fn partition(asked: &Asked) -> Option<&str> {
    let values = asked.body["ExpressionAttributeValues"].as_object()?;
    (asked.operation == "Query").then(|| values.values().find_map(|value| value["S"].as_str()))?
}

fn as_item(value: &impl serde::Serialize) -> Value {
    json!(item(serde_json::to_value(value).expect("JSON").as_object().expect("an object")))
}

fn online(id: &str, pbx: &str, slot: usize) -> AgentStatus {
    let updated_at = Timestamp::now().as_millisecond();
    AgentStatus { pbx_id: Some(pbx.to_owned()), slot: Some(slot), updated_at, ..agent(id, PbxLink::Up) }
}

async fn answer_at(cloud: &Cloud, path: &str) -> (u16, Value) {
    let request = Request::get(path).header("x-api-key", KEY).body(Body::empty()).expect("a request");
    let response = router(context_at(&cloud.address)).oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

#[tokio::test]
async fn a_user_in_a_path_has_every_form() {
    let agents = json!({"Items": [as_item(&online("a", "master", 1))]});
    let cloud =
        Cloud::start(move |asked| Some(if partition(asked) == Some("AGENT") { agents.clone() } else { json!({}) }))
            .await;
    let guid = "3954ae7854c96301c9dd009033400109";
    for (path, place, address) in [
        ("42", "DIRECTORY#ext#42", "42"),
        ("a%2F42", "DIRECTORY#ext#42", "a/42"),
        ("a/42", "DIRECTORY#ext#42", "a/42"),
        ("root%2f%2A21", "DIRECTORY#ext#*21", "root/*21"),
        ("thomas.de.wilde", "DIRECTORY#name#thomas.de.wilde", "thomas.de.wilde"),
        (guid, "DIRECTORY#guid#3954ae7854c96301c9dd009033400109", guid),
    ] {
        let (status, answer) = answer_at(&cloud, &format!("/rcc/users/{path}?wait=0")).await;
        assert_eq!(status, 202, "{path}: {answer}");
        let asked = cloud.asked();
        assert!(asked.iter().any(|asked| partition(asked) == Some(place)), "{path}: {asked:?}");
        let written = asked.iter().find(|asked| asked.operation == "PutItem").expect("a command");
        assert_eq!(written.body["Item"]["operation"]["M"]["extension"]["S"], address, "{path}");
    }
    for path in ["a/b/42", "%2F42", "a%2F"] {
        let (status, answer) = answer_at(&cloud, &format!("/rcc/users/{path}?wait=0")).await;
        assert!([400, 404].contains(&status), "{path}: {answer}");
        assert!(cloud.asked().iter().all(|asked| asked.operation != "PutItem"), "{path}");
    }
}

/// What a stack with three PBXs lists, of which one has no agent and one answers nothing.
#[tokio::test]
async fn a_list_names_the_pbxs_that_it_lacks() {
    let agents = json!({"Items": [as_item(&online("a", "master", 1)), as_item(&online("b", "branch", 2))]});
    let slots = json!({"Items": [{"pbxId": {"S": "master"}, "pbxId2": {"S": "branch"}, "pbxId3": {"S": "shop"}}]});
    let written: Arc<Mutex<Vec<Value>>> = Arc::default();
    let commands = written.clone();
    let cloud = Cloud::start(move |asked| {
        let mut commands = commands.lock().expect("a lock");
        Some(match (asked.operation.as_str(), partition(asked)) {
            (_, Some("AGENT")) => agents.clone(),
            (_, Some("PBX")) => slots.clone(),
            ("PutItem", _) => {
                commands.push(asked.body["Item"].clone());
                json!({})
            }
            ("GetItem", _) => {
                let key = &asked.body["Key"]["pk"];
                let mut command = commands.iter().find(|command| &command["pk"] == key).cloned().unwrap_or_default();
                if command["pbx"]["S"] == "master" {
                    let users = json!([{"extension": "43"}, {"extension": "42"}]);
                    let result = json!({"users": users, "nextCursor": "of-master"}).to_string();
                    command["state"] = json!({"S": "succeeded"});
                    command["result"] = json!({"S": result});
                }
                json!({"Item": command})
            }
            _ => json!({}),
        })
    })
    .await;
    let (status, page) = answer_at(&cloud, "/rcc/users?wait=1&limit=10").await;
    assert_eq!((status, &page["missingPbxs"]), (200, &json!(["branch", "shop"])), "{page}");
    let extensions: Vec<&str> =
        page["users"].as_array().expect("users").iter().filter_map(|user| user["extension"].as_str()).collect();
    assert_eq!(extensions, ["42", "43"]);
    let asked = cloud.asked();
    let mut queues: Vec<&str> = asked.iter().filter_map(|asked| asked.body["QueueUrl"].as_str()).collect();
    queues.sort_unstable();
    queues.dedup();
    assert_eq!(queues, ["http://127.0.0.1:1/commands", "http://127.0.0.1:1/commands2"], "each by its own queue");
    let limits = |commands: &[Value]| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let limit = |command: &Value| text(&command["operation"]["M"]["limit"]["N"]);
        commands.iter().map(|command| (text(&command["pbx"]["S"]), limit(command))).collect()
    };
    let mut first = limits(&written.lock().expect("a lock"));
    first.sort();
    assert_eq!(first, [("branch".to_owned(), "5".to_owned()), ("master".to_owned(), "5".to_owned())]);

    // The next page is asked of the one that has more.
    written.lock().expect("a lock").clear();
    let cursor = page["nextCursor"].as_str().expect("more").to_owned();
    let (status, page) = answer_at(&cloud, &format!("/rcc/users?wait=1&limit=10&cursor={cursor}")).await;
    assert_eq!((status, &page["missingPbxs"]), (200, &json!([])), "{page}");
    let second = written.lock().expect("a lock").clone();
    assert_eq!(limits(&second), [("master".to_owned(), "10".to_owned())]);
    assert_eq!(second[0]["operation"]["M"]["cursor"]["S"], "of-master");
}
