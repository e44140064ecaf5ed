//! Remote call control.

use axum::extract::State;
use jiff::Timestamp;
use shared::apikey::Scope;
use shared::codes::Code;
use shared::command::Operation;
use shared::ids::CommandId;

use super::Ctx;
use crate::answers::{self, Answer};
use crate::context::Context;
use crate::errors::{ApiError, in_time};
use crate::request::Incoming;
use crate::{auth, commands, validate};

pub(crate) async fn make_call(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, validate::make_call(&request)).await
}

pub(crate) async fn answer(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, validate::answer(&request)).await
}

pub(crate) async fn disconnect(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, validate::disconnect(&request)).await
}

pub(crate) async fn transfer(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, validate::transfer(&request)).await
}

pub(crate) async fn users(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::read(&context, &request, Ok(Operation::GetUsers)).await
}

pub(crate) async fn calls(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::read(&context, &request, Ok(Operation::GetCalls)).await
}

pub(crate) async fn call(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::read(&context, &request, validate::call(&request)).await
}

pub(crate) async fn command(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    follow_up(&context, &request).await.map_err(ApiError::for_read)
}

/// What became of a command. A key sees its own commands only; those of others do not exist for it, unless it administers.
async fn follow_up(context: &Context, request: &Incoming) -> Result<Answer, ApiError> {
    let key = context.keys.check(&request.key).await?;
    auth::require(&key, &[Scope::CallsRead, Scope::CallsWrite])?;
    request.only_params(&[])?;
    let id: CommandId = request.path_id("CommandId")?;
    let command = in_time(commands::look(&context.exchange, id)).await?;
    let now = Timestamp::now();
    let mine = |key_id: &str| key_id == key.id || key.scopes.contains(&Scope::Admin);
    match command {
        Some(command) if mine(&command.key_id) && command.expires_at > now.as_second() => {
            request.notes.command(id);
            Ok(answers::follow_up(&command, now))
        }
        _ => Err(ApiError::new(Code::CommandNotFound)),
    }
}
