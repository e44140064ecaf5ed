//! From a command to what its asker reads: one flat object per operation, with every property always present.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use shared::codes::Code;
use shared::command::{Command, CommandState, Refusal};
use shared::ids::CommandId;
use shared::operation::Operation;
use shared::time::{from_millis, iso_millis};

use crate::errors::{ApiError, json};

/// The properties of a call, in their order. What an agent calls the `state` of a call is shown as `callState`, because
/// beside the command's own `state` the name is taken.
const CALL: &[&str] = &[
    "CallId",
    "conferenceId",
    "extension",
    "node",
    "userName",
    "userGuid",
    "user",
    "from",
    "fromName",
    "to",
    "toName",
    "outgoing",
    "callState",
    "held",
    "heldByPeer",
    "startTime",
    "pickupTime",
];
/// What a long command shows of itself.
const CONNECTED: &[&str] = &["CallIdA", "CallIdB"];
const NEW_CALL: &[&str] = &["CallId", "conferenceId"];
const USER: &[&str] = &[
    "extension",
    "name",
    "title",
    "address",
    "userName",
    "node",
    "pbx",
    "longName",
    "guid",
    "type",
    "registered",
    "devices",
    "calls",
    "alerting",
];

#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    body: Flat,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        json(self.status, &self.body)
    }
}

/// A JSON object whose properties keep their order.
#[derive(Debug)]
pub(crate) struct Flat(Vec<(&'static str, Property)>);

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Property {
    Value(Value),
    List(Vec<Flat>),
}

impl Serialize for Flat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Flat {
    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, Property::Value(value.into())));
        self
    }

    /// These properties of an object; what it lacks is null, what else it has is left out.
    fn with_all(mut self, names: &'static [&'static str], object: Option<&Value>) -> Self {
        for name in names {
            let known = object.and_then(|object| object.get(if *name == "callState" { "state" } else { name }));
            self.0.push((name, Property::Value(known.cloned().unwrap_or_default())));
        }
        self
    }

    fn with_list(mut self, name: &'static str, names: &'static [&'static str], list: Option<&Value>) -> Self {
        let property = match list.and_then(Value::as_array) {
            None => Property::Value(Value::Null),
            Some(list) => {
                Property::List(list.iter().map(|object| Self(Vec::new()).with_all(names, Some(object))).collect())
            }
        };
        self.0.push((name, property));
        self
    }
}

/// What every answer about a command begins with.
fn bare(id: CommandId, state: CommandState) -> Flat {
    Flat(Vec::new()).with("commandId", id.to_string()).with("state", state_text(state))
}

/// The answer to the request that asked for the command: its result, its refusal, or that it is not known yet.
pub(crate) fn answer(command: &Command, now: Timestamp) -> Result<Answer, ApiError> {
    if let Some(refusal) = refusal(command) {
        return Err(ApiError::refused(&refusal, command.command_id));
    }
    let state = command.shown_state(now);
    let status = if state == CommandState::Succeeded { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(Answer { status, body: body(command, state) })
}

/// The answer when nobody can say any more what came of the command.
pub(crate) fn unknown(command: &Command) -> Answer {
    Answer { status: StatusCode::ACCEPTED, body: body(command, CommandState::Unknown) }
}

fn body(command: &Command, state: CommandState) -> Flat {
    let result = result(command);
    let result = result.as_ref();
    let part = |name: &str| result.and_then(|result| result.get(name));
    let body = bare(command.command_id, state);
    match &command.operation {
        Operation::MakeCall { .. } | Operation::ParkCall { .. } | Operation::PickUpCall { .. } => {
            body.with_all(NEW_CALL, result)
        }
        Operation::ConnectParties { .. } => {
            body.with("stage", stage(command)).with_all(CONNECTED, Some(&connected(command)))
        }
        Operation::GetUsers { .. } => page(body.with_list("users", USER, part("users")), part),
        Operation::GetUser { .. } => body.with_all(USER, part("user")),
        Operation::GetCalls { .. } => page(body.with_list("calls", CALL, part("calls")), part),
        Operation::GetCall { .. } => body.with_all(CALL, part("call")),
        Operation::AnswerCall { .. }
        | Operation::DisconnectCall { .. }
        | Operation::HoldCall { .. }
        | Operation::RetrieveCall { .. }
        | Operation::TransferCall { .. }
        | Operation::RedirectCall { .. }
        | Operation::SendDtmf { .. }
        | Operation::SendUserInfo { .. }
        | Operation::SendInfo { .. }
        | Operation::RemoteControl { .. }
        | Operation::TransferMedia { .. } => body,
    }
}

/// Where a list goes on, and which PBXs it lacks. An agent knows of its own PBX only.
fn page<'a>(body: Flat, part: impl Fn(&str) -> Option<&'a Value>) -> Flat {
    let missing = part("missingPbxs").cloned().unwrap_or_else(|| json!([]));
    body.with("nextCursor", part("nextCursor").cloned()).with("missingPbxs", missing)
}

/// The command as its resource: what was asked, how it stands, and the calls it is about.
pub(crate) fn follow_up(command: &Command, now: Timestamp) -> Answer {
    let result = result(command);
    let error = refusal(command).map(|refusal| {
        let error = ApiError::refused(&refusal, command.command_id);
        if command.operation.is_read() { error.for_read() } else { error }
    });
    let call_id = match &command.operation {
        Operation::MakeCall { .. } | Operation::ParkCall { .. } | Operation::PickUpCall { .. } => {
            result.as_ref().and_then(|result| result.get("CallId")).cloned()
        }
        operation => match operation.call_ids()[..] {
            [only] => Some(only.to_string().into()),
            _ => None,
        },
    };
    let call = result.as_ref().map(|result| result.get("call").unwrap_or(result));
    let body = bare(command.command_id, command.shown_state(now))
        .with("operation", command.operation.name())
        .with("createdAt", iso_millis(from_millis(command.created_at)))
        .with("updatedAt", iso_millis(from_millis(command.updated_at)))
        .with("code", error.as_ref().map(|error| error.code.as_str()))
        .with("message", error.as_ref().map(|error| error.message.as_str()))
        .with("retryable", error.as_ref().map(|error| error.retryable))
        .with("hint", error.as_ref().map(|error| error.code.meaning().hint))
        .with("CallId", call_id)
        .with_all(&["conferenceId"], call)
        .with("stage", stage(command))
        .with_all(CONNECTED, Some(&connected(command)));
    Answer { status: StatusCode::OK, body }
}

fn stage(command: &Command) -> Value {
    command.stage.and_then(|stage| serde_json::to_value(stage).ok()).unwrap_or_default()
}

/// The calls of a long command, as far as they are known.
fn connected(command: &Command) -> Value {
    let call = |n: usize| command.dials.get(n).and_then(|dial| dial.call_id).map(|call| call.to_string());
    json!({"CallIdA": call(0), "CallIdB": call(1)})
}

/// Why a command is over without a result. Nobody took an expired one.
fn refusal(command: &Command) -> Option<Refusal> {
    match command.state {
        CommandState::Failed => Some(command.refusal.clone().unwrap_or_else(|| Code::Refused.into())),
        CommandState::Expired => Some(Code::AgentNoAnswer.into()),
        _ => None,
    }
}

fn result(command: &Command) -> Option<Value> {
    serde_json::from_str(command.result.as_deref()?).ok()
}

fn state_text(state: CommandState) -> Value {
    serde_json::to_value(state).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use shared::command::{Dial, Stage};
    use shared::operation::PageRequest;

    use super::*;
    use crate::tests::{CALL_ID, command};

    const NOW: i64 = 1_700_000_001_000;

    fn succeeded(operation: Operation, result: &str) -> Command {
        Command { state: CommandState::Succeeded, result: Some(result.to_owned()), ..command(operation) }
    }

    fn make_call() -> Operation {
        Operation::MakeCall { from: "42".to_owned(), to: "50".to_owned(), options: Default::default() }
    }

    fn calls() -> Operation {
        Operation::GetCalls { extension: None, page: PageRequest::default() }
    }

    fn shown(command: &Command) -> (u16, String) {
        match answer(command, from_millis(NOW)) {
            Ok(answer) => (answer.status.as_u16(), serde_json::to_string_pretty(&answer.body).expect("json")),
            Err(error) => (error.status.as_u16(), format!("{}: {}", error.code.as_str(), error.message)),
        }
    }

    #[test]
    fn results_stand_beside_the_command() {
        let call_id = CALL_ID.parse().expect("an id");
        let call = format!(r#"{{"CallId":"{CALL_ID}","from":"42","state":"connected","held":false,"extra":1}}"#);
        let cases = [
            succeeded(make_call(), &format!(r#"{{"CallId":"{CALL_ID}","conferenceId":"e892"}}"#)),
            succeeded(Operation::AnswerCall { call_id }, "{}"),
            succeeded(
                Operation::GetUsers { page: PageRequest::default() },
                r#"{"users":[{"extension":"42","type":"user","devices":[{"hw":"x"}]}]}"#,
            ),
            succeeded(calls(), &format!(r#"{{"calls":[{call}]}}"#)),
            succeeded(Operation::GetCall { call_id }, &format!(r#"{{"call":{call}}}"#)),
        ];
        for case in cases {
            let (status, body) = shown(&case);
            assert_eq!(status, 200);
            insta::assert_snapshot!(format!("result_of_{}", case.operation.name()), body);
        }
    }

    #[test]
    fn while_there_is_no_answer_its_properties_are_null() {
        let (status, body) = shown(&command(make_call()));
        assert_eq!(status, 202);
        insta::assert_snapshot!("no_result_yet_of_MakeCall", body);
        insta::assert_snapshot!("no_result_yet_of_GetCalls", shown(&command(calls())).1);
    }

    #[test]
    fn a_long_command_shows_how_far_it_is() {
        let connect = Operation::ConnectParties { via: "77".into(), a: "50".into(), b: "51".into(), ring_seconds: 45 };
        let dial = |call_id| Dial { via: "77".into(), number: "50".into(), at: 0, call_id };
        let begun = Command {
            state: CommandState::Running,
            stage: Some(Stage::FirstAnswered),
            dials: vec![dial(CALL_ID.parse().ok()), dial(None)],
            ..command(connect)
        };
        insta::assert_snapshot!(shown(&begun).1);
    }

    #[test]
    fn a_silent_claim_is_unknown_and_no_error() {
        let silent = Command { state: CommandState::Running, updated_at: NOW - 61_000, ..command(make_call()) };
        let (status, body) = shown(&silent);
        assert_eq!(status, 202);
        assert!(body.contains(r#""state": "unknown""#), "{body}");
    }

    #[test]
    fn refusals_become_errors() {
        let busy = Refusal::with_detail(Code::UserBusy, "43 is busy.");
        let failed = Command { state: CommandState::Failed, refusal: Some(busy), ..command(make_call()) };
        assert_eq!(shown(&failed), (422, "user_busy: 43 is busy.".to_owned()));
        let expired = Command { state: CommandState::Expired, ..command(make_call()) };
        assert_eq!(shown(&expired).0, 409);
        assert!(shown(&expired).1.starts_with("agent_no_answer: "));
    }

    #[test]
    fn the_resource_has_everything() {
        let pretty = |command: &Command| {
            let answer = follow_up(command, from_millis(NOW));
            assert_eq!(answer.status, StatusCode::OK);
            serde_json::to_string_pretty(&answer.body).expect("json")
        };
        let result = format!(r#"{{"CallId":"{CALL_ID}","conferenceId":"e892"}}"#);
        insta::assert_snapshot!("resource_succeeded", pretty(&succeeded(make_call(), &result)));
        let call_id = CALL_ID.parse().expect("an id");
        let refused = Some(Code::NotAnswerable.into());
        let failed =
            Command { state: CommandState::Failed, refusal: refused, ..command(Operation::AnswerCall { call_id }) };
        insta::assert_snapshot!("resource_failed", pretty(&failed));
    }
}
