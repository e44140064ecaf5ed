//! The earlier version: its own code, with the variables of its own template, at the cloud and the receivers of the story.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use before_shared::aws::Platform;
use before_shared::clock::{BootTime, Machine};
use before_shared::config::Vars;
use before_shared::random::Random;
use cloud_sim::Process;
use deliver::Transport;
use jiff::Timestamp;

use crate::api::key;
use crate::machine::{Chance, Variables, platform};
use crate::release::{Program, Release};
use crate::template::Template;

#[derive(Debug)]
pub(crate) struct Before(Template);

impl Before {
    pub(crate) fn new() -> Self {
        // Its figures are nobody's.
        before_shared::metrics::listen(|_| ());
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rolling/before/template.yaml");
        Self(Template::read_from(&template).with_parameter("AdminKeyHashes", key().1))
    }

    fn variables(&self, id: &str) -> Its<Variables> {
        Its(Variables::new(self.0.variables(id)))
    }
}

impl Release for Before {
    fn fanout(&self, process: &Process, chance: &Chance) -> Program {
        let context = before_fanout::Context::on(&its(platform(process, chance)), &self.variables("FanoutFunction"));
        let context = Arc::new(context.expect("a context"));
        Box::new(move |call, _deadline| {
            let context = context.clone();
            Box::pin(async move { Ok(before_fanout::handle(&context, serde_json::from_value(call)?).await) })
        })
    }

    fn deliver(&self, id: &str, process: &Process, chance: &Chance, way: Arc<dyn Transport>) -> Program {
        let (platform, way) = (its(platform(process, chance)), Arc::new(Its(way)));
        let context = before_deliver::Context::on(&platform, way, &self.variables(id)).expect("a context");
        let context = Arc::new(context);
        Box::new(move |call, deadline| {
            let context = context.clone();
            Box::pin(async move { Ok(before_deliver::handle(&context, serde_json::from_value(call)?, deadline).await) })
        })
    }

    fn api(&self, process: &Process, chance: &Chance) -> Router {
        let context = before_api::Context::on(&its(platform(process, chance)), &self.variables("ApiFunction"));
        before_api::router(context.expect("a context"))
    }
}

/// Something of the story, by the names of the earlier version.
#[derive(Debug)]
struct Its<T>(T);

impl Vars for Its<Variables> {
    fn get(&self, name: &str) -> Option<String> {
        shared::config::Vars::get(&self.0, name)
    }
}

impl Machine for Its<Arc<dyn shared::clock::Machine>> {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn boot(&self) -> BootTime {
        BootTime::after(self.0.boot().since(shared::clock::BootTime::after(Duration::ZERO)))
    }
}

impl before_deliver::Transport for Its<Arc<dyn Transport>> {
    fn send(&self, request: before_deliver::Request, at: Timestamp) -> before_deliver::Answering<'_> {
        let before_deliver::Request { url, headers, content } = request;
        let content = match content {
            before_deliver::Content::Json(body) => deliver::Content::Json(body),
            before_deliver::Content::Query => deliver::Content::Query,
        };
        Box::pin(async move {
            match self.0.send(deliver::Request { url, headers, content }, at).await {
                Ok(deliver::Answer { status, retry_after, text }) => {
                    Ok(before_deliver::Answer { status, retry_after, text })
                }
                Err(deliver::Failure::Timeout) => Err(before_deliver::Failure::Timeout),
                Err(_) => Err(before_deliver::Failure::Broken),
            }
        })
    }
}

pub(crate) fn its(platform: shared::aws::Platform) -> Platform {
    let shared::aws::Platform { machine, sleep, http_client, credentials, random } = platform;
    let random = Random::new(move |bytes| {
        // Sixteen at a time, as many as a UUID has.
        for part in bytes.chunks_mut(16) {
            part.copy_from_slice(&random.bytes::<16>()[..part.len()]);
        }
    });
    Platform { machine: Arc::new(Its(machine)), sleep, http_client, credentials, random }
}
