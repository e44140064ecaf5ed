//! The slots of PBXs: each has one, and nobody loses one to another PBX.

use std::time::Duration;

use cloud_sim::Faults;
use futures_util::future::join_all;
use serde_json::json;
use shared::tables::{SLOTS, SlotTaken};

use crate::world::World;

fn slot(taken: &SlotTaken) -> Option<usize> {
    match taken {
        SlotTaken::Slot(slot) => Some(*slot),
        SlotTaken::NoneLeft(_) => None,
    }
}

/// Two agents of each of ten PBXs ask at the same time: eight PBXs have a slot of their own, and both of their agents know it.
#[tokio::test(start_paused = true)]
async fn ten_pbxs_and_eight_slots() {
    for seed in 1..=20 {
        let world = World::new(seed);
        world.suffer(Faults { lost_answers: 0.1, ..Faults::latency_only() }, Duration::from_secs(600));
        let pbxs: Vec<String> = (0..10).map(|n| format!("pbx{n}")).collect();
        let asked = join_all(pbxs.iter().chain(&pbxs).map(|pbx| world.exchange.take_slot(pbx, SLOTS))).await;
        let taken: Vec<Option<usize>> = asked.into_iter().map(|taken| slot(&taken.expect("an answer"))).collect();
        assert_eq!(taken[..10], taken[10..], "seed {seed}: agents of one PBX know one slot");
        let mut slots: Vec<usize> = taken[..10].iter().flatten().copied().collect();
        slots.sort_unstable();
        assert_eq!(slots, (1..=SLOTS).collect::<Vec<_>>(), "seed {seed}");
        let known = world.exchange.pbx_slots().await.expect("the slots");
        assert!(pbxs.iter().zip(&taken).all(|(pbx, taken)| known.of(pbx) == *taken), "seed {seed}: {known:?}");
    }
}

/// What an agent that knows the first slot only may have.
#[tokio::test(start_paused = true)]
async fn who_has_one_queue_takes_the_first_slot_or_none() {
    let world = World::new(1);
    let take = async |pbx: &str, among| world.exchange.take_slot(pbx, among).await.expect("an answer");
    assert_eq!(take("master", 1).await, SlotTaken::Slot(1));
    let SlotTaken::NoneLeft(slots) = take("branch", 1).await else { panic!("there is one slot") };
    assert_eq!(slots.iter().collect::<Vec<_>>(), [(1, "master")]);
    assert_eq!(take("branch", SLOTS).await, SlotTaken::Slot(2));
    assert_eq!(take("branch", 1).await, SlotTaken::Slot(2), "its own, whoever asks");
}

/// The only PBX of an earlier version has the first slot, also when its agents are not heard of, and keeps it from agents that would take
/// it by the time when they were.
#[tokio::test(start_paused = true)]
async fn pbx_of_an_earlier_version_has_the_first_slot() {
    let world = World::new(1);
    let registered =
        json!({"pk": {"S": "PBX"}, "sk": {"S": "PBX"}, "pbxId": {"S": "master"}, "updatedAt": {"N": "1700000000000"}});
    world.cloud.ask("DynamoDB_20120810.PutItem", &json!({"TableName": "exchange", "Item": registered}));
    let heard = || world.cloud.items("exchange", "PBX")[0]["updatedAt"]["N"].clone();
    let exchange = &world.exchange;
    assert_eq!(exchange.take_slot("branch", SLOTS).await.expect("an answer"), SlotTaken::Slot(2));
    assert_eq!(heard(), "1700000000000");
    assert_eq!(exchange.take_slot("master", 1).await.expect("an answer"), SlotTaken::Slot(1));
    assert_eq!(heard(), "253402300799999");
    assert_eq!(exchange.pbx_slots().await.expect("the slots").free().next(), Some(3));
}
