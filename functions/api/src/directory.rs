//! Who is meant by an address, as the agents have written it into the directory: one small read.
//!
//! Who is out of a key's reach does not exist for it, so an extension of several nodes is ambiguous only for a key that reaches more than
//! one of them. An older agent writes no directory; then addresses are extensions, as they were, and the agent finds who is meant.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::address::{self, Address};
use shared::agent_status::AgentStatus;
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::event::CallEvent;
use shared::ids::CallId;
use shared::numbering::DialPrefixes;
use shared::operation::{Operation, Reach};
use shared::tables::{DirectoryEntry, of_fresh_pbxs};

use crate::context::Context;
use crate::errors::{ApiError, in_time};
use crate::{dialling, doorbells};

const READS_AT_ONCE: usize = 8;

/// Who acts in an operation.
#[derive(Debug, Default)]
pub(crate) struct Actor {
    /// None if the directory does not know.
    entry: Option<DirectoryEntry>,
    /// The PBX that the call was reported by which is to be moved.
    pbx_of_call: Option<String>,
}

impl Actor {
    /// The prefixes with which the actor dials.
    pub(crate) fn prefixes(&self, agents: &[AgentStatus]) -> DialPrefixes {
        let told = self.entry.as_ref().map(|entry| &entry.prefixes);
        told.filter(|told| **told != DialPrefixes::default())
            .cloned()
            .unwrap_or_else(|| dialling::common_prefixes(agents))
    }

    /// The PBX that the actor is at home at.
    pub(crate) fn pbx(&self) -> Option<&str> {
        self.entry.as_ref().map(|entry| entry.pbx.as_str())
    }
}

/// What the directory says about the addresses of an operation, before it is known which agents are there.
#[derive(Debug, Default)]
pub(crate) struct Found {
    addresses: Vec<(String, Vec<DirectoryEntry>)>,
    /// The user of the call that is to be moved.
    of_call: Vec<DirectoryEntry>,
    /// The PBX that this call was reported by.
    pbx_of_call: Option<String>,
}

/// Reads what an operation needs to know.
pub(crate) async fn look_up(context: &Context, operation: &Operation) -> Result<Found, ApiError> {
    let mut found = Found::default();
    for address in operation.acting_extensions() {
        let entries = in_time(context.exchange.directory(Address::read(address))).await?;
        found.addresses.push((address.to_owned(), entries));
    }
    if let Operation::RedirectCall { call_id, .. } = operation
        && let Some(event) = latest_event_of(context, *call_id).await?
    {
        found.of_call = in_time(context.exchange.directory(Address::Guid(&event.user_guid))).await?;
        found.pbx_of_call = Some(event.pbx_id);
    }
    Ok(found)
}

/// What tells whose call it is and at which PBX, as far as it is recorded.
async fn latest_event_of(context: &Context, call: CallId) -> Result<Option<CallEvent>, ApiError> {
    Ok(in_time(context.state.call_events(call)).await?.pop())
}

/// The PBX whose agents are to carry out an operation, as far as that is known: the one that the call is at, else the one that the actor is
/// at home at. A call is looked for only where it may be at another PBX.
pub(crate) async fn pbx_of(
    context: &Context,
    operation: &Operation,
    actor: &Actor,
    agents: &[AgentStatus],
) -> Result<Option<String>, ApiError> {
    let at_home = || actor.pbx().map(str::to_owned);
    let calls = operation.call_ids();
    // Who picks a call up is named beside it.
    let Some(call) = calls.first().filter(|_| !matches!(operation, Operation::PickUpCall { .. })) else {
        return Ok(at_home());
    };
    if !doorbells::are_at_several_pbxs(agents) {
        return Ok(at_home());
    }
    match &actor.pbx_of_call {
        Some(pbx) => Ok(Some(pbx.clone())),
        None => Ok(latest_event_of(context, *call).await?.map(|event| event.pbx_id)),
    }
}

/// Who acts, if the key may act for everybody whom the operation names.
pub(crate) fn resolve(
    found: Found,
    operation: &Operation,
    key: &ApiKey,
    agents: &[AgentStatus],
) -> Result<Actor, ApiError> {
    let is_read_of_user = matches!(operation, Operation::GetUser { .. });
    let mut actors = Vec::new();
    for (address, entries) in found.addresses {
        match one_of(&address, entries, has_one_of(agents), key) {
            // Whether the user exists is told by the agent, which knows who is visible.
            Err(refused) if is_read_of_user && refused.code == Code::ExtensionNotAllowed => actors.push(None),
            entry => actors.push(entry?),
        }
    }
    let of_call = of_fresh_pbxs(found.of_call, has_one_of(agents));
    // Where more than one is named, the first one acts.
    let entry = actors.into_iter().next().unwrap_or_else(|| of_call.into_iter().next());
    Ok(Actor { entry, pbx_of_call: found.pbx_of_call })
}

/// Whether one of these agents is at a PBX.
fn has_one_of(agents: &[AgentStatus]) -> impl Fn(&str) -> bool {
    |pbx| agents.iter().any(|agent| agent.is_at(pbx))
}

/// The one of these that is meant; none if the directory knows nobody and the key has no list, or has it as it is written.
///
/// Who answers to the whole address is meant also while the PBX is without an agent: with its node an extension means nobody else.
fn one_of(
    address: &str,
    entries: Vec<DirectoryEntry>,
    is_fresh: impl Fn(&str) -> bool,
    key: &ApiKey,
) -> Result<Option<DirectoryEntry>, ApiError> {
    let reach = Reach { extensions: key.extensions.clone(), ..Reach::default() };
    let asked = Address::read(address);
    let answering = entries.iter().filter(|entry| entry.names(false).answers_to(asked)).cloned();
    let answering = of_fresh_pbxs(answering.collect(), &is_fresh);
    let entries = of_fresh_pbxs(entries, &is_fresh);
    let is_shared =
        |entry: &DirectoryEntry| entries.iter().any(|o| o.guid != entry.guid && o.extension == entry.extension);
    let mut reached: Vec<&DirectoryEntry> = answering
        .iter()
        // By a name or guid only one entry was read, and an extension of the list may be another one's, too: the agent knows.
        .filter(|entry| reach.covers(&entry.names(is_shared(entry))))
        .collect();
    let is_listed = || key.extensions.as_ref().is_none_or(|list| list.contains(address));
    match (reached.len(), is_listed()) {
        (0, true) if answering.len() > 1 => Err(ambiguous(address, &answering.iter().collect::<Vec<_>>())),
        (0, true) => Ok(None),
        (0, false) => Err(ApiError::with_message(
            Code::ExtensionNotAllowed,
            format!("The API key may not act for extension {address}."),
        )),
        (1, _) => Ok(reached.pop().cloned()),
        _ => Err(ambiguous(address, &reached)),
    }
}

fn ambiguous(address: &str, candidates: &[&DirectoryEntry]) -> ApiError {
    let names = candidates.iter().map(|entry| entry.names(true));
    ApiError::with_message(Code::AmbiguousExtension, format!("{}.", address::ambiguous("Extension", address, names)))
}

/// Refuses a list for a key or a webhook with an extension that more than one user has.
pub(crate) async fn require_unambiguous(context: &Context, list: &BTreeSet<String>) -> Result<(), ApiError> {
    let extensions: Vec<&String> =
        list.iter().filter(|entry| matches!(Address::read(entry), Address::Extension(_))).collect();
    if extensions.is_empty() {
        return Ok(());
    }
    let agents = in_time(context.exchange.agents(context.now())).await?;
    let reads = extensions.into_iter().map(|extension| {
        let entries = in_time(context.exchange.directory(Address::Extension(extension)));
        async move { entries.await.map(|entries| (extension, entries)) }
    });
    // A list may have hundreds of entries.
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_AT_ONCE);
    while let Some((extension, entries)) = reads.try_next().await? {
        let entries = of_fresh_pbxs(entries, has_one_of(&agents));
        let users: BTreeSet<&str> = entries.iter().map(|entry| entry.guid.as_str()).collect();
        if users.len() > 1 {
            return Err(ambiguous(extension, &entries.iter().collect::<Vec<_>>()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::agent_status::PbxLink;
    use shared::operation::DialOptions;

    use super::*;
    use crate::tests::agent;

    fn entry(guid: &str, node: &str, pbx: &str) -> DirectoryEntry {
        DirectoryEntry {
            guid: guid.to_owned(),
            pbx: pbx.to_owned(),
            extension: "42".to_owned(),
            node: node.to_owned(),
            name: format!("{node}.42"),
            prefixes: DialPrefixes { international: format!("{node}00"), ..DialPrefixes::default() },
            ..DirectoryEntry::default()
        }
    }

    fn key(list: Option<&[&str]>) -> ApiKey {
        let extensions = list.map(|list| list.iter().map(|entry| (*entry).to_owned()).collect());
        ApiKey { extensions, ..ApiKey::new("k".to_owned(), "crm".to_owned(), Vec::new()) }
    }

    fn call(from: &str) -> Operation {
        Operation::MakeCall { from: from.to_owned(), to: "50".to_owned(), options: DialOptions::default() }
    }

    /// Node and PBX of who acts, or why nobody does.
    fn acting(from: &str, entries: &[DirectoryEntry], list: Option<&[&str]>) -> Result<Option<String>, Code> {
        let mut agents = vec![agent("a", PbxLink::Up)];
        agents[0].pbx_id = Some("master".to_owned());
        let found = Found { addresses: vec![(from.to_owned(), entries.to_vec())], ..Found::default() };
        let actor = resolve(found, &call(from), &key(list), &agents).map_err(|error| error.code)?;
        Ok(actor.entry.map(|entry| format!("{}@{}", entry.node, entry.pbx)))
    }

    #[test]
    fn one_is_meant_or_the_question_is_given_back() {
        let (a, b) = (entry("1", "a", "master"), entry("2", "b", "master"));
        let both = [a.clone(), b.clone()];
        let is = |who: &str| Ok(Some(who.to_owned()));
        assert_eq!(acting("42", &[], None), Ok(None), "an older agent");
        assert_eq!(acting("42", &[], Some(&["42"])), Ok(None));
        assert_eq!(acting("42", &[], Some(&["43"])), Err(Code::ExtensionNotAllowed));
        assert_eq!(acting("42", &both, None), Err(Code::AmbiguousExtension));
        assert_eq!(acting("b/42", &both, None), is("b@master"));
        assert_eq!(acting("c/42", &both, None), Ok(None), "the agent says that there is none");
        for list in [["a/42"], ["a.42"]] {
            assert_eq!(acting("42", &both, Some(&list)), is("a@master"));
            assert_eq!(acting("b/42", &both, Some(&list)), Err(Code::ExtensionNotAllowed));
        }
        assert_eq!(acting("42", &both, Some(&["42"])), Err(Code::AmbiguousExtension));
        // Of a PBX without an agent nobody is meant, unless nobody else is.
        let gone = entry("3", "c", "branch");
        assert_eq!(acting("42", &[a.clone(), gone.clone()], None), is("a@master"));
        assert_eq!(acting("c/42", &[a.clone(), gone.clone()], None), is("c@branch"), "its node says who is meant");
        assert_eq!(acting("42", &[gone], None), is("c@branch"));
    }

    #[test]
    fn prefixes_are_the_actors() {
        let actor = Actor { entry: Some(entry("1", "a", "master")), ..Actor::default() };
        assert_eq!(actor.prefixes(&[]).international, "a00");
        assert_eq!(actor.pbx(), Some("master"));
        let mut told = agent("x", PbxLink::Up);
        told.prefixes.international = "000".to_owned();
        assert_eq!(Actor::default().prefixes(&[told]).international, "000");
    }
}
