//! A version of the functions, as it is deployed. Most stories have the present one alone; stories of updates have an earlier one beside it.

use std::fmt::Debug;
use std::sync::Arc;

use aws_lambda_events::sqs::SqsBatchResponse;
use axum::Router;
use cloud_sim::Process;
use deliver::Transport;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::machine::{Chance, Variables, platform};
use crate::template::Template;

/// An environment of `fanout` or `deliver`: takes what Lambda invokes it with, and the moment at which it will be killed.
pub(crate) type Program =
    Box<dyn Fn(Json, Timestamp) -> BoxFuture<'static, anyhow::Result<SqsBatchResponse>> + Send + Sync>;

pub(crate) trait Release: Debug + Send + Sync {
    /// A new environment of `fanout`.
    fn fanout(&self, process: &Process, chance: &Chance) -> Program;

    /// A new environment of the function of this name in the template, whose program is `deliver`.
    fn deliver(&self, id: &str, process: &Process, chance: &Chance, way: Arc<dyn Transport>) -> Program;

    fn api(&self, process: &Process, chance: &Chance) -> Router;
}

/// The code beside this, with the variables of a template.
#[derive(Clone, Debug)]
pub(crate) struct Present(pub(crate) Template);

impl Release for Present {
    fn fanout(&self, process: &Process, chance: &Chance) -> Program {
        let variables = Variables::new(self.0.variables("FanoutFunction"));
        let context = Arc::new(fanout::Context::on(&platform(process, chance), &variables).expect("a context"));
        Box::new(move |call, _deadline| {
            let context = context.clone();
            Box::pin(async move { Ok(fanout::handle(&context, serde_json::from_value(call)?).await) })
        })
    }

    fn deliver(&self, id: &str, process: &Process, chance: &Chance, way: Arc<dyn Transport>) -> Program {
        let variables = Variables::new(self.0.variables(id));
        let context = Arc::new(deliver::Context::on(&platform(process, chance), way, &variables).expect("a context"));
        Box::new(move |call, deadline| {
            let context = context.clone();
            Box::pin(async move { Ok(deliver::handle(&context, serde_json::from_value(call)?, deadline).await) })
        })
    }

    fn api(&self, process: &Process, chance: &Chance) -> Router {
        let variables = Variables::new(self.0.variables("ApiFunction"));
        api::router(api::Context::on(&platform(process, chance), &variables).expect("a context"))
    }
}
