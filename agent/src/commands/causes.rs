//! Q.850 causes, with which the PBX or the network refuses or ends a call.

use shared::codes::Code;
use shared::command::Refusal;

/// What the API says of a cause.
pub(crate) fn code_of_cause(cause: u16) -> Code {
    match cause {
        1 | 3 | 22 | 28 => Code::UnallocatedNumber,
        17 => Code::UserBusy,
        18 | 19 | 102 => Code::NoAnswer,
        21 => Code::CallRejected,
        20 | 27 => Code::DestinationOutOfOrder,
        34 | 38 | 41 | 42 | 44 | 47 => Code::NetworkUnavailable,
        _ => Code::Refused,
    }
}

/// Why a call did not come about, or ended, by the cause that the PBX gave.
pub(crate) fn refusal_of_cause(cause: Option<u16>) -> Refusal {
    match cause {
        Some(cause) => {
            let code = code_of_cause(cause);
            Refusal::with_detail(code, format!("{} (cause {cause})", code.meaning().message))
        }
        None => Refusal::new(Code::Refused),
    }
}
