//! Processes that are killed between their requests.

use cloud_sim::{Cloud, FaultKind, KillPoint, Killed};
use serde_json::json;

use crate::plain::item;
use crate::sdk::{Clients, code};
use crate::target::Target;

/// Three puts by a process that is killed; how many it saw succeed, and how many items there are then.
async fn killed(point: KillPoint) -> (u64, i32) {
    let cloud = Cloud::new();
    let table = Target::simulator(&cloud).table().await;
    let process = cloud.process("victim");
    process.kill_at(point);
    let clients = Clients::of(&process);
    let mut seen = 0;
    let work = async {
        for n in 0..3 {
            let put = clients.tables.put_item().table_name(&table);
            let put = put.set_item(Some(item(json!({"pk": "p", "sk": n.to_string()}))));
            seen += u64::from(code(put.send().await) == "ok");
        }
    };
    assert_eq!(process.run(work).await, Err(Killed));
    assert!(process.is_dead());
    assert_eq!(cloud.counts().of(FaultKind::Kill), 1);
    assert_eq!(process.run(async {}).await, Err(Killed), "a dead process runs nothing");
    let again = clients.tables.scan().table_name(&table).send().await;
    assert_eq!(code(again), "no answer", "nor does it ask anything");
    let scan = Clients::of(&cloud.process("other")).tables.scan().table_name(&table).send().await;
    (seen, scan.expect("an answer").count())
}

#[tokio::test(start_paused = true)]
async fn a_process_dies_before_or_after_a_request() {
    assert_eq!(killed(KillPoint::Before(1)).await, (0, 0));
    assert_eq!(killed(KillPoint::Before(3)).await, (2, 2));
    assert_eq!(killed(KillPoint::After(1)).await, (0, 1));
    assert_eq!(killed(KillPoint::After(3)).await, (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_waits_is_killed_there() {
    let cloud = Cloud::new();
    let process = cloud.process("waits");
    let kills = async {
        tokio::task::yield_now().await;
        process.kill();
    };
    let (ended, ()) = tokio::join!(process.run(std::future::pending::<()>()), kills);
    assert_eq!(ended, Err(Killed));
}
