//! The simulator without sockets, on paused time.

use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use pbx_sim::Sim;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(start_paused = true)]
async fn pipe_is_a_connection() {
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let pbx = Sim::builder().seed(1).start_in_memory(began).unwrap();
    sleep(Duration::from_secs(3600)).await;
    let pipe = pbx.connect().unwrap();
    let (mut socket, _) = client_async("ws://pbx.test/PBX0/APPS/websocket", pipe).await.unwrap();
    socket.send(Message::text(json!({"mt": "AppChallenge"}).to_string())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    assert_eq!(answer["mt"], "AppChallengeResult");
    assert_eq!(pbx.log()[0]["at"], 1_700_003_600_000_u64, "an hour after the start");

    pbx.control("/fault", json!({"kind": "drop", "down_ms": 1000})).unwrap();
    assert!(pbx.connect().is_none());
    assert!(!matches!(socket.next().await, Some(Ok(_))), "the connection is over");
    sleep(Duration::from_secs(1)).await;
    assert!(pbx.connect().is_some());
}
