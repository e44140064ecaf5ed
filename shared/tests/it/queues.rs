//! Batches that are too long.

use shared::queue::{Outgoing, Taken, chunks};

use crate::world::World;

fn message(n: usize, bytes: usize) -> Outgoing {
    Outgoing { group: format!("g{n}"), dedup: format!("d{n}"), body: "x".repeat(bytes) }
}

impl World {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Taken> {
        let mut taken = Vec::new();
        for chunk in chunks(messages) {
            taken.extend(self.queue.send_fifo(&messages[chunk]).await.expect("an answer"));
        }
        taken
    }
}

#[tokio::test(start_paused = true)]
async fn long_messages_go_in_several_requests() {
    let world = World::new(1);
    let messages: Vec<Outgoing> = (0..9).map(|n| message(n, 120_000)).collect();
    assert!(world.send(&messages).await.iter().all(Taken::is_yes));
    assert_eq!(world.cloud.depth("deliveries.fifo"), (9, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_queue_takes_is_hopeless() {
    let world = World::new(2);
    let taken = world.send(&[message(1, 1_100_000), message(2, 1)]).await;
    assert!(matches!(&taken[0], Taken::No { hopeless: true, .. }), "{taken:?}");
    assert!(taken[1].is_yes());
}
