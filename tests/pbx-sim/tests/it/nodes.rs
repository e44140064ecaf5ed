//! Systems of several numbering nodes and several PBXs.

use pbx_sim::Sim;
use pbx_sim::world::{NodeSpec, UserSpec, World};
use serde_json::{Value, json};

use crate::client::{Client, api, connected, object, start_with};

const GROUP: &str = pbx_sim::world::DEFAULT_GROUP;

/// Nodes `root`, `paris` and `lab`, with 42 in each; those of `paris` are at home at the PBX `branch`.
fn world() -> World {
    let node = |name: &str, prefix: &str, country: &str, area: &str, number: &str| NodeSpec {
        name: name.to_owned(),
        prefix: prefix.to_owned(),
        country: Some(country.to_owned()),
        area: Some(area.to_owned()),
        number: number.to_owned(),
    };
    let mut world = World::default();
    world.pbxs.push("branch".to_owned());
    world.nodes.push(node("paris", "9", "33", "1", "81"));
    world.nodes.push(node("lab", "0", "32", "2", ""));
    let paris = |e164: &str, cn: &str| UserSpec::new(e164, cn).in_group(GROUP).in_node("paris").at_home_at("branch");
    world.users.push(paris("42", "Claire Petit"));
    world.users.push(paris("45", "Accueil"));
    world.users.push(UserSpec::new("42", "Lab phone").in_group(GROUP).in_node("lab"));
    world
}

async fn control(sim: &Sim, path: &str, body: Value) -> Value {
    let (status, answer) = api(sim, "POST", path, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn the_same_extension_is_a_user_of_each_node_with_the_prefixes_of_its_own() {
    let sim = start_with(world()).await;
    let mut client = Client::app(&sim).await;
    for (address, pbx, prefixes, area) in [
        ("root/42", "master", ["000", "00", "0"], "2"),
        ("paris/42", "branch", ["900", "90", "9"], "1"),
        ("lab/42", "master", ["000", "00", "0"], "2"),
    ] {
        let user = object(&sim, address);
        assert_eq!((&user["pbx"], &user["extension"]), (&json!(pbx), &json!("42")));
        let result = client.rcc("UserInitialize", json!({"cn": user["cn"]})).await;
        let told = ["prefixIntl", "prefixNtl", "prefixSubs"].map(|name| result[name].as_str().unwrap().to_owned());
        assert_eq!(told, prefixes, "{address}");
        assert_eq!(result["area"], area);
    }
    let mut initialize = json!({"api": "RCC", "mt": "Initialize", "src": "all", "grp": true});
    client.send(initialize.take()).await;
    let mut homes = Vec::new();
    loop {
        let row = client.next().await;
        if row["mt"] == "InitializeResult" {
            break;
        }
        if row["e164"] == "42" {
            homes.push(format!("{}/{}", row["pbx"].as_str().unwrap(), row["node"].as_str().unwrap()));
        }
    }
    assert_eq!(homes, ["master/root", "branch/paris", "master/lab"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn numbers_are_dialled_in_the_node_of_the_phone() {
    let sim = start_with(world()).await;
    control(&sim, "/call", json!({"from": "paris/45", "to": "42"})).await;
    control(&sim, "/answer", json!({"extension": "paris/42"})).await;
    control(&sim, "/call", json!({"from": "44", "to": "42"})).await;
    control(&sim, "/answer", json!({"extension": "42"})).await;
    assert_eq!(connected(&sim), ["42-44", "42-45", "44-42", "45-42"]);
    control(&sim, "/hangup", json!({"extension": "root/42"})).await;
    // Behind its number another node is reached; a node without one is not.
    control(&sim, "/call", json!({"from": "44", "to": "8145"})).await;
    assert_eq!(sim.state()["calls"][1]["legs"][1]["node"], "paris");
    control(&sim, "/hangup", json!({"extension": "44"})).await;
    // A line is asked for with the prefix of the node.
    control(&sim, "/call", json!({"from": "paris/45", "to": "+32472591687"})).await;
    control(&sim, "/call", json!({"from": "44", "to": "90472591687"})).await;
    let legs = sim.state()["calls"].to_string();
    assert!(legs.contains("+32472591687"), "{legs}");
    assert!(!legs.contains("+33472591687"), "{legs}");
    sim.shutdown().await;
}

#[tokio::test]
async fn each_pbx_tells_of_its_own_users_only_and_an_outage_is_its_own() {
    let sim = start_with(world()).await;
    let (mut master, mut branch) = (Client::app(&sim).await, Client::app_at(&sim, "branch").await);
    for client in [&mut master, &mut branch] {
        for address in ["44", "paris/45"] {
            client.monitor(&sim, address).await;
        }
    }
    control(&sim, "/call", json!({"from": "44", "to": "8145"})).await;
    control(&sim, "/answer", json!({"extension": "paris/45"})).await;
    let at_master = master.wait_for("44", "r-conn").await;
    let at_branch = branch.wait_for("paris/45", "x-conn").await;
    assert_eq!(at_master["conf"], at_branch["conf"]);
    control(&sim, "/hangup", json!({"extension": "44"})).await;
    for (client, own) in [(&mut master, "44"), (&mut branch, "paris/45")] {
        loop {
            let message = client.call_info().await;
            assert_eq!(message["src"], own);
            if message["msg"] == "del" {
                break;
            }
        }
    }
    let answer = control(&sim, "/fault", json!({"kind": "drop", "pbx": "branch", "down_ms": 60_000})).await;
    assert_eq!(answer["connections"], 1);
    branch.ended().await;
    master.rcc("Devices", json!({"cn": "Sales"})).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn a_call_stays_with_the_pbx_at_which_it_began_when_its_user_moves() {
    let sim = start_with(world()).await;
    let (mut master, mut branch) = (Client::app(&sim).await, Client::app_at(&sim, "branch").await);
    control(&sim, "/call", json!({"from": "+32472591687", "to": "44"})).await;
    master.monitor(&sim, "44").await;
    assert_eq!(master.call_info().await["msg"], "update");
    control(&sim, "/user", json!({"extension": "44", "pbx": "branch"})).await;
    branch.monitor(&sim, "44").await;
    control(&sim, "/hangup", json!({"extension": "+32472591687"})).await;
    master.wait_for("44", "del").await;
    control(&sim, "/call", json!({"from": "+32472591687", "to": "44"})).await;
    assert_eq!(branch.call_info().await["msg"], "r-setup");
    sim.shutdown().await;
}

#[tokio::test]
async fn what_cannot_exist_is_refused() {
    for (address, body, code) in [
        ("nowhere/42", json!({"extension": "nowhere/42"}), 404),
        ("moving", json!({"extension": "42", "node": "lab"}), 400),
        ("homeless", json!({"extension": "42", "pbx": "elsewhere"}), 404),
    ] {
        let sim = start_with(world()).await;
        assert_eq!(api(&sim, "POST", "/user", body).await.0, code, "{address}");
        sim.shutdown().await;
    }
    let mut twice = world();
    twice.users.push(UserSpec::new("45", "Second").in_node("paris"));
    assert!(twice.check().is_err());
    twice.users.pop();
    twice.users.push(UserSpec::new("46", "Stray").in_node("rome"));
    assert!(twice.check().is_err());
}
