//! The simulator over HTTP.

use cloud_sim::{Cloud, Faults, serve};
use serde_json::json;

use crate::plain::item;
use crate::sdk::{Clients, code};

fn clients(address: std::net::SocketAddr) -> Clients {
    Clients::new(aws_smithy_http_client::Builder::new().build_http(), &format!("http://{address}"))
}

#[tokio::test]
async fn it_answers_over_http() {
    let server = serve(Cloud::builder(), 0).await.expect("a port");
    let (clients, cloud) = (clients(server.address), server.cloud.clone());
    let serving = tokio::spawn(server.run(std::future::pending()));
    let made = clients.queues.create_queue().queue_name("queue").send().await.expect("made");
    let url = made.queue_url().expect("its URL");
    assert_eq!(code(clients.queues.send_message().queue_url(url).message_body("x").send().await), "ok");
    assert_eq!(cloud.bodies("queue"), ["x"]);
    let put =
        || clients.tables.put_item().table_name("nowhere").set_item(Some(item(json!({"pk": "p", "sk": "s"})))).send();
    assert_eq!(code(put().await), "ResourceNotFoundException");
    cloud.set_faults(Faults { lost_answers: 1.0, ..Faults::none() });
    assert_ne!(code(put().await), "ResourceNotFoundException", "the answer breaks off");
    serving.abort();
}
