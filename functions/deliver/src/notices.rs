//! Notices: what webhooks are told besides calls.
//!
//! What happens to a webhook is noted in its item together with what others are to be told of it, and stays there until the queue
//! has it. Whoever dies in between, or comes second, makes no difference: the next minute's look tells what is left, and a
//! notice's identity follows from what was noted, so the queue and the delivery log know what was told before.

use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Delivery, Payload};
use shared::envelope;
use shared::notice::Notice;
use shared::queue::{Outgoing, Taken, chunks};
use shared::time::from_millis;
use shared::webhook::{Kind, Webhook};
use tracing::{info, warn};

use crate::cloud_error::CloudError;
use crate::context::Context;
use crate::{expiry, figures};

/// For so long the queue knows a notice that it was sent already, and a change of the agents is told again at every look: whoever
/// wrote it down may have been killed before it was told.
const TELL_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Tells others what is to be told about a webhook.
pub(crate) async fn tell_pending(context: &Context, webhook: &Webhook) -> Result<(), CloudError> {
    let pending = &webhook.health.pending_notices;
    for notice in pending {
        let message = match webhook.settings.description.as_str() {
            "" => format!("The webhook {}", notice.message),
            description => format!("The webhook \"{description}\" {}", notice.message),
        };
        let notice = Notice::new(notice.kind, from_millis(notice.at), message, Some(webhook.id));
        tell(context, &notice).await?;
        info!(webhook.id = %webhook.id, kind = notice.kind.as_str(), "Others are told of a webhook");
    }
    if !pending.is_empty() {
        context.state.told(webhook.id, pending).await?;
    }
    Ok(())
}

/// The same right after the change. What is not told now is told by the next minute's look.
pub(crate) async fn try_to_tell(context: &Context, webhook: &Webhook) {
    if let Err(error) = tell_pending(context, webhook).await {
        warn!(cause = %error, webhook.id = %webhook.id, "Others are not told of a webhook yet");
    }
}

/// The minute's look at a webhook: notes an expiry that is near or has come, and tells what is to be told.
pub(crate) async fn look_at(context: &Context, webhook: &Webhook, now: Timestamp) -> Result<(), CloudError> {
    if let Some((expires_at, notice)) = expiry::due(webhook, now)
        && let Some(noted) = context.state.note_expiry(webhook.id, expires_at, &notice).await?
    {
        return tell_pending(context, &noted).await;
    }
    tell_pending(context, webhook).await
}

/// Queues a notice for every webhook that wants its kind, except the one that it is about.
async fn tell(context: &Context, notice: &Notice) -> Result<(), CloudError> {
    let webhooks = context.state.webhooks().await?;
    let wants = webhooks.iter().filter(|webhook| {
        let is_asked = webhook.settings.kinds.contains(&notice.kind);
        is_asked && webhook.is_alive(notice.occurred_at) && Some(webhook.id) != notice.webhook_id
    });
    let messages: Vec<Outgoing> = wants
        .map(|webhook| {
            let delivery = Delivery::new(Payload::Notice(notice.clone()), webhook.id);
            let body = envelope::seal(&delivery).expect("a delivery is always JSON");
            Outgoing { group: delivery.group(), dedup: delivery.dedup(), body }
        })
        .collect();
    for chunk in chunks(&messages) {
        let taken = context.deliveries.send_fifo(&messages[chunk]).await?;
        if !taken.iter().all(Taken::is_yes) {
            return Err(CloudError::NotTaken);
        }
    }
    Ok(())
}

/// Tells when the last agent that could act is gone, and when one is back; where there are several PBXs, the same of each of them. All
/// come once, also when several environments look at the same time: a notice's identity follows from the change that was written down.
pub(crate) async fn watch_agents(context: &Context, now: Timestamp) -> Result<(), CloudError> {
    let (agents, slots) = tokio::try_join!(context.exchange.agents(now), context.exchange.pbx_slots())?;
    figures::of_agents(&mut context.metrics(), &agents, &slots, now);
    let online = agents.iter().any(|agent| agent.can_act(now));
    watch(context, None, online, now).await?;
    // That there is no agent at all has been told by then.
    if !online || slots.iter().count() < 2 {
        return Ok(());
    }
    let of_pbxs = slots.iter().map(|(_, pbx)| {
        let online = agents.iter().any(|agent| agent.is_at(pbx) && agent.can_act(now));
        watch(context, Some(pbx), online, now)
    });
    try_join_all(of_pbxs).await.map(drop)
}

async fn watch(context: &Context, pbx: Option<&str>, online: bool, now: Timestamp) -> Result<(), CloudError> {
    let since = context.state.agents_are(pbx, online, now).await?;
    if now.duration_since(since) >= TELL_AGAIN {
        return Ok(());
    }
    info!(pbx, online, %since, "The agents' state has changed");
    let kind = if online { Kind::AgentOnline } else { Kind::AgentOffline };
    let message = match (pbx, online) {
        (None, true) => "An EasyConnect agent has its connection to the PBX again.".to_owned(),
        (None, false) => {
            "No EasyConnect agent has a connection to the PBX: nothing is reported and nothing can be done.".to_owned()
        }
        (Some(pbx), true) => format!("An EasyConnect agent has its connection to the PBX \"{pbx}\" again."),
        (Some(pbx), false) => format!(
            "No EasyConnect agent has a connection to the PBX \"{pbx}\": nothing of its users is reported, and nothing can be done for \
             them."
        ),
    };
    let notice = match pbx {
        None => Notice::new(kind, since, message, None),
        Some(pbx) => Notice::of_pbx(kind, since, message, pbx),
    };
    tell(context, &notice).await
}
