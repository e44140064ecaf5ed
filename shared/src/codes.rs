//! The one table of error codes: what an answer's `code` can be, its HTTP status, whether trying again can help, and how.
//!
//! A command that acts gets 409 and not 503 when nobody can carry it out. Low-code platforms repeat a 5xx for minutes, and a phone that
//! rings then is worse than an error. What a platform must not repeat is never a 5xx; reads may be.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the public contract says about one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub status: u16,
    pub retryable: bool,
    pub message: &'static str,
    pub hint: &'static str,
}

macro_rules! codes {
    ($($name:ident = $text:literal, $status:literal, $retryable:literal, $message:literal, $hint:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($name,)*
            /// Also stands for a code that a newer agent knows and this program does not.
            Refused,
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)* Self::Refused];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Refused => "pbx_refused",
                }
            }

            pub fn meaning(self) -> Meaning {
                match self {
                    $(Self::$name => Meaning { status: $status, retryable: $retryable, message: $message, hint: $hint },)*
                    Self::Refused => Meaning {
                        status: 422,
                        retryable: false,
                        message: "The PBX refused the operation.",
                        hint: "Look at the cause in the message; try the same by hand at a phone.",
                    },
                }
            }
        }
    };
}

codes! {
    // The request itself.
    InvalidRequest = "invalid_request", 400, false, "The request is not valid.",
        "Correct the named field and send the request again.";
    MissingKey = "missing_key", 401, false, "No API key was given.",
        "Pass the key as query parameter `apikey`, as header `X-API-Key` or as `Authorization: Bearer`.";
    InvalidKey = "invalid_key", 401, false, "The API key is not valid.",
        "Check for missing characters; if the key was revoked or has expired, create a new one.";
    KeyDisabled = "key_disabled", 401, false, "The API key is disabled.",
        "Have an administrator enable it with PATCH /apikeys/{apiKeyId}, or use another key.";
    MissingScope = "missing_scope", 403, false, "The API key may not do this.",
        "Use a key with the scope that the message names.";
    ExtensionNotAllowed = "extension_not_allowed", 403, false, "The API key may not act for this extension.",
        "Use a key whose list of extensions has this one.";
    DestinationNotAllowed = "destination_not_allowed", 403, false, "The API key or the stack may not call this destination.",
        "Ask an administrator for a key whose destination patterns allow the number.";
    CallerNumberNotAllowed = "caller_number_not_allowed", 403, false, "The API key may not show this caller number.",
        "Show an extension that the key may act for, or ask an administrator for a key with `callerNumbers`.";
    AmbiguousExtension = "ambiguous_extension", 409, false, "More than one user or queue has this extension.",
        "Name the one that is meant with its node, as in `node/42`, or by its name or guid.";
    RateLimited = "rate_limited", 429, true, "The API key sends too many requests.",
        "Wait for the time in `retryAfter`, then go on more slowly.";
    TooManyCalls = "too_many_calls", 429, true, "The hourly number of calls is used up.",
        "Wait for the time in `retryAfter`, or ask an administrator for a higher limit.";
    TooManyCallsToPair = "too_many_calls_to_pair", 429, true, "There were too many calls between these two numbers.",
        "Look for a flow that calls back whoever did not answer; wait for the time in `retryAfter`, or raise CallsPerPair.";
    TooManyPolls = "too_many_polls", 429, true, "Too many requests wait for events at once.",
        "Wait for the time in `retryAfter`, ask with `wait=0`, or let one poll serve all that need the events.";
    NotFound = "not_found", 404, false, "There is no such resource.",
        "Compare the path with the list of requests in the documentation.";
    MethodNotAllowed = "method_not_allowed", 405, false, "The resource does not know this HTTP method.",
        "Compare the method with the list of requests in the documentation.";
    CommandNotFound = "command_not_found", 404, false, "There is no command with this id.",
        "Commands are kept for 24 hours; use the commandId of an answer.";
    CallNotFound = "call_not_found", 404, false, "No live call has this CallId.",
        "The call may have ended; list the live calls with GET /rcc/calls.";
    NotMonitored = "not_monitored", 404, false, "No monitored user or queue has this extension.",
        "Add the user or queue to the PBX group in which the EasyConnect app is an active member.";
    UserNotFound = "user_not_found", 404, false, "No visible user or queue has this extension.",
        "List the users with GET /rcc/users.";
    DeviceNotFound = "device_not_found", 404, false, "The user has no registered device with this hardware id.",
        "Use `hw` of one of the user's devices in GET /rcc/users.";
    ApiKeyNotFound = "apikey_not_found", 404, false, "There is no API key with this id.",
        "List the keys with GET /apikeys.";
    WebhookNotFound = "webhook_not_found", 404, false, "There is no webhook with this id.",
        "List the webhooks with GET /webhooks.";
    DeliveryNotFound = "delivery_not_found", 404, false, "There is no delivery with this id, or it was a test or a notice, or it is older than the stack's `KeepDays`.",
        "List the deliveries of a webhook with GET /webhooks/{webhookId}/deliveries.";
    DeliveryUnderWay = "delivery_under_way", 409, false, "The delivery is still on its way.",
        "It is tried again by itself; see its state with GET /deliveries/{deliveryId}, and replay what failed or expired.";
    TooManyWebhooks = "too_many_webhooks", 409, false, "The stack has as many webhooks as it may have.",
        "Delete one, or have the operator raise the parameter MaxWebhooks.";
    TooManySecrets = "too_many_secrets", 409, false, "The webhook's secret was replaced too often within a day.",
        "Wait until the earliest of its secrets is a day old; then it can be replaced again.";
    TooManyKeys = "too_many_keys", 409, false, "Two live API keys have this name already.",
        "Delete the older one, or choose another name.";
    IdempotencyConflict = "idempotency_conflict", 409, false, "This idempotency key was used with another request.",
        "Use a new key for a new request; repeat a request unchanged.";
    // Nobody can act.
    AgentOffline = "agent_offline", 409, false, "No EasyConnect agent is online.",
        "Start the agent beside the PBX; nothing was dialled and nothing will be.";
    PbxOffline = "pbx_offline", 409, false, "The agent has no connection to the PBX.",
        "See GET /status and the agent's log; nothing was dialled and nothing will be.";
    AgentNoAnswer = "agent_no_answer", 409, false, "No agent took the command in time; it has expired and will not be carried out.",
        "See GET /status; send the request again with a new idempotency key when the agent is back.";
    Unavailable = "unavailable", 409, true, "EasyConnect's cloud side cannot handle the request at the moment.",
        "This request sent nothing to the PBX and will not; try again in a moment.";
    // The PBX or the network said no.
    InvalidNumber = "invalid_number", 422, false, "The number cannot be dialled.",
        "Use an extension, or an outside number such as +44 20 7946 0123.";
    UnallocatedNumber = "unallocated_number", 422, false, "Nobody has this number.",
        "Check the number and the prefix for outside lines.";
    UserBusy = "user_busy", 422, true, "The called party is busy.",
        "Try again later.";
    NoAnswer = "no_answer", 422, true, "The called party did not answer.",
        "Try again later.";
    CallRejected = "call_rejected", 422, false, "The call was rejected.",
        "The called party or the network turned the call down.";
    DestinationOutOfOrder = "destination_out_of_order", 422, true, "The destination is not registered or out of order.",
        "Check that the phone is connected, then try again.";
    NetworkUnavailable = "network_unavailable", 422, true, "The telephone network has no way or no free line.",
        "Try again in a moment; if it lasts, check the trunk.";
    NotAnswerable = "not_answerable", 422, false, "The call is not ringing at a phone that can be answered from here.",
        "Only a ringing incoming call can be answered, on a phone that supports it.";
    NotTransferable = "not_transferable", 422, false, "The two calls cannot be joined.",
        "Both must be live calls of one user or queue.";
    NotConnected = "not_connected", 422, false, "The call is not in a state in which this can be done.",
        "The call has to be answered; look at it with GET /rcc/calls.";
    NotHeld = "not_held", 422, false, "The call is not on hold.",
        "Only a call that this user holds can be retrieved.";
    NotRedirectable = "not_redirectable", 422, false, "The call cannot be redirected.",
        "It has to ring or be answered at a monitored user, and the destination has to exist.";
    NotParkable = "not_parkable", 422, false, "The call cannot be parked.",
        "It has to be answered, and the place has to be free.";
    NothingToPickUp = "nothing_to_pick_up", 422, false, "There is no call to pick up.",
        "The call has to ring or be parked, and the user who picks it up needs a registered phone.";
    PbxTimeout = "pbx_timeout", 422, false, "The PBX did not show in time what came of the operation; it may have been carried out.",
        "Look at the live calls before you try again.";
    Interrupted = "interrupted", 422, false, "The connection to the PBX was lost while the operation ran.",
        "Look at the live calls before you try again.";
    // Ours.
    Internal = "internal_error", 500, false, "EasyConnect failed to handle the request.",
        "Nothing was sent to the PBX. The function's log has the cause.";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_snake_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "`{text}` stands twice");
            assert!(text.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{text}");
            assert_eq!(serde_json::to_value(code).expect("json"), text);
            assert!((400..600).contains(&code.meaning().status));
        }
        insta::assert_debug_snapshot!(seen);
    }

    #[test]
    fn only_our_own_fault_is_a_server_error() {
        for code in Code::ALL {
            assert_eq!(code.meaning().status >= 500, *code == Code::Internal, "{}", code.as_str());
        }
    }

    #[test]
    fn a_code_from_a_newer_agent_is_still_a_refusal() {
        let code: Code = serde_json::from_str(r#""something_new""#).expect("a code");
        assert_eq!(code, Code::Refused);
    }
}
