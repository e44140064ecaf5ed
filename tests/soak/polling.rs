//! A poller and a webhook are told the same, whatever an agent goes through.

use std::time::Duration;

use easyconnect_tests::polling::{self, Story};

#[tokio::test(flavor = "multi_thread")]
async fn poller_and_webhook_agree_while_one_agent_loses_its_queue_for_two_minutes() {
    polling::tell(Story { calls: 600, every: Duration::from_millis(300), cut: Duration::from_secs(120) }).await;
}
