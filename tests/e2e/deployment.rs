//! New functions while calls run, deployed as an operator does it, and the way back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use easyconnect_tests::{Agent, Inbox, Pbx, Stack, eventually, paths, traffic};
use tokio::time::sleep;

const FUNCTIONS: [(&str, &str); 3] =
    [("api", "API_FUNCTION"), ("fanout", "FANOUT_FUNCTION"), ("deliver", "DELIVER_FUNCTION")];
/// Half a minute of calls, for longer than all deployments take.
const CALLS: usize = 120;
const EVERY: Duration = Duration::from_millis(250);
/// For so long calls meet what was deployed.
const RUNS: Duration = Duration::from_secs(3);

/// The same functions as other files: a program does not mind bytes behind its end.
fn another_build(stack: &Stack) -> PathBuf {
    let folder = stack.folder().join("another-build");
    std::fs::create_dir(&folder).expect("a folder");
    for (name, _) in FUNCTIONS {
        let mut program = std::fs::read(paths::binary(name)).expect("a program");
        program.push(0);
        std::fs::write(folder.join(name), program).expect("a copy");
    }
    folder
}

/// What each function runs at this moment.
async fn deployed(stack: &Stack) -> Vec<String> {
    let mut code = Vec::new();
    for (_, function) in FUNCTIONS {
        let configuration = stack.configuration(function).await;
        code.push(configuration["CodeSha256"].as_str().expect("a digest").to_owned());
    }
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_deployed_and_taken_back_while_calls_run() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    stack.subscribe(&inbox).await;
    let (first, over) = (deployed(&stack).await, AtomicBool::new(false));

    let deployments = async {
        let another = another_build(&stack);
        for _ in 0..3 {
            sleep(RUNS).await;
            stack.deploy(&another).await;
            let second = deployed(&stack).await;
            assert!(first.iter().zip(&second).all(|(first, second)| first != second), "{first:?} {second:?}");
            sleep(RUNS).await;
            stack.deploy(&paths::programs()).await;
            assert_eq!(deployed(&stack).await, first);
        }
        over.store(true, Ordering::Relaxed);
    };
    let requests = async {
        let mut asked = 0;
        while !over.load(Ordering::Relaxed) {
            stack.api.get("/rcc/users").await.ok();
            asked += 1;
            sleep(EVERY / 5).await;
        }
        asked
    };
    let ((), (), asked) = tokio::join!(traffic::place(&pbx, CALLS, EVERY), deployments, requests);
    assert!(asked > 50, "{asked} requests");

    eventually("each status of each call has come once and in order", async || {
        traffic::complaint(&traffic::by_call(&inbox.events()), CALLS).map_or(Ok(()), Err)
    })
    .await;
    for queue in ["EVENTS_QUEUE_URL", "DELIVERIES_QUEUE_URL"] {
        stack.until_empty(queue).await;
    }
    assert_eq!(traffic::complaint(&traffic::by_call(&inbox.events()), CALLS), None);
}
