//! The core stories: what happens at the PBX, and which events have to come of it.

use std::time::Duration;

use cloud_sim::Cloud;
use cloud_sim::story::Ledger;
use serde_json::{Map, Value as Json, json};
use tokio::time::sleep;

use super::rig::{CALLER, OUTSIDE, Rig};

/// Longer than a connection without a sign of life may last.
const LONG_TALK: Duration = Duration::from_secs(70);

/// How switches are set; what is not named is plain.
pub(crate) type Setting = Map<String, Json>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    Missed,
    Answered,
    Outgoing,
    QueueDialOut,
    Transfer,
    Hold,
    Redirect,
    ParkAndPickup,
    Reconnect,
    TwoAgents,
}

pub(crate) const PLOTS: [Plot; 10] = [
    Plot::Missed,
    Plot::Answered,
    Plot::Outgoing,
    Plot::QueueDialOut,
    Plot::Transfer,
    Plot::Hold,
    Plot::Redirect,
    Plot::ParkAndPickup,
    Plot::Reconnect,
    Plot::TwoAgents,
];

/// What a PBX with these switches lets be known.
struct Known {
    rings: bool,
    /// The number of the caller from outside.
    caller: &'static str,
    /// A call that is picked up rings first.
    picked_rings: bool,
    /// Who has changed in a call is told.
    changes: bool,
    /// That the peer holds is told.
    peer_holds: bool,
    /// A call that goes on while the connection is lost can be seen to go on.
    goes_on: bool,
}

impl Known {
    fn with(quirks: &Setting) -> Self {
        let is = |name: &str, value: Json| quirks.get(name) == Some(&value);
        Self {
            rings: !is("skip_alert", true.into()),
            caller: if is("clir", true.into()) { "" } else { OUTSIDE },
            picked_rings: is("pickup_alerts", true.into()),
            peer_holds: !is("omit_held_bit", true.into()),
            goes_on: !is("report_running", false.into())
                || !(is("channel", "absent".into()) || is("channel", "frozen".into())),
            changes: !is("empty_peer", true.into()) && !is("omit_peer", "later".into()),
        }
    }

    /// An incoming call that is answered: `from` while it rings and later.
    fn incoming(&self, who: &str, from: &str, later: &str) -> String {
        let later = if self.changes { later } else { from };
        let rings = if self.rings { format!("ringing({from}>{who}) in vain, ") } else { String::new() };
        format!("{who} is called: {rings}connected({from}>{who}), disconnected({later}>{who})")
    }

    fn missed(&self, who: &str, from: &str) -> String {
        let rings = if self.rings { format!("ringing({from}>{who}) in vain, ") } else { String::new() };
        format!("{who} is called: {rings}disconnected({from}>{who}) in vain")
    }
}

fn outgoing(who: &str, to: &str) -> String {
    format!("{who} calls: connected({who}>{to}), disconnected({who}>{to})")
}

impl Plot {
    /// Tells the story at a PBX with these switches.
    pub(crate) async fn tell(self, cloud: Cloud, ledger: Ledger, quirks: &Setting) {
        let agents: &[&str] = if self == Self::TwoAgents { &["rack", "attic"] } else { &["rack"] };
        let rig = Rig::start(cloud, ledger, quirks, agents).await;
        let known = Known::with(quirks);
        let expected = match self {
            Self::Missed => missed(&rig, &known).await,
            Self::Answered | Self::TwoAgents => answered(&rig, &known).await,
            Self::Outgoing => outgoing_call(&rig).await,
            Self::QueueDialOut => queue_dial_out(&rig).await,
            Self::Transfer => transfer(&rig, &known).await,
            Self::Hold => hold(&rig, &known).await,
            Self::Redirect => redirect(&rig, &known).await,
            Self::ParkAndPickup => park_and_pickup(&rig, &known).await,
            Self::Reconnect => reconnect(&rig, &known).await,
        };
        let mut expected = vec![expected];
        expected[0].sort();
        if !known.goes_on {
            // Then its end is inferred, be it too early.
            expected.push(expected[0].iter().map(|line| format!("{line}, which is inferred")).collect());
        }
        rig.judge(&expected).await;
    }
}

/// By somebody with two phones.
async fn missed(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "43").await;
    rig.hang_up(CALLER).await;
    vec![known.missed("43", known.caller)]
}

async fn answered(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "42").await;
    rig.answer("42").await;
    sleep(LONG_TALK).await;
    rig.hang_up("42").await;
    vec![known.incoming("42", known.caller, known.caller)]
}

async fn outgoing_call(rig: &Rig) -> Vec<String> {
    rig.call("42", OUTSIDE).await;
    rig.answer(CALLER).await;
    rig.hang_up(CALLER).await;
    vec![outgoing("42", OUTSIDE)]
}

/// By a command. That it acts once is seen at the PBX.
async fn queue_dial_out(rig: &Rig) -> Vec<String> {
    rig.act("/behaviour", json!({"extension": CALLER, "mode": "answer", "after_ms": 3_000})).await;
    rig.command("/rcc/makecall", json!({"from": "77", "to": CALLER})).await;
    sleep(Duration::from_secs(5)).await;
    rig.hang_up(CALLER).await;
    let dialled = rig.pbx.log().iter().filter(|entry| entry["mt"] == "UserCall").count();
    if dialled != 1 {
        rig.ledger.wrong(format!("the PBX was told {dialled} times to dial"));
    }
    vec![outgoing("77", OUTSIDE)]
}

/// 42 answers, asks 44, and joins the two.
async fn transfer(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "42").await;
    rig.answer("42").await;
    let first = rig.call_of("42").await;
    rig.call("42", "44").await;
    rig.answer("44").await;
    let second = rig.call_of("42").await;
    rig.command("/rcc/transfer", json!({"CallIdA": first, "CallIdB": second})).await;
    rig.hang_up("44").await;
    vec![
        known.incoming("42", known.caller, known.caller),
        outgoing("42", "44"),
        known.incoming("44", "42", known.caller),
    ]
}

async fn hold(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "42").await;
    rig.answer("42").await;
    let call = rig.call_of("42").await;
    rig.command("/rcc/hold", json!({"CallId": call})).await;
    rig.command("/rcc/retrieve", json!({"CallId": call})).await;
    // The same by the keys of both phones.
    for who in ["42", CALLER] {
        rig.act("/hold", json!({"extension": who})).await;
        rig.act("/retrieve", json!({"extension": who})).await;
    }
    rig.hang_up("42").await;
    let expected = ["held", "retrieved"].repeat(if known.peer_holds { 3 } else { 2 });
    let changes = rig.changes_of("42");
    if changes != expected {
        rig.ledger.wrong(format!("it was {changes:?} instead of {expected:?}"));
    }
    vec![known.incoming("42", known.caller, known.caller)]
}

/// While it talks.
async fn redirect(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "42").await;
    rig.answer("42").await;
    let call = rig.call_of("42").await;
    rig.command("/rcc/redirect", json!({"CallId": call, "to": "44"})).await;
    rig.answer("44").await;
    rig.hang_up("44").await;
    vec![known.incoming("42", known.caller, known.caller), known.incoming("44", known.caller, known.caller)]
}

async fn park_and_pickup(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "42").await;
    rig.answer("42").await;
    let call = rig.call_of("42").await;
    let parked = rig.command("/rcc/park", json!({"CallId": call})).await;
    rig.command("/rcc/pickup", json!({"extension": "44", "CallId": parked["CallId"]})).await;
    rig.hang_up("44").await;
    vec![
        known.incoming("42", known.caller, known.caller),
        if known.picked_rings {
            known.incoming("44", known.caller, known.caller)
        } else {
            format!("44 is called: connected({0}>44), disconnected({0}>44)", known.caller)
        },
    ]
}

/// The connection is lost while somebody talks.
async fn reconnect(rig: &Rig, known: &Known) -> Vec<String> {
    rig.call(CALLER, "42").await;
    rig.answer("42").await;
    rig.act("/fault", json!({"kind": "drop", "down_ms": 3_000})).await;
    sleep(Duration::from_secs(20)).await;
    rig.hang_up("42").await;
    vec![known.incoming("42", known.caller, known.caller)]
}
