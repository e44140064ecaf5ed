//! The life of a command as `api` sees it: put into the table, announced, waited for within bounds.
//!
//! Before the doorbell rings, nothing can have happened and every failure is an error. Afterwards an error is given only
//! when the table proves that nothing happened, or tells what did; else the answer is 202. So no platform ever repeats,
//! because of a 5xx, a command that may have reached the PBX.
//!
//! The table is the truth and the queue only says that there is something to look at: a conditional write decides who acts, so the queue
//! may lose, repeat and delay what it likes. A command that nobody has claimed after a second is announced again, because the queue may
//! have handed the first announcement to the poll of an agent that has just died.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use shared::agent_status::AgentStatus;
use shared::apikey::{ApiKey, Scope};
use shared::codes::Code;
use shared::command::{Command, CommandState};
use shared::ids::CommandId;
use shared::metrics::Metrics;
use shared::numbering::DialPrefixes;
use shared::tables::{Inserted, TableError};
use shared::time::from_millis;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use crate::answers::{self, Answer};
use crate::auth;
use crate::context::Context;
use crate::directory::{self, Actor};
use crate::errors::{ApiError, in_time};
use crate::operations::Requested;
use crate::request::Incoming;
use crate::{dialling, doorbells};

/// A command that an agent heard of is claimed within this time.
const HEALTHY_CLAIM: Duration = Duration::from_millis(300);
/// A command that nobody has claimed after this time is notified of again.
const NOTIFY_AGAIN: Duration = Duration::from_secs(1);
const FIRST_LOOK: Duration = Duration::from_millis(8);
const SLOWEST_LOOK: Duration = Duration::from_millis(100);
/// A look that hangs must not carry the longest wait beyond the function's own limit.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// Carries out an operation that changes something.
pub(crate) async fn act(
    context: &Context,
    request: &Incoming,
    requested: Result<Requested, ApiError>,
) -> Result<Answer, ApiError> {
    carry_out(context, request, Scope::CallsWrite, &["requestId", "wait"], requested).await
}

/// Carries out an operation that only reads. `params` are the query parameters that it takes beside `wait`.
pub(crate) async fn read(
    context: &Context,
    request: &Incoming,
    params: &[&str],
    requested: Result<Requested, ApiError>,
) -> Result<Answer, ApiError> {
    let known: Vec<&str> = params.iter().copied().chain(["wait"]).collect();
    carry_out(context, request, Scope::CallsRead, &known, requested).await.map_err(ApiError::for_read)
}

async fn carry_out(
    context: &Context,
    request: &Incoming,
    scope: Scope,
    params: &[&str],
    requested: Result<Requested, ApiError>,
) -> Result<Answer, ApiError> {
    let (key, requested, until) = admit(context, request, scope, params, requested).await?;
    let agents = in_time(context.exchange.agents(context.now()));
    let (agents, found) = tokio::join!(agents, directory::look_up(context, &requested.operation));
    let known = agents.as_deref().unwrap_or_default();
    let actor = directory::resolve(found?, &requested.operation, &key, known)?;
    let pbx = directory::pbx_of(context, &requested.operation, &actor, known).await?;
    let command = run(context, request, requested, &key, (agents, actor, pbx), until).await?;
    answers::answer(&command, context.now())
}

/// The key of a request, what it asks for, and until when it waits.
pub(crate) async fn admit(
    context: &Context,
    request: &Incoming,
    scope: Scope,
    params: &[&str],
    requested: Result<Requested, ApiError>,
) -> Result<(ApiKey, Requested, Instant), ApiError> {
    let requested = requested.and_then(|requested| {
        request.only_params(params)?;
        Ok((requested, request.wait()?))
    });
    // The agents are read only for a key that is valid and may do this.
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[scope])?;
    let (requested, wait) = requested?;
    Ok((key, requested, request.started + wait))
}

/// Puts a command into the table, rings for its agents and waits for what comes of it.
pub(crate) async fn run(
    context: &Context,
    request: &Incoming,
    requested: Requested,
    key: &ApiKey,
    known: (Result<Vec<AgentStatus>, ApiError>, Actor, Option<String>),
    until: Instant,
) -> Result<Command, ApiError> {
    let in_table = put_command(context, requested, key, known).await?;
    request.notes.command(&in_table.command);
    let repeated = in_table.repeated;
    let command = follow_up(context, in_table, key, until).await?;
    if !repeated {
        figures(&command, context.now()).emit(&context.stack, context.now());
    }
    Ok(command)
}

/// What became of a command while somebody waited for it. What is not over by then, such as a long one, is no figure. How many have
/// succeeded is known from how many times there are: a figure of its own would cost by the month.
fn figures(command: &Command, now: Timestamp) -> Metrics {
    let mut metrics = Metrics::default();
    match command.state {
        CommandState::Succeeded => {}
        CommandState::Failed => metrics.count("CommandsRefused", 1),
        CommandState::Expired => metrics.count("CommandsUnanswered", 1),
        CommandState::Queued | CommandState::Running | CommandState::Unknown => return metrics,
    }
    // A long command takes as long as people do.
    if command.state != CommandState::Expired && command.dials.is_empty() {
        metrics.span("CommandTime", Some(from_millis(command.created_at)), now);
    }
    metrics
}

/// A command in the table, and what is known about the PBX that it is for.
struct InTable {
    command: Command,
    prefixes: DialPrefixes,
    /// By whose queues its agents hear of it.
    slots: BTreeSet<usize>,
    /// It stood there before this request.
    repeated: bool,
}

/// Puts the command into the table, or finds the one that an earlier request of the same name has put there. Before that
/// nothing can have happened, and every refusal is final.
async fn put_command(
    context: &Context,
    requested: Requested,
    key: &ApiKey,
    (agents, actor, pbx): (Result<Vec<AgentStatus>, ApiError>, Actor, Option<String>),
) -> Result<InTable, ApiError> {
    let Requested { operation, idempotency_key } = requested;
    let id = match &idempotency_key {
        Some(name) => CommandId::of_idempotency_key(&key.id, name),
        None => CommandId::from_uuid(context.random.uuid()),
    };
    let repeated = |command: Command, agents: &[AgentStatus]| {
        if command.body_hash != operation.fingerprint() {
            return Err(ApiError::new(Code::IdempotencyConflict).of(id));
        }
        let slots = doorbells::slots_for(&command, agents, context.now());
        Ok(InTable { command, prefixes: actor.prefixes(agents), slots, repeated: true })
    };
    if idempotency_key.is_some() {
        let now = context.now();
        let known = in_time(look(context, id)).await?.filter(|known| known.is_kept(now));
        if let Some(known) = known {
            return repeated(known, &agents.unwrap_or_default());
        }
    }

    let (agents, now) = (agents?, context.now());
    somebody_can_act(&agents, pbx.as_deref(), now)?;
    let (state, policy, prefixes) = (&context.state, &context.policy, actor.prefixes(&agents));
    let allowed = async {
        let reach = dialling::judge(&operation, key, policy, &prefixes)?;
        Ok((reach, dialling::count(state, (id, &operation), key, policy, &prefixes, now).await?))
    };
    let (reach, calls) = match allowed.await {
        Ok(allowed) => allowed,
        Err(refusal) => {
            let refusal: ApiError = refusal;
            if dialling::is_audited(refusal.code) {
                dialling::record_refused(state, &operation, key, &prefixes, refusal.code, now, context.random.uuid())
                    .await;
            }
            return Err(refusal);
        }
    };
    let command = Command { pbx, ..Command::queued(id, operation.clone(), &key.id, reach, context.now()) };
    match in_time(context.exchange.insert(&command)).await? {
        Inserted::New => {
            let slots = doorbells::slots_for(&command, &agents, now);
            Ok(InTable { command, prefixes, slots, repeated: false })
        }
        Inserted::Existing(known) => {
            if let Some(mut calls) = calls {
                calls.leave_to_repeat(state).await; // Another request of the same name was quicker.
            }
            repeated(*known, &agents)
        }
    }
}

/// Rings for the agents and waits for what comes of it. A repeat rings again only if the first one's bell seems to have been
/// lost: after a function crashed between writing and ringing, nobody else would.
async fn follow_up(context: &Context, in_table: InTable, key: &ApiKey, until: Instant) -> Result<Command, ApiError> {
    let InTable { mut command, prefixes, slots, repeated } = in_table;
    if repeated {
        let healthy = Instant::now() + HEALTHY_CLAIM.saturating_sub(command.age(context.now()));
        command = follow(context, command, until.min(healthy), |command| command.state != CommandState::Queued).await;
        if command.state == CommandState::Queued {
            command = notify_agents(context, command, (key, &prefixes), &slots).await?;
        }
    } else {
        command = notify_agents(context, command, (key, &prefixes), &slots).await?;
    }
    // A message may have gone to a poll of an agent that has just died, which hides it from the others for a while.
    while command.state == CommandState::Queued && Instant::now() < until {
        let quiet = Instant::now() + NOTIFY_AGAIN;
        command = follow(context, command, until.min(quiet), |command| command.state != CommandState::Queued).await;
        if command.state == CommandState::Queued && Instant::now() < until {
            // It may be one too many, but never acts twice; if it is lost, another one follows.
            let _ = doorbells::ring(context, &command, &slots).await;
        }
    }
    Ok(follow(context, command, until, |command| command.state.is_final()).await)
}

/// Whether an agent has its PBX: one of the PBX at which the actor is at home, if that is known.
fn somebody_can_act(agents: &[AgentStatus], pbx: Option<&str>, now: Timestamp) -> Result<(), ApiError> {
    let is_asked = |agent: &&AgentStatus| pbx.is_none_or(|pbx| agent.is_at(pbx));
    let mut agents = agents.iter().filter(is_asked);
    if agents.clone().any(|agent| agent.can_act(now)) {
        return Ok(());
    }
    let here = agents.any(|agent| agent.is_fresh(now));
    Err(ApiError::new(if here { Code::PbxOffline } else { Code::AgentOffline }))
}

/// Tells the agents, after it is written down who calls whom. When the message was not accepted for sure, the command is withdrawn at
/// once, so that a message that was accepted all the same makes no phone ring after the asker was told that it failed.
async fn notify_agents(
    context: &Context,
    command: Command,
    (key, prefixes): (&ApiKey, &DialPrefixes),
    slots: &BTreeSet<usize>,
) -> Result<Command, ApiError> {
    let id = command.command_id;
    let notified = async {
        dialling::record(&context.state, &command, key, prefixes).await?;
        doorbells::ring(context, &command, slots).await
    };
    let Err(failure) = notified.await else { return Ok(command) };
    match in_time(context.exchange.expire(id, context.now())).await {
        Ok(withdrawn) if withdrawn.state == CommandState::Expired => Err(failure.of(id)),
        Ok(taken) => Ok(taken),
        Err(_) => Ok(command),
    }
}

/// The command as the table has it, after nobody can take it any more if it is overdue.
pub(crate) async fn look(context: &Context, id: CommandId) -> Result<Option<Command>, TableError> {
    let (exchange, now) = (&context.exchange, context.now());
    match exchange.command(id).await? {
        Some(command) if command.is_overdue(now) => exchange.expire(id, now).await.map(Some),
        command => Ok(command),
    }
}

/// Looks at a command until it is `enough` or the time is over. What cannot be read stays as it was last seen.
async fn follow(context: &Context, mut command: Command, until: Instant, enough: impl Fn(&Command) -> bool) -> Command {
    let id = command.command_id;
    let began = Instant::now();
    let (mut now, mut last_look) = (began, Duration::ZERO);
    while now < until && !enough(&command) {
        sleep_until(until.min(now + pause(now - began, last_look))).await;
        let asked = Instant::now();
        match timeout(LOOK_PATIENCE, look(context, id)).await {
            Ok(Ok(Some(latest))) => command = latest,
            Ok(Ok(None)) => warn!("Command {id} is no longer in the table"),
            Ok(Err(err)) => warn!("Cannot look at command {id}: {:#}", anyhow::Error::from(err)),
            Err(_) => warn!("A look at command {id} took longer than {LOOK_PATIENCE:?}"),
        }
        now = Instant::now();
        last_look = now - asked;
    }
    command
}

/// The pause before the next look: quick answers are seen quickly, no look comes later than a quarter of the time that the
/// answer took anyway, and a table that is slow to answer is not asked the more often for it.
fn pause(elapsed: Duration, last_look: Duration) -> Duration {
    (elapsed / 4).max(last_look).clamp(FIRST_LOOK, SLOWEST_LOOK)
}

#[cfg(test)]
mod tests {
    use shared::agent_status::PbxLink;
    use shared::operation::{Operation, Reach};

    use super::*;
    use crate::tests::agent;

    #[test]
    fn looks_begin_dense_and_stay_few() {
        let looks = |wait: Duration| {
            let mut elapsed = Duration::ZERO;
            std::iter::repeat_with(move || {
                elapsed += pause(elapsed, Duration::ZERO);
                elapsed.as_millis()
            })
            .take_while(move |at| *at < wait.as_millis())
        };
        assert_eq!(looks(Duration::from_millis(80)).collect::<Vec<_>>(), [8, 16, 24, 32, 40, 50, 62, 78]);
        assert_eq!(pause(Duration::from_millis(40), Duration::from_millis(30)), Duration::from_millis(30));
        assert!(looks(Duration::from_secs(8)).count() <= 100);
        assert!(looks(Duration::from_secs(25)).count() <= 270);
    }

    #[test]
    fn outcomes_are_figures() {
        let operation: Operation =
            serde_json::from_value(serde_json::json!({"operation": "AnswerCall", "CallId": uuid::Uuid::nil()}))
                .expect("an operation");
        let told = |state| {
            let mut command = Command::queued(
                CommandId::from_uuid(uuid::Uuid::nil()),
                operation.clone(),
                "key",
                Reach::default(),
                from_millis(1_000),
            );
            command.state = state;
            let line = figures(&command, from_millis(1_250)).line("stack", from_millis(1_250))?;
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            let names = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("figures").clone();
            Some(names.iter().map(|metric| metric["Name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(told(CommandState::Succeeded), Some(vec!["CommandTime".to_owned()]));
        assert_eq!(told(CommandState::Failed), Some(vec!["CommandsRefused".to_owned(), "CommandTime".to_owned()]));
        assert_eq!(told(CommandState::Expired), Some(vec!["CommandsUnanswered".to_owned()]));
        assert_eq!((told(CommandState::Queued), told(CommandState::Running)), (None, None));
    }

    #[test]
    fn who_is_away_is_named() {
        let code = |agents: &[AgentStatus], now| somebody_can_act(agents, None, from_millis(now)).err().map(|e| e.code);
        let fresh = 1_700_000_030_000;
        let (up, down) = (agent("a", PbxLink::Up), agent("b", PbxLink::Down));
        assert_eq!(code(&[up.clone(), down.clone()], fresh), None);
        assert_eq!(code(&[up.clone(), down.clone()], fresh + 1), Some(Code::AgentOffline));
        assert_eq!(code(std::slice::from_ref(&down), fresh), Some(Code::PbxOffline));
        assert_eq!(code(&[], fresh), Some(Code::AgentOffline));
        // A PBX that is away takes its own users with it, and nobody else.
        let of = |pbx| somebody_can_act(std::slice::from_ref(&up), Some(pbx), from_millis(fresh)).err().map(|e| e.code);
        assert_eq!((of("master"), of("branch")), (None, Some(Code::AgentOffline)));
    }
}
