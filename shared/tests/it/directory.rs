//! The directory: who is at home at which PBX.

use shared::address::Address;
use shared::tables::DirectoryEntry;

use crate::world::World;

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
