//! PBXs of a stack: their slots, and who is at home at which of them.

use cloud_sim::Faults;
use futures_util::future::join_all;
use shared::address::Address;
use shared::tables::{DirectoryEntry, SLOTS, SlotTaken};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn each_pbx_has_one_slot_and_the_ninth_none() {
    for seed in 0..10 {
        let world = World::new(seed);
        world.cloud.set_faults(Faults { lost_answers: 0.1, ..Faults::latency_only() });
        let take =
            async |n: usize| world.exchange.take_slot(&format!("pbx-{n}"), world.now()).await.expect("an answer");
        // Two agents of each PBX, all at once.
        let taken = join_all((0..SLOTS * 2).map(|n| take(n / 2))).await;
        let mut slots: Vec<usize> = taken
            .chunks(2)
            .map(|pair| {
                assert_eq!(pair[0], pair[1], "seed {seed}");
                let SlotTaken::Slot(slot) = pair[0] else { panic!("no slot: {taken:?}") };
                slot
            })
            .collect();
        slots.sort_unstable();
        assert_eq!(slots, (1..=SLOTS).collect::<Vec<_>>(), "seed {seed}");
        let SlotTaken::NoneLeft(others) = take(SLOTS).await else { panic!("a ninth slot") };
        assert_eq!(others.len(), SLOTS);
        // A slot is kept until somebody frees it.
        assert_eq!(take(3).await, taken[6]);
        let SlotTaken::Slot(freed) = taken[6] else { panic!("no slot") };
        world.exchange.free_slot(freed).await.expect("freed");
        assert_eq!(take(SLOTS).await, SlotTaken::Slot(freed));
        assert_eq!(world.exchange.pbx_slots().await.expect("slots").len(), SLOTS);
    }
}

#[tokio::test(start_paused = true)]
async fn queues_of_the_slots_are_told_by_the_functions() {
    let world = World::new(1);
    let exchange = &world.exchange;
    assert!(exchange.commands_queues().await.expect("an answer").is_empty());
    let urls = ["https://sqs.test/1", "https://sqs.test/2"].map(str::to_owned);
    exchange.tell_commands_queues(&urls).await.expect("written");
    assert_eq!(exchange.commands_queues().await.expect("queues"), urls);
    assert!(exchange.pbx_slots().await.expect("slots").is_empty());
}

fn user(pbx: &str, node: &str, extension: &str) -> DirectoryEntry {
    DirectoryEntry {
        guid: "3954ae7854c96301c9dd009033400109".to_owned(),
        pbx: pbx.to_owned(),
        node: node.to_owned(),
        extension: extension.to_owned(),
        name: "Thomas".to_owned(),
        kind: "user".to_owned(),
        ..DirectoryEntry::default()
    }
}

#[tokio::test(start_paused = true)]
async fn users_are_found_where_they_are() {
    let world = World::new(1);
    let exchange = &world.exchange;
    let found = async |address: &str| exchange.directory(Address::read(address)).await.expect("an answer");
    let before = user("master", "root", "42");
    exchange.enter(&before, None).await.expect("written");
    for address in ["42", "root/42", "THOMAS", &before.guid] {
        assert_eq!(found(address).await, std::slice::from_ref(&before), "{address}");
    }
    // A new extension takes the old one's entry away.
    let after = user("master", "root", "43");
    exchange.enter(&after, Some(&before)).await.expect("written");
    assert_eq!((found("42").await, found("43").await), (Vec::new(), vec![after.clone()]));
    assert_eq!(exchange.directory_of("master").await.expect("a list"), std::slice::from_ref(&after));
    // The user moves to another PBX, whose agent is quicker than the old one's.
    let moved = user("branch", "root", "43");
    exchange.enter(&moved, None).await.expect("written");
    exchange.strike_out(&after).await.expect("struck out");
    assert_eq!((found("43").await, found("thomas").await), (vec![moved.clone()], vec![moved.clone()]));
    assert!(exchange.directory_of("master").await.expect("a list").is_empty());
    assert_eq!(exchange.directory_of("branch").await.expect("a list"), std::slice::from_ref(&moved));
    exchange.strike_out(&moved).await.expect("struck out");
    assert!(found("43").await.is_empty());
}
