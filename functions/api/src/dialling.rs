//! Who may call whom, and the record of it: the guard against toll fraud.
//!
//! A request's calls are counted and written to the audit trail before they can be placed, so that nothing is dialled that is in neither. A
//! destination that no pattern can judge is left to the agent, which knows whether it is the extension of a visible user.

use jiff::Timestamp;
use shared::address::Address;
use shared::agent_status::AgentStatus;
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::command::Command;
use shared::destination::{Judgement, Rules};
use shared::ids::CommandId;
use shared::number::DialString;
use shared::numbering::{DialPrefixes, Reaches};
use shared::operation::{Operation, Reach};
use shared::tables::{AuditEntry, AuditKind, StateTable};
use uuid::Uuid;

use crate::errors::{ApiError, in_time};
use crate::limits::Calls;

/// What the operator's template says about calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    pub(crate) calls_per_hour: Option<u32>,
    /// Calls between the same two numbers in ten minutes: a guard against flows that call back whoever called back.
    pub(crate) calls_per_pair: Option<u32>,
}

/// The prefixes of everybody, as the agents have told them. None where PBXs differ: a number is judged with those of who dials it.
pub(crate) fn common_prefixes(agents: &[AgentStatus]) -> DialPrefixes {
    let mut told = agents.iter().map(|agent| &agent.prefixes).filter(|prefixes| !prefixes.international.is_empty());
    match told.next() {
        Some(first) if told.all(|prefixes| prefixes == first) => first.clone(),
        _ => DialPrefixes::default(),
    }
}

/// Judges every number of an operation. What only the agent can judge is left to it, by way of the reach.
pub(crate) fn judge(
    operation: &Operation,
    key: &ApiKey,
    policy: &Policy,
    prefixes: &DialPrefixes,
) -> Result<Reach, ApiError> {
    let mut reach = Reach { extensions: key.extensions.clone(), ..Reach::default() };
    let destinations = operation.destinations();
    for destination in &destinations {
        // It was parsed before; a number that cannot be parsed cannot be judged either.
        let reaches = DialString::parse(destination).map_or(Reaches::Unknown, |number| number.reaches(prefixes));
        for (rules, who) in [(&key.destinations, "The API key"), (&policy.rules, "This EasyConnect")] {
            match rules.judge(&reaches) {
                Judgement::Allowed => {}
                Judgement::OnlyInternal => {
                    reach.internal_only.insert((*destination).to_owned());
                }
                Judgement::Denied => {
                    let message = format!("{who} may not call {destination}.");
                    return Err(ApiError::with_message(Code::DestinationNotAllowed, message));
                }
            }
        }
    }
    if !destinations.is_empty() || operation.dials_digits() {
        reach.rules =
            [&key.destinations, &policy.rules].into_iter().filter(|rules| !rules.is_empty()).cloned().collect();
    }
    if let Some(number) = operation.caller_number() {
        reach.own_caller_number = judge_caller_number(number, key, prefixes)?;
    }
    Ok(reach)
}

/// Whether a number may be shown only if it is an extension, which the agent knows.
fn judge_caller_number(number: &str, key: &ApiKey, prefixes: &DialPrefixes) -> Result<bool, ApiError> {
    if e164(number, prefixes).is_some_and(|e164| key.caller_numbers.iter().any(|pattern| pattern.matches(&e164))) {
        return Ok(false);
    }
    // Of a name or a guid only the agent knows the extension.
    let can_be = |entry: &String| match Address::read(entry) {
        Address::Extension(extension) | Address::InNode { extension, .. } => extension == number,
        Address::Name(_) | Address::Guid(_) => true,
    };
    let can_be_own = key.extensions.as_ref().is_none_or(|list| list.iter().any(can_be));
    if can_be_own && !number.starts_with('+') {
        return Ok(true);
    }
    let message = format!("The API key may not show {number} as caller number.");
    Err(ApiError::with_message(Code::CallerNumberNotAllowed, message))
}

/// Counts an operation's calls against the limits, if it places any.
pub(crate) async fn count(
    state: &StateTable,
    (id, operation): (CommandId, &Operation),
    key: &ApiKey,
    policy: &Policy,
    prefixes: &DialPrefixes,
    now: Timestamp,
) -> Result<Option<Calls>, ApiError> {
    let amount = operation.placed_calls();
    if amount == 0 {
        return Ok(None);
    }
    let mut calls = Calls::new(id, amount.into(), now);
    calls.take(state, &format!("calls#{}", key.id), key.calls_per_hour, "The API key").await?;
    calls.take(state, "calls", policy.calls_per_hour, "This EasyConnect").await?;
    if let Some((pair, limit)) = operation.pair().zip(policy.calls_per_pair) {
        calls.take_pair(state, pair_name(pair, prefixes), limit).await?;
    }
    Ok(Some(calls))
}

/// The name under which calls between two numbers are counted, however they are written and whoever of them calls.
fn pair_name((a, b): (&str, &str), prefixes: &DialPrefixes) -> String {
    let mut names = [a, b].map(|typed| e164(typed, prefixes).unwrap_or_else(|| typed.to_owned()));
    names.sort();
    names.join("#")
}

/// A number in international form, if it has one on this PBX.
fn e164(typed: &str, prefixes: &DialPrefixes) -> Option<String> {
    DialString::parse(typed).ok()?.to_e164(prefixes)
}

/// Whether it belongs into the audit trail that an operation was refused for this reason.
pub(crate) fn is_audited(refusal: Code) -> bool {
    matches!(
        refusal,
        Code::DestinationNotAllowed | Code::CallerNumberNotAllowed | Code::TooManyCalls | Code::TooManyCallsToPair
    )
}

/// Writes down what a command dials, moves or ends before it can. A repeat writes the same entries.
pub(crate) async fn record(
    state: &StateTable,
    command: &Command,
    key: &ApiKey,
    prefixes: &DialPrefixes,
) -> Result<(), ApiError> {
    let id = command.command_id;
    for entry in entries(&command.operation, key, prefixes, command.created_at, &id.to_string()) {
        in_time(state.audit(&AuditEntry { command_id: Some(id), ..entry })).await?;
    }
    Ok(())
}

/// Writes down calls that were refused here. That they were refused matters more than whether it could be written.
pub(crate) async fn record_refused(
    state: &StateTable,
    operation: &Operation,
    key: &ApiKey,
    prefixes: &DialPrefixes,
    code: Code,
    now: Timestamp,
    nonce: Uuid,
) {
    for entry in entries(operation, key, prefixes, now.as_millisecond(), &nonce.to_string()) {
        let _ = in_time(state.audit(&AuditEntry { refusal: Some(code), ..entry })).await;
    }
}

/// One entry for each number, or one for a call that is moved or ended.
fn entries(operation: &Operation, key: &ApiKey, prefixes: &DialPrefixes, time: i64, nonce: &str) -> Vec<AuditEntry> {
    let entry = |(n, (from, to)): (usize, (String, String))| AuditEntry {
        time,
        kind: AuditKind::Call,
        key_id: key.id.clone(),
        key_name: key.name.clone(),
        operation: operation.name().to_owned(),
        to_e164: e164(&to, prefixes),
        from,
        to,
        caller_number: operation.caller_number().map(str::to_owned),
        nonce: format!("{nonce}#{n}"),
        ..AuditEntry::default()
    };
    subjects(operation).into_iter().enumerate().map(entry).collect()
}

/// Who calls whom, or which call is moved where, as often as it happens in an operation.
fn subjects(operation: &Operation) -> Vec<(String, String)> {
    match operation {
        Operation::TransferCall { call_id_a, call_id_b } | Operation::TransferMedia { call_id_a, call_id_b, .. } => {
            vec![(call_id_a.to_string(), call_id_b.to_string())]
        }
        Operation::DisconnectCall { call_id, .. } => vec![(call_id.to_string(), String::new())],
        Operation::SendInfo { call_id, digits, keypad, .. } => {
            [digits, keypad].into_iter().flatten().map(|digits| (call_id.to_string(), digits.clone())).collect()
        }
        operation => {
            let calls = operation.call_ids();
            let from = match operation {
                Operation::MakeCall { from, .. } => from.clone(),
                Operation::ConnectParties { via, .. } => via.clone(),
                Operation::PickUpCall { extension, .. } => extension.clone(),
                _ => calls.first().map(ToString::to_string).unwrap_or_default(),
            };
            operation.destinations().into_iter().map(|to| (from.clone(), to.to_owned())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::operation::DialOptions;

    use super::*;

    fn call(to: &str) -> Operation {
        Operation::MakeCall { from: "42".to_owned(), to: to.to_owned(), options: DialOptions::default() }
    }

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
        Rules { allow: parse(allow), deny: parse(deny) }
    }

    fn belgium() -> DialPrefixes {
        DialPrefixes {
            international: "000".to_owned(),
            national: "00".to_owned(),
            subscriber: "0".to_owned(),
            area: "2".to_owned(),
            country: "32".to_owned(),
        }
    }

    #[test]
    fn key_and_stack_both_have_a_say() {
        let endless = ApiKey::new("k".to_owned(), "crm".to_owned(), Vec::new());
        let key = ApiKey { destinations: rules(&["+32*"], &[]), ..endless.clone() };
        let policy = Policy { rules: rules(&[], &["+32900*"]), ..Policy::default() };
        let judged = |key: &ApiKey, to: &str| judge(&call(to), key, &policy, &belgium()).map_err(|error| error.message);
        assert_eq!(judged(&key, "+32472591687").map(|reach| reach.internal_only.len()), Ok(0));
        assert_eq!(judged(&key, "+33123456"), Err("The API key may not call +33123456.".to_owned()));
        assert_eq!(judged(&key, "0090012345"), Err("This EasyConnect may not call 0090012345.".to_owned()));
        assert_eq!(judged(&key, "+32472591687").expect("allowed").rules, [rules(&["+32*"], &[]), policy.rules.clone()]);
        let internal = judged(&endless, "50").expect("left to the agent");
        assert!(internal.internal_only.contains("50"));
        assert_eq!(judge(&call("50"), &endless, &Policy::default(), &belgium()).expect("no rules"), Reach::default());
    }

    #[test]
    fn a_caller_number_needs_an_allowance_of_its_own() {
        let key = ApiKey::new("k".to_owned(), "crm".to_owned(), Vec::new());
        let of_42 = ApiKey { extensions: Some(["42".to_owned()].into()), ..key.clone() };
        let desk = ApiKey { caller_numbers: vec!["+3225551*".parse().expect("a pattern")], ..of_42.clone() };
        let shown = |key: &ApiKey, number: &str| {
            let options = DialOptions { caller_number: Some(number.to_owned()), ..DialOptions::default() };
            let operation = Operation::MakeCall { from: "42".to_owned(), to: "50".to_owned(), options };
            judge(&operation, key, &Policy::default(), &belgium())
                .map(|reach| reach.own_caller_number)
                .map_err(|e| e.code)
        };
        assert_eq!(shown(&key, "43"), Ok(true), "the agent knows whether it is an extension");
        assert_eq!(shown(&of_42, "42"), Ok(true));
        for number in ["43", "+3225551234", "05551234"] {
            assert_eq!(shown(&of_42, number), Err(Code::CallerNumberNotAllowed), "{number}");
        }
        assert_eq!(shown(&key, "+3225551234"), Err(Code::CallerNumberNotAllowed));
        assert_eq!((shown(&desk, "+32 2 555 12 34"), shown(&desk, "05551234")), (Ok(false), Ok(false)));
        assert_eq!(shown(&desk, "+32472591687"), Err(Code::CallerNumberNotAllowed));
    }

    #[test]
    fn digits_of_a_number_are_judged_by_the_agent() {
        let info = Operation::SendInfo {
            call_id: shared::ids::CallId::from_uuid(Uuid::nil()),
            digits: Some("4".to_owned()),
            keypad: None,
            display: None,
        };
        let key =
            ApiKey { destinations: rules(&["+32*"], &[]), ..ApiKey::new("k".to_owned(), String::new(), Vec::new()) };
        let reach = judge(&info, &key, &Policy::default(), &belgium()).expect("left to the agent");
        assert_eq!(reach.rules, [rules(&["+32*"], &[])]);
        assert_eq!(entries(&info, &key, &belgium(), 7, "n").len(), 1);
    }

    #[test]
    fn a_pair_is_the_same_however_it_is_written() {
        let names =
            [("42", "+32472591687"), ("42", "00472591687"), ("00032 472 59 16 87", "42"), ("42", "+32 0472591687")];
        assert!(names.iter().all(|pair| pair_name(*pair, &belgium()) == "+32472591687#42"));
        assert_ne!(pair_name(("43", "+32472591687"), &belgium()), "+32472591687#42");
    }

    #[test]
    fn every_destination_is_written_down() {
        let connect = Operation::ConnectParties {
            via: "77".to_owned(),
            a: "50".to_owned(),
            b: "+32472591687".to_owned(),
            ring_seconds: 45,
        };
        let key = ApiKey::new("k".to_owned(), "crm".to_owned(), Vec::new());
        let entries = entries(&connect, &key, &belgium(), 7, "n");
        let shown: Vec<_> =
            entries.iter().map(|e| (e.from.as_str(), e.to.as_str(), e.to_e164.as_deref(), e.nonce.as_str())).collect();
        assert_eq!(shown, [("77", "50", None, "n#0"), ("77", "+32472591687", Some("+32472591687"), "n#1")]);
    }
}
