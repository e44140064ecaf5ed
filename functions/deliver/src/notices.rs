//! Notices: what webhooks are told besides calls.

use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Delivery, Payload};
use shared::envelope;
use shared::ids::SubscriptionId;
use shared::notice::Notice;
use shared::queue::{BATCH, Outgoing, Taken};
use shared::subscription::Kind;
use tracing::info;

use crate::context::Context;
use crate::recovery::RecoveryError;

/// For so long the queue knows a notice that it was sent already, and a change is told again at every look: whoever wrote it down
/// may have been killed before it was told.
const TELL_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Whether what began then is still to be told.
pub(crate) fn is_news(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) < TELL_AGAIN
}

/// Queues a notice for every webhook that wants its kind, except the one that it is about.
pub(crate) async fn tell(
    context: &Context,
    kind: Kind,
    at: Timestamp,
    message: &str,
    about: Option<SubscriptionId>,
) -> Result<(), RecoveryError> {
    let subscriptions = context.state.subscriptions().await?;
    let wants = subscriptions.iter().filter(|subscription| {
        subscription.is_alive(at) && subscription.settings.kinds.contains(&kind) && Some(subscription.id) != about
    });
    let notice = Notice::new(kind, at, message.to_owned(), about);
    let messages: Vec<Outgoing> = wants
        .map(|subscription| {
            let delivery = Delivery::new(Payload::Notice(notice.clone()), subscription.id);
            let body = envelope::seal(&delivery).expect("a delivery is always JSON");
            Outgoing { group: delivery.group(), dedup: delivery.dedup(), body }
        })
        .collect();
    for batch in messages.chunks(BATCH) {
        let taken = context.deliveries.send_fifo(batch).await?;
        if !taken.iter().all(Taken::is_yes) {
            return Err(RecoveryError::NotTaken);
        }
    }
    Ok(())
}

/// Tells when the last agent that could act is gone, and when one is back. Both come once, also when several environments look
/// at the same time: a notice's identity follows from the change that was written down.
pub(crate) async fn watch_agents(context: &Context, now: Timestamp) -> Result<(), RecoveryError> {
    let agents = context.exchange.agents(now).await?;
    let online = agents.iter().any(|agent| agent.can_act(now));
    let since = context.state.agents_are(online, now).await?;
    if !is_news(since, now) {
        return Ok(());
    }
    let (kind, message) = if online {
        (Kind::AgentOnline, "An EasyConnect agent has its connection to the PBX again.")
    } else {
        (
            Kind::AgentOffline,
            "No EasyConnect agent has a connection to the PBX: nothing is reported and nothing can be done.",
        )
    };
    info!(online, %since, "The agents' state has changed");
    tell(context, kind, since, message, None).await
}
