//! Remote call control.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use shared::apikey::Scope;
use shared::codes::Code;
use shared::event::{CallEvent, ExtendedEvent};
use shared::ids::{CallId, CommandId};
use shared::operation::{Operation, Reach};

use crate::answers::{self, Answer};
use crate::context::{Context, Ctx};
use crate::errors::{ApiError, in_time, json};
use crate::operations::Requested;
use crate::request::Incoming;
use crate::{auth, commands, lists, operations};

pub(crate) async fn make_call(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::make_call(&request)).await
}

pub(crate) async fn answer(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::answer(&request)).await
}

pub(crate) async fn disconnect(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::disconnect(&request)).await
}

pub(crate) async fn hold(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::hold(&request)).await
}

pub(crate) async fn retrieve(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::retrieve(&request)).await
}

pub(crate) async fn transfer(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::transfer(&request)).await
}

pub(crate) async fn redirect(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::redirect(&request)).await
}

pub(crate) async fn park(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::park(&request)).await
}

pub(crate) async fn pick_up(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::pick_up(&request)).await
}

pub(crate) async fn dtmf(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::dtmf(&request)).await
}

pub(crate) async fn connect(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::connect(&request)).await
}

pub(crate) async fn user_info(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::user_info(&request)).await
}

pub(crate) async fn info(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::info(&request)).await
}

pub(crate) async fn control_phone(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::control_phone(&request)).await
}

pub(crate) async fn transfer_media(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::act(&context, &request, operations::transfer_media(&request)).await
}

pub(crate) async fn users(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    lists::list(&context, &request, &["cursor", "limit"], operations::users(&request)).await
}

pub(crate) async fn user(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::read(&context, &request, &[], operations::user(&request)).await
}

pub(crate) async fn calls(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    let requested = operations::calls(&request);
    let params = ["cursor", "extension", "limit"];
    match &requested {
        Ok(Requested { operation: Operation::GetCalls { extension: Some(_), .. }, .. }) => {
            commands::read(&context, &request, &params, requested).await
        }
        _ => lists::list(&context, &request, &params, requested).await,
    }
}

pub(crate) async fn call(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    commands::read(&context, &request, &[], operations::call(&request)).await
}

pub(crate) async fn call_events(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    history(&context, &request).await.map_err(ApiError::for_read)
}

/// What webhooks were told about a call. It is read from the table, so it needs no agent.
async fn history(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::CallsRead])?;
    request.only_params(&[])?;
    let call: CallId = request.path_id("callId")?;
    let events = in_time(context.state.call_events(call)).await?;
    let reach = Reach { extensions: key.extensions, ..Reach::default() };
    let visible = |event: &&CallEvent| reach.covers(&event.names());
    let events: Vec<ExtendedEvent<'_>> = events.iter().filter(visible).map(ExtendedEvent::from).collect();
    if events.is_empty() {
        return Err(ApiError::with_message(Code::CallNotFound, "No event of a call with this CallId is recorded."));
    }
    Ok(json(StatusCode::OK, &json!({"events": events})))
}

pub(crate) async fn command(State(context): Ctx, request: Incoming) -> Result<Answer, ApiError> {
    follow_up(&context, &request).await.map_err(ApiError::for_read)
}

/// What became of a command. A key sees its own commands only; those of others do not exist for it, unless it administers.
async fn follow_up(context: &Context, request: &Incoming) -> Result<Answer, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::CallsRead, Scope::CallsWrite])?;
    request.only_params(&[])?;
    let id: CommandId = request.path_id("commandId")?;
    let command = in_time(commands::look(context, id)).await?;
    let now = context.now();
    let mine = |key_id: &str| key_id == key.id || key.may(Scope::Admin);
    match command {
        Some(command) if mine(&command.key_id) && command.is_kept(now) => Ok(answers::follow_up(&command, now)),
        _ => Err(ApiError::new(Code::CommandNotFound)),
    }
}
