//! Numbers of the feed that nobody uses: who reads closes them, and tells how many.

use std::time::Duration;

use tokio::time::sleep;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn each_gap_is_counted_by_who_closes_it() {
    let world = World::new(1);
    let first = world.state.reserve(3, &[]).await.expect("numbers");
    let head = world.state.feed_head().await.expect("the head");
    let read = async || world.state.feed(first - 1, 100, head).await.expect("the feed");
    let young = read().await;
    assert_eq!((young.waits, young.closed_gaps), (true, 0), "its writer may still come");

    sleep(Duration::from_secs(4)).await;
    let (one, other) = tokio::join!(read(), read());
    assert_eq!(one.closed_gaps + other.closed_gaps, 3, "{one:?} {other:?}");
    let later = read().await;
    assert_eq!((later.cursor, later.closed_gaps), (head.n, 0), "they are closed");
}

#[tokio::test(start_paused = true)]
async fn gaps_of_the_past_are_closed_and_not_counted() {
    let world = World::new(1);
    let first = world.state.reserve(3, &[]).await.expect("numbers");
    sleep(Duration::from_secs(2 * 60 * 60)).await;
    world.state.reserve(2, &[]).await.expect("numbers");
    sleep(Duration::from_secs(4)).await;
    let head = world.state.feed_head().await.expect("the head");
    // What comes behind the first three was reserved a moment ago, so nobody knows how old they are.
    let all = world.state.feed(first - 1, 100, head).await.expect("the feed");
    assert_eq!((all.cursor, all.closed_gaps), (head.n, 5));

    let first = world.state.reserve(3, &[]).await.expect("numbers");
    sleep(Duration::from_secs(2 * 60 * 60)).await;
    let head = world.state.feed_head().await.expect("the head");
    let all = world.state.feed(first - 1, 100, head).await.expect("the feed");
    assert_eq!((all.cursor, all.closed_gaps), (head.n, 0));
}
