//! From a request to the operation it asks for. Nothing has been sent by then.

use serde_json::Value;
use shared::operation::{DialOptions, Operation, PageRequest};

use crate::errors::ApiError;
use crate::field_name::{FieldName, Source};
use crate::fields::Fields;
use crate::given::Given;
use crate::request::Incoming;

const LONGEST_DEVICE: usize = 64;
const LONGEST_USER_INFO: usize = 128;
const LONGEST_DISPLAY: usize = 64;
const HIGHEST_REMOTE_CONTROL: i64 = 38;
const HIGHEST_POSITION: i64 = 999;
const RING_SECONDS: u16 = 45;
const PAGE: u16 = 100;
/// The remote control codes whose meaning is documented.
const REMOTE_CONTROL_CODES: [i64; 26] =
    [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 16, 17, 18, 21, 22, 30, 31, 32, 33, 34, 35, 36, 37, 38];

/// An operation, and the name under which a repeat of the request is recognised.
#[derive(Debug)]
pub(crate) struct Requested {
    pub(crate) operation: Operation,
    pub(crate) idempotency_key: Option<String>,
}

impl From<Operation> for Requested {
    fn from(operation: Operation) -> Self {
        Self { operation, idempotency_key: None }
    }
}

/// Reads the body of an acting operation, which may have these fields and `requestId`.
fn requested(
    request: &Incoming,
    known: &[&str],
    operation: impl FnOnce(&Fields) -> Result<Operation, ApiError>,
) -> Result<Requested, ApiError> {
    let known: Vec<&str> = known.iter().copied().chain(["requestId"]).collect();
    let fields = request.fields(&known)?;
    let operation = operation(&fields)?;
    Ok(Requested { operation, idempotency_key: request.idempotency_key(&fields)? })
}

pub(crate) fn make_call(request: &Incoming) -> Result<Requested, ApiError> {
    let known = ["from", "to", "callerNumber", "clir", "ignoreForwarding", "audio", "remoteControl", "device"];
    requested(request, &known, |fields| {
        Ok(Operation::MakeCall {
            from: fields.extension("from")?,
            to: fields.destination("to")?,
            options: DialOptions {
                caller_number: fields.optional("callerNumber", Fields::destination)?,
                clir: fields.flag("clir", false)?,
                ignore_forwarding: fields.flag("ignoreForwarding", false)?,
                audio: fields.flag("audio", false)?,
                remote_control: remote_control(fields)?,
                device: fields.optional("device", |fields, name| fields.text(name, LONGEST_DEVICE))?,
            },
        })
    })
}

pub(crate) fn answer(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId"], |fields| Ok(Operation::AnswerCall { call_id: fields.call_id("CallId")? }))
}

pub(crate) fn disconnect(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "cause"], |fields| {
        Ok(Operation::DisconnectCall {
            call_id: fields.call_id("CallId")?,
            cause: fields.optional("cause", |fields, name| fields.integer(name, 1, 127))?.map(|cause| cause as u8),
        })
    })
}

pub(crate) fn hold(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "music"], |fields| {
        Ok(Operation::HoldCall { call_id: fields.call_id("CallId")?, music: fields.flag("music", true)? })
    })
}

pub(crate) fn retrieve(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId"], |fields| Ok(Operation::RetrieveCall { call_id: fields.call_id("CallId")? }))
}

pub(crate) fn transfer(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallIdA", "CallIdB"], |fields| {
        let (call_id_a, call_id_b) = two_calls(fields)?;
        Ok(Operation::TransferCall { call_id_a, call_id_b })
    })
}

pub(crate) fn redirect(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "to", "honourForwarding", "remoteControl"], |fields| {
        let (honour_forwarding, remote_control) = (fields.flag("honourForwarding", false)?, remote_control(fields)?);
        if honour_forwarding && remote_control.is_some() {
            return Err(ApiError::invalid(
                "Field `remoteControl` cannot go with `honourForwarding`: the PBX takes a code only where forwardings do not apply.",
            ));
        }
        let (call_id, to) = (fields.call_id("CallId")?, fields.destination("to")?);
        Ok(Operation::RedirectCall { call_id, to, honour_forwarding, remote_control })
    })
}

pub(crate) fn park(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "at", "position"], |fields| {
        Ok(Operation::ParkCall {
            call_id: fields.call_id("CallId")?,
            at: fields.optional("at", Fields::extension)?,
            position: fields
                .optional("position", |fields, name| fields.integer(name, 0, HIGHEST_POSITION))?
                .map(|position| position as u16),
        })
    })
}

pub(crate) fn pick_up(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["extension", "CallId", "at"], |fields| {
        if fields.has("CallId") == fields.has("at") {
            return Err(ApiError::invalid(
                "Give one of `CallId`, the call to pick up, and `at`, the extension where it rings or is parked.",
            ));
        }
        Ok(Operation::PickUpCall {
            extension: fields.extension("extension")?,
            call_id: fields.optional("CallId", Fields::call_id)?,
            at: fields.optional("at", Fields::extension)?,
        })
    })
}

pub(crate) fn dtmf(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "digits", "toOwnParty"], |fields| {
        Ok(Operation::SendDtmf {
            call_id: fields.call_id("CallId")?,
            digits: fields.digits("digits", true)?,
            to_own_party: fields.flag("toOwnParty", false)?,
        })
    })
}

pub(crate) fn connect(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["via", "a", "b", "ringSeconds"], |fields| {
        let (a, b) = (fields.destination("a")?, fields.destination("b")?);
        if a == b {
            return Err(ApiError::invalid("Fields `a` and `b` name the same party; two are joined."));
        }
        let ring_seconds = fields.optional("ringSeconds", |fields, name| fields.integer(name, 5, 120))?;
        let ring_seconds = ring_seconds.map_or(RING_SECONDS, |seconds| seconds as u16);
        Ok(Operation::ConnectParties { via: fields.extension("via")?, a, b, ring_seconds })
    })
}

pub(crate) fn user_info(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "uui", "toOwnParty"], |fields| {
        Ok(Operation::SendUserInfo {
            call_id: fields.call_id("CallId")?,
            uui: fields.text("uui", LONGEST_USER_INFO)?,
            to_own_party: fields.flag("toOwnParty", false)?,
        })
    })
}

pub(crate) fn info(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "digits", "keypad", "display"], |fields| {
        if !["digits", "keypad", "display"].iter().any(|name| fields.has(name)) {
            return Err(ApiError::invalid("Give at least one of `digits`, `keypad` and `display`."));
        }
        Ok(Operation::SendInfo {
            call_id: fields.call_id("CallId")?,
            digits: fields.optional("digits", |fields, name| fields.digits(name, false))?,
            keypad: fields.optional("keypad", |fields, name| fields.digits(name, false))?,
            display: fields.optional("display", |fields, name| fields.text(name, LONGEST_DISPLAY))?,
        })
    })
}

pub(crate) fn control_phone(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallId", "code"], |fields| {
        let code = fields.integer("code", 0, HIGHEST_REMOTE_CONTROL)?;
        if !REMOTE_CONTROL_CODES.contains(&code) {
            return Err(ApiError::invalid(format!(
                "Field `code` is {code}, whose meaning is not documented; the documented codes are {}.",
                REMOTE_CONTROL_CODES.map(|code| code.to_string()).join(", ")
            )));
        }
        Ok(Operation::RemoteControl { call_id: fields.call_id("CallId")?, code: code as u8 })
    })
}

pub(crate) fn transfer_media(request: &Incoming) -> Result<Requested, ApiError> {
    requested(request, &["CallIdA", "CallIdB", "user", "peer"], |fields| {
        let (call_id_a, call_id_b) = two_calls(fields)?;
        Ok(Operation::TransferMedia {
            call_id_a,
            call_id_b,
            user: fields.flag("user", false)?,
            peer: fields.flag("peer", false)?,
        })
    })
}

pub(crate) fn users(request: &Incoming) -> Result<Requested, ApiError> {
    Ok(Operation::GetUsers { page: page(request)? }.into())
}

pub(crate) fn user(request: &Incoming) -> Result<Requested, ApiError> {
    let extension = request.path("extension").unwrap_or_default();
    let address = request.path("node").map_or_else(|| extension.to_owned(), |node| format!("{node}/{extension}"));
    let extension = Value::from(address);
    let extension = Given::new(FieldName::new(Source::Path, "extension"), &extension).extension()?;
    Ok(Operation::GetUser { extension }.into())
}

pub(crate) fn calls(request: &Incoming) -> Result<Requested, ApiError> {
    let extension = request.query().optional("extension", Fields::extension)?;
    Ok(Operation::GetCalls { extension, page: page(request)? }.into())
}

pub(crate) fn call(request: &Incoming) -> Result<Requested, ApiError> {
    Ok(Operation::GetCall { call_id: request.path_id("callId")? }.into())
}

fn page(request: &Incoming) -> Result<PageRequest, ApiError> {
    Ok(PageRequest { cursor: request.cursor()?.map(str::to_owned), limit: request.limit(PAGE)? })
}

fn remote_control(fields: &Fields) -> Result<Option<u8>, ApiError> {
    let code = fields.optional("remoteControl", |fields, name| fields.integer(name, 0, HIGHEST_REMOTE_CONTROL))?;
    Ok(code.map(|code| code as u8))
}

fn two_calls(fields: &Fields) -> Result<(shared::ids::CallId, shared::ids::CallId), ApiError> {
    let (a, b) = (fields.call_id("CallIdA")?, fields.call_id("CallIdB")?);
    if a == b {
        return Err(ApiError::invalid("Fields `CallIdA` and `CallIdB` name the same call; two are needed."));
    }
    Ok((a, b))
}
