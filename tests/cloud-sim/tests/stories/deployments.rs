//! New versions of the functions while calls run: new environments everywhere, and the old ones end what they have begun.

use std::sync::Arc;
use std::time::Duration;

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use tokio::time::sleep;

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::release::{Present, Release};
use crate::seeds::{HALF_THE_SEEDS, OFTEN, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("good.example", Manners::good()).await;
    stack.webhook("slow.example", Manners::slow(Duration::from_secs(5))).await;
    stack.agent("rack");
    stack.poller("poller");
    let release: Arc<dyn Release> = Arc::new(Present(stack.template.clone()));
    let deployments = async {
        loop {
            sleep(Duration::from_secs(7)).await;
            stack.deploy(&release);
        }
    };
    let calls = tokio::select! {
        calls = stack.traffic(Traffic::usual(8)) => calls,
        () = deployments => unreachable!("they never end"),
    };
    stack.judge(&calls).await
}

#[test]
fn functions_are_deployed_while_calls_run() {
    tell_all(HALF_THE_SEEDS, || Faults::all(OFTEN), story).verdict("deployments");
}
