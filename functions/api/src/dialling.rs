//! Who may call whom, and the record of it: the guard against toll fraud.

use jiff::Timestamp;
use shared::agent_status::AgentStatus;
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::command::Command;
use shared::destination::{Judgement, Rules};
use shared::ids::CommandId;
use shared::number::DialString;
use shared::numbering::DialPrefixes;
use shared::operation::{Operation, Reach};
use shared::tables::{AuditEntry, StateTable};

use crate::errors::{ApiError, in_time};
use crate::limits::Calls;

/// What the operator's template says about calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    pub(crate) calls_per_hour: Option<u32>,
}

/// The prefixes of the PBX, as its agents have told them.
pub(crate) fn prefixes(agents: &[AgentStatus]) -> DialPrefixes {
    let told = agents.iter().map(|agent| &agent.prefixes).find(|prefixes| !prefixes.international.is_empty());
    told.cloned().unwrap_or_default()
}

/// Judges every destination of an operation. What no rule can judge is left to the agent, by way of the reach.
pub(crate) fn judge(
    operation: &Operation,
    key: &ApiKey,
    policy: &Policy,
    prefixes: &DialPrefixes,
) -> Result<Reach, ApiError> {
    let mut reach = Reach { extensions: key.extensions.clone(), ..Reach::default() };
    for destination in operation.destinations() {
        // It was parsed before; a number that cannot be parsed cannot be judged either.
        let parsed = DialString::parse(destination).ok();
        let judgements = [(&key.destinations, "The API key"), (&policy.rules, "This EasyConnect")];
        for (rules, who) in judgements {
            match parsed.as_ref().map_or(Judgement::Denied, |number| rules.judge(number, prefixes)) {
                Judgement::Allowed => {}
                Judgement::OnlyInternal => {
                    reach.internal_only.insert(destination.to_owned());
                }
                Judgement::Denied => {
                    let message = format!("{who} may not call {destination}.");
                    return Err(ApiError::with_message(Code::DestinationNotAllowed, message));
                }
            }
        }
    }
    Ok(reach)
}

/// Takes the places of an operation's calls in the hourly limits, if it places any.
pub(crate) async fn count(
    state: &StateTable,
    operation: &Operation,
    key: &ApiKey,
    policy: &Policy,
    now: Timestamp,
) -> Result<Option<Calls>, ApiError> {
    match operation.destinations().len() {
        0 => Ok(None),
        calls => Calls::take(state, key, policy.calls_per_hour, calls as i64, now).await.map(Some),
    }
}

/// Writes down a command's calls before they can be placed. A repeat writes the same entries.
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
) {
    let nonce = CommandId::random().to_string();
    for entry in entries(operation, key, prefixes, now.as_millisecond(), &nonce) {
        let _ = in_time(state.audit(&AuditEntry { refusal: Some(code), ..entry })).await;
    }
}

/// One entry for each destination.
fn entries(operation: &Operation, key: &ApiKey, prefixes: &DialPrefixes, time: i64, nonce: &str) -> Vec<AuditEntry> {
    let from = match operation {
        Operation::RedirectCall { call_id, .. } => call_id.to_string(),
        operation => operation.acting_extensions().first().copied().unwrap_or_default().to_owned(),
    };
    let entry = |(n, to): (usize, &&str)| AuditEntry {
        time,
        key_id: key.id.clone(),
        key_name: key.name.clone(),
        operation: operation.name().to_owned(),
        from: from.clone(),
        to: (*to).to_owned(),
        to_e164: DialString::parse(to).ok().and_then(|number| number.to_e164(prefixes)),
        command_id: None,
        refusal: None,
        nonce: format!("{nonce}#{n}"),
    };
    operation.destinations().iter().enumerate().map(entry).collect()
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
        let policy = Policy { rules: rules(&[], &["+32900*"]), calls_per_hour: None };
        let judged = |key: &ApiKey, to: &str| judge(&call(to), key, &policy, &belgium()).map_err(|error| error.message);
        assert_eq!(judged(&key, "+32472591687"), Ok(Reach::default()));
        assert_eq!(judged(&key, "+33123456"), Err("The API key may not call +33123456.".to_owned()));
        assert_eq!(judged(&key, "0090012345"), Err("This EasyConnect may not call 0090012345.".to_owned()));
        let internal = judged(&endless, "50").expect("left to the agent");
        assert!(internal.internal_only.contains("50"));
        assert_eq!(judge(&call("50"), &endless, &Policy::default(), &belgium()).expect("no rules"), Reach::default());
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
