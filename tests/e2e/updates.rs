//! What changes on a live call besides its status, for a receiver that asks for it.

use easyconnect_tests::{Agent, Inbox, Pbx, Stack, eventually};
use serde_json::{Value, json};
use shared::webhook::{Kind, Settings};

const CUSTOMER: &str = "+32472591687";

/// Waits for an update of this kind at a user, in the order of what the receiver was told.
async fn until_told(inbox: &Inbox, user: &str, change: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{user} is told `{change}`"), async || {
        let events = inbox.events();
        let is_it = |event: &&Value| event["monitoredExtension"] == user && event["change"] == change && holds(event);
        events.iter().find(is_it).cloned().ok_or_else(|| format!("{events:?}"))
    })
    .await
}

/// A call to 42, answered and held; 42 calls 50, who answers; 42 transfers.
#[tokio::test(flavor = "multi_thread")]
async fn target_of_a_transfer_learns_the_customers_number_at_the_transfer() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let (inbox, plain) = (Inbox::start().await, Inbox::start().await);
    let kinds = [Kind::Call, Kind::CallUpdated].into();
    stack.register(Settings { kinds, ..Settings::new(inbox.url("/updates")) }).await;
    stack.register(Settings::new(plain.url("/plain"))).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;

    pbx.call(CUSTOMER, "42");
    pbx.answer("42");
    pbx.control("/hold", &json!({"extension": "42"}));
    let held = until_told(&inbox, "42", "held", |_| true).await;
    assert_eq!((&held["held"], &held["revision"]), (&json!(true), &json!(1)), "{held}");
    pbx.call("42", "50");
    pbx.answer("50");
    pbx.control("/transfer", &json!({"extension": "42"}));
    let at_50 = until_told(&inbox, "50", "parties", |event| event["fromE164"] == CUSTOMER).await;
    assert_eq!(at_50["status"], "connected", "the call goes on: {at_50}");

    // What has passed meanwhile is the same for who did not ask, without the updates.
    pbx.hang_up(CUSTOMER);
    eventually("the call of 50 is over", async || {
        let ends = plain.events().iter().filter(|event| event["status"] == "disconnected").count();
        if ends >= 3 { Ok(()) } else { Err(format!("{:?}", plain.events())) }
    })
    .await;
    assert!(plain.events().iter().all(|event| event.get("change").is_none()), "{:?}", plain.events());
}
