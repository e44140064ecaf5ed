//! Lists that several PBXs answer together: a command for each of them, all at once, and one page of what comes of them.
//!
//! A PBX that does not answer takes only its own part away, and is named. A page is shared out among the PBXs that have more to show, so it
//! is in order by itself and not with the page before; to read every PBX's page whole and throw most of it away was rejected. The cursor
//! holds where the list goes on at each PBX.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::agent_status::AgentStatus;
use shared::apikey::{ApiKey, Scope};
use shared::codes::Code;
use shared::command::{Command, CommandState};
use shared::operation::{Operation, PageRequest};
use shared::tables::PbxSlots;
use tokio::time::Instant;
use tracing::warn;

use crate::answers::{self, Answer};
use crate::commands;
use crate::context::Context;
use crate::directory::Actor;
use crate::errors::{ApiError, in_time};
use crate::operations::Requested;
use crate::request::Incoming;

/// Where a list goes on, by PBX. None: at its beginning.
type Places = BTreeMap<String, Option<String>>;

/// Lists users or calls of all PBXs. `params` are the query parameters that it takes beside `wait`.
pub(crate) async fn list(
    context: &Context,
    request: &Incoming,
    params: &[&str],
    requested: Result<Requested, ApiError>,
) -> Result<Answer, ApiError> {
    let known: Vec<&str> = params.iter().copied().chain(["wait"]).collect();
    all(context, request, &known, requested).await.map_err(ApiError::for_read)
}

async fn all(
    context: &Context,
    request: &Incoming,
    params: &[&str],
    requested: Result<Requested, ApiError>,
) -> Result<Answer, ApiError> {
    let (key, requested, until) = commands::admit(context, request, Scope::CallsRead, params, requested).await?;
    let agents = in_time(context.exchange.agents(context.now()));
    let (agents, slots) = tokio::join!(agents, in_time(context.exchange.pbx_slots()));
    let agents = agents?;
    let slots = slots.unwrap_or_else(|error| {
        warn!("PBXs without an agent are not named: {}", error.message);
        PbxSlots::default()
    });
    let pbxs = Pbxs::of(&agents, &slots, context.now());
    let page = page_of(&requested.operation);
    let places = page.cursor.as_deref().map(open_cursor);
    let (places, missing) = match places {
        // Where there is one PBX the cursor is its agent's own.
        None if pbxs.is_one() => (None, BTreeSet::new()),
        None => (Some(pbxs.able.iter().map(|pbx| (pbx.clone(), None)).collect()), pbxs.away),
        Some(places) => (places, BTreeSet::new()),
    };
    match places {
        Some(places) if !pbxs.able.is_empty() => {
            let several = Several { context, request, key, agents, until, operation: requested.operation };
            several.answer(places, missing).await
        }
        _ => {
            let command = commands::run(context, request, requested, &key, (Ok(agents), Actor::default(), None), until);
            answers::answer(&command.await?, context.now())
        }
    }
}

/// The PBXs of a stack.
#[derive(Debug, PartialEq, Eq)]
struct Pbxs {
    /// An agent can ask it.
    able: BTreeSet<String>,
    away: BTreeSet<String>,
}

impl Pbxs {
    fn of(agents: &[AgentStatus], slots: &PbxSlots, now: Timestamp) -> Self {
        let able: BTreeSet<String> =
            agents.iter().filter(|agent| agent.can_act(now)).filter_map(|agent| agent.pbx_id.clone()).collect();
        let known =
            slots.iter().map(|(_, pbx)| pbx.to_owned()).chain(agents.iter().filter_map(|agent| agent.pbx_id.clone()));
        let away = known.filter(|pbx| !able.contains(pbx)).collect();
        Self { able, away }
    }

    fn is_one(&self) -> bool {
        self.able.len() + self.away.len() <= 1
    }
}

struct Several<'a> {
    context: &'a Context,
    request: &'a Incoming,
    key: ApiKey,
    agents: Vec<AgentStatus>,
    until: Instant,
    operation: Operation,
}

impl Several<'_> {
    async fn answer(self, places: Places, mut missing: BTreeSet<String>) -> Result<Answer, ApiError> {
        let (shares, mut next) = share_out(places, page_of(&self.operation).limit);
        let pbxs: Vec<String> = shares.iter().map(|(pbx, _)| pbx.clone()).collect();
        let commands = join_all(shares.into_iter().map(|(pbx, page)| self.ask(pbx, page))).await;
        let now = self.context.now();
        let (name, order): (_, &[&str]) = match self.operation {
            Operation::GetUsers { .. } => ("users", &["extension", "name"]),
            _ => ("calls", &["startTime"]),
        };
        let (mut items, mut whole, mut failed) = (Vec::new(), None, None);
        for (pbx, command) in pbxs.into_iter().zip(commands) {
            let part = command.as_ref().ok().and_then(part_of);
            let Some(mut part) = part else {
                missing.insert(pbx);
                // A cursor that a PBX does not understand is the asker's mistake.
                let failure = command.and_then(|command| answers::answer(&command, now));
                if failure.as_ref().is_err_and(|error| error.code == Code::InvalidRequest) {
                    return failure;
                }
                failed.get_or_insert(failure);
                continue;
            };
            if let Some(cursor) = part["nextCursor"].as_str() {
                next.insert(pbx, Some(cursor.to_owned()));
            }
            if let Value::Array(of_pbx) = part[name].take() {
                items.extend(of_pbx);
            }
            whole = whole.or_else(|| command.ok());
        }
        let Some(whole) = whole else {
            return failed.unwrap_or_else(|| Err(ApiError::new(Code::AgentOffline)));
        };
        items.sort_by(|a, b| {
            order.iter().map(|field| a[*field].as_str()).cmp(order.iter().map(|field| b[*field].as_str()))
        });
        let next = (!next.is_empty()).then(|| seal_cursor(&next));
        let result = json!({name: items, "nextCursor": next, "missingPbxs": missing}).to_string();
        answers::answer(&Command { result: Some(result), ..whole }, now)
    }

    /// The part of one PBX.
    async fn ask(&self, pbx: String, page: PageRequest) -> Result<Command, ApiError> {
        let operation = match &self.operation {
            Operation::GetCalls { extension, .. } => Operation::GetCalls { extension: extension.clone(), page },
            _ => Operation::GetUsers { page },
        };
        let known = (Ok(self.agents.clone()), Actor::default(), Some(pbx));
        commands::run(self.context, self.request, operation.into(), &self.key, known, self.until).await
    }
}

fn part_of(command: &Command) -> Option<Value> {
    let is_over = command.state == CommandState::Succeeded;
    command.result.as_deref().filter(|_| is_over).and_then(|result| serde_json::from_str(result).ok())
}

fn page_of(operation: &Operation) -> PageRequest {
    match operation {
        Operation::GetUsers { page } | Operation::GetCalls { page, .. } => page.clone(),
        _ => PageRequest::default(),
    }
}

/// What each PBX is asked for, and the PBXs whose turn comes with the next page.
fn share_out(places: Places, limit: u16) -> (Vec<(String, PageRequest)>, Places) {
    let (limit, count) = (usize::from(limit.max(1)), places.len().max(1));
    let mut places = places.into_iter();
    let share = |n: usize| u16::try_from(limit / count + usize::from(n < limit % count)).unwrap_or(u16::MAX);
    let asked = places.by_ref().take(limit).enumerate();
    let asked = asked.map(|(n, (pbx, cursor))| (pbx, PageRequest { cursor, limit: share(n) })).collect();
    (asked, places.collect())
}

fn seal_cursor(places: &Places) -> String {
    URL_SAFE_NO_PAD.encode(json!(places).to_string())
}

/// None: it is the cursor of an agent.
fn open_cursor(cursor: &str) -> Option<Places> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok().filter(|places: &Places| !places.is_empty())
}

#[cfg(test)]
mod tests {
    use shared::agent_status::PbxLink;
    use shared::time::from_millis;

    use super::*;
    use crate::tests::agent;

    #[test]
    fn pages_are_shared_out_and_go_on() {
        let places = |names: &[&str]| -> Places { names.iter().map(|name| ((*name).to_owned(), None)).collect() };
        let limits = |names: &[&str], limit| -> (Vec<u16>, usize) {
            let (asked, later) = share_out(places(names), limit);
            (asked.into_iter().map(|(_, page)| page.limit).collect(), later.len())
        };
        assert_eq!(limits(&["a", "b", "c"], 200), (vec![67, 67, 66], 0));
        assert_eq!(limits(&["a", "b", "c"], 2), (vec![1, 1], 1), "one waits for the next page");
        assert_eq!(limits(&["a"], 50), (vec![50], 0));
        let mut some = places(&["a"]);
        some.insert("b".to_owned(), Some("bm90".to_owned()));
        assert_eq!(open_cursor(&seal_cursor(&some)), Some(some));
        for of_agent in [json!(["42", "Thomas"]), json!([1_700_000_000_000_i64, "id"]), json!({})] {
            assert_eq!(open_cursor(&URL_SAFE_NO_PAD.encode(of_agent.to_string())), None);
        }
    }

    #[test]
    fn pbxs_without_an_agent_are_known_by_their_slots() {
        let now = from_millis(1_700_000_005_000);
        let slots: PbxSlots = [(1, "master".to_owned()), (2, "branch".to_owned())].into_iter().collect();
        let found = Pbxs::of(&[agent("a", PbxLink::Up)], &slots, now);
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(found, Pbxs { able: set(&["master"]), away: set(&["branch"]) });
        assert!(!found.is_one() && Pbxs::of(&[agent("a", PbxLink::Up)], &PbxSlots::default(), now).is_one());
    }
}
