//! The simulated PBX, in the words of a test.

use pbx_sim::Sim;
use pbx_sim::world::World;
use serde_json::{Value, json};

use crate::eventually;

/// A PBX, with the default world of the simulator unless a test wants another one.
#[derive(Debug)]
pub struct Pbx(pub Sim);

impl Pbx {
    pub async fn start() -> Self {
        Self::start_with(World::default()).await
    }

    pub async fn start_with(world: World) -> Self {
        Self(Sim::builder().world(world).start().await.expect("the simulator starts"))
    }

    #[track_caller]
    pub fn control(&self, path: &str, body: &Value) -> Value {
        self.0.control(path, body.clone()).unwrap_or_else(|refused| panic!("{path} {body}: {refused:?}"))
    }

    /// Somebody calls somebody.
    pub fn call(&self, from: &str, to: &str) {
        self.control("/call", &json!({"from": from, "to": to}));
    }

    pub fn answer(&self, who: &str) {
        self.control("/answer", &json!({"extension": who}));
    }

    pub fn hang_up(&self, who: &str) {
        self.control("/hangup", &json!({"extension": who}));
    }

    pub fn behave(&self, who: &str, mode: &str) {
        self.control("/behaviour", &json!({"extension": who, "mode": mode}));
    }

    pub fn fault(&self, fault: &Value) {
        self.control("/fault", fault);
    }

    /// The connections with or without TLS, by which a test tells two agents apart.
    pub fn connections(&self, tls: bool) -> Vec<Value> {
        connections(&self.0.state(), tls)
    }

    /// Does something to the connections of this kind. Returns whether there were any.
    pub fn strike(&self, tls: bool, fault: &Value) -> bool {
        let mut hit = false;
        for connection in self.connections(tls) {
            let mut fault = fault.clone();
            fault["connection"] = connection["index"].clone();
            hit |= self.0.control("/fault", fault).is_ok();
        }
        hit
    }

    /// Waits until an agent with or without TLS monitors everybody.
    pub async fn until_monitored(&self, tls: bool) {
        eventually(&format!("an agent monitors, TLS: {tls}"), async || {
            let state = self.0.state();
            if monitors(&state, tls) { Ok(()) } else { Err(state["connections"].to_string()) }
        })
        .await;
    }

    /// Changes a user of the PBX.
    pub fn change(&self, who: &str, change: Value) {
        let mut change = change;
        change["extension"] = who.into();
        self.control("/user", &change);
    }

    /// The one leg of somebody, with everything that the simulator shows of it.
    #[track_caller]
    pub fn leg(&self, who: &str) -> Value {
        let mut legs = self.each_leg(who, Value::clone);
        assert_eq!(legs.len(), 1, "legs of {who}: {legs:?}");
        legs.remove(0)
    }

    /// The latest request of a kind that the PBX has heard.
    #[track_caller]
    pub fn last_heard(&self, mt: &str) -> Value {
        let heard = self.0.log().into_iter().rev().find(|entry| entry["mt"] == mt);
        heard.unwrap_or_else(|| panic!("no {mt} was heard"))["frame"].clone()
    }

    /// The state of somebody's legs, e.g. `["connected"]`; external numbers as `+digits`.
    pub fn legs(&self, who: &str) -> Vec<String> {
        self.each_leg(who, |leg| leg["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Whom somebody is connected to.
    pub fn partners(&self, who: &str) -> Vec<String> {
        self.each_leg(who, |leg| leg["connectedTo"].clone())
            .into_iter()
            .flat_map(|partners| partners.as_array().cloned().unwrap_or_default())
            .filter_map(|partner| partner.as_str().map(str::to_owned))
            .collect()
    }

    fn each_leg<T>(&self, who: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
        let state = self.0.state();
        let calls = state["calls"].as_array().cloned().unwrap_or_default();
        let legs = calls.iter().flat_map(|call| call["legs"].as_array().cloned().unwrap_or_default());
        legs.filter(|leg| leg["extension"] == who || leg["number"] == who).map(|leg| read(&leg)).collect()
    }

    pub fn live_calls(&self) -> usize {
        self.0.state()["calls"].as_array().map_or(0, Vec::len)
    }

    /// How many requests of a kind the PBX has heard.
    pub fn heard(&self, mt: &str) -> usize {
        self.0.log().iter().filter(|entry| entry["mt"] == mt).count()
    }

    pub async fn until_leg(&self, who: &str, state: &str) {
        eventually(&format!("{who} is {state}"), async || {
            let legs = self.legs(who);
            if legs.iter().any(|leg| leg == state) { Ok(()) } else { Err(format!("legs: {legs:?}")) }
        })
        .await;
    }

    /// Waits until somebody is connected to somebody else.
    pub async fn until_partner(&self, who: &str, partner: &str) {
        eventually(&format!("{who} is connected to {partner}"), async || match self.partners(who) {
            partners if partners == [partner] => Ok(()),
            partners => Err(format!("partners: {partners:?}")),
        })
        .await;
    }

    /// Waits until only this one has a call.
    pub async fn until_idle_but(&self, who: &str) {
        eventually(&format!("no live calls in the PBX but that of {who}"), async || {
            let (all, theirs) = (self.live_calls(), self.legs(who).len());
            if all == theirs { Ok(()) } else { Err(format!("{all} calls")) }
        })
        .await;
    }

    pub async fn until_idle(&self) {
        eventually("no live calls in the PBX", async || match self.live_calls() {
            0 => Ok(()),
            _ => Err(self.0.state()["calls"].to_string()),
        })
        .await;
    }
}

fn connections(state: &Value, tls: bool) -> Vec<Value> {
    let all = state["connections"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|connection| connection["tls"] == tls).collect()
}

/// Whether a live connection of this kind reports on every user and queue that is in a group.
pub(crate) fn monitors(state: &Value, tls: bool) -> bool {
    let objects = ["users", "queues"].into_iter().flat_map(|kind| state[kind].as_array().into_iter().flatten());
    let members = objects.filter(|object| object["groups"].as_array().is_some_and(|groups| !groups.is_empty()));
    let names: Vec<&Value> = members.map(|object| &object["cn"]).collect();
    connections(state, tls).iter().any(|connection| {
        let monitored = connection["monitored"].as_array().map(Vec::as_slice).unwrap_or_default();
        connection["silent"] == false && names.iter().all(|name| monitored.contains(name))
    })
}
