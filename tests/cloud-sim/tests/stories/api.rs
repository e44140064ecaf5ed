//! The REST API as its clients see it: requests to the real router, in environments that may die under them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use cloud_sim::Cloud;
use serde_json::Value as Json;
use shared::apikey::{KeyHash, key_of};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use crate::environments::Function;
use crate::machine::Chance;
use crate::release::Release;
use crate::template::FunctionPlan;

/// Before a client asks again that got no answer, or a 5xx.
const PATIENCE: Duration = Duration::from_secs(1);

/// Clones are the same API.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    cloud: Cloud,
    pub(crate) function: Arc<Function<Router>>,
    timeout: Duration,
    memory_mib: u32,
    key: String,
}

/// The key of all clients, and the hash of it that a deployment names.
pub(crate) fn key() -> (String, String) {
    let key = key_of([7; 32]);
    let hash = KeyHash::of(&key).expect("a key").as_str().to_owned();
    (key, hash)
}

impl Api {
    pub(crate) fn new(cloud: &Cloud, plan: &FunctionPlan, chance: &Chance, release: &Arc<dyn Release>) -> Self {
        let (release, luck) = (release.clone(), chance.clone());
        let function = Function::new(cloud, "api", chance, move |process, _present| release.api(process, &luck));
        Self { cloud: cloud.clone(), function, timeout: plan.timeout, memory_mib: plan.memory_mib, key: key().0 }
    }

    /// The same API for the owner of another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// One request. None: no answer came, because the function died or took too long.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Option<(u16, Json)> {
        let request = Request::builder().method(method).uri(path).header("x-api-key", &self.key);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let request = request.expect("a request");
        let deadline = self.cloud.now().checked_add(self.timeout).expect("a time");
        let answered = self.function.invoke(deadline, |router| async move {
            let response = Router::clone(&router).oneshot(request).await.expect("a router always answers");
            let (parts, body) = response.into_parts();
            (parts.status.as_u16(), to_bytes(body, usize::MAX).await.expect("a body"))
        });
        let begun = Instant::now();
        let answered = timeout(self.timeout, answered).await.ok().and_then(Result::ok);
        self.cloud.count_invocation("api", self.memory_mib, begun.elapsed(), answered.is_none());
        let (status, body) = answered?;
        let body = if body.is_empty() { Json::Null } else { serde_json::from_slice(&body).expect("JSON") };
        Some((status, body))
    }

    /// Asks until there is an answer that does not invite to ask again.
    pub(crate) async fn insist(&self, method: Method, path: &str, body: Option<&Json>) -> (u16, Json) {
        loop {
            match self.ask(method.clone(), path, body).await {
                Some((status, answer)) if answer["retryable"] != true => return (status, answer),
                _ => sleep(PATIENCE).await,
            }
        }
    }

    /// What a path shows, whatever it takes.
    pub(crate) async fn get(&self, path: &str) -> Json {
        let (status, answer) = self.insist(Method::GET, path, None).await;
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer
    }
}
