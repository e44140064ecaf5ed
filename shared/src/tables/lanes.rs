//! Lanes in the table: attributes of the webhook's item. Each write names what it starts from, and recognises itself by its time.

use jiff::Timestamp;

use super::item::{Item, TableError, number, text};
use super::state::StateTable;
use super::webhooks::{changed, changed_once};
use crate::ids::WebhookId;
use crate::webhook::{Lane, Lookout, Webhook, WebhookState};

/// What a worker has seen, and does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub lookout: Lookout,
    /// Milliseconds.
    pub last_success_at: Option<i64>,
}

/// The webhook has a lane of its own; one that was failing before there were lanes has one without its being written.
const IS_OWN: &str = "(lane = :own OR (attribute_not_exists(lane) AND #state IN (:failing, :draining)))";

impl StateTable {
    /// Gives a webhook that shares a lane of its own. `lookout` is what is known of its receiver by then. `None`: it has one already,
    /// or is gone.
    pub async fn take_lane(
        &self,
        id: WebhookId,
        reason: &str,
        lookout: &Lookout,
        now: Timestamp,
    ) -> Result<Option<Webhook>, TableError> {
        let (mut sets, _, values) = attributes(lookout)?;
        sets.extend(
            ["lane = :own", "laneSince = :now", "slowSince = :now", "laneReason = :laneReason"].map(str::to_owned),
        );
        let update = self
            .update_webhook(id)
            .update_expression(format!("SET {}", sets.join(", ")))
            .condition_expression(
                "attribute_exists(pk) AND (lane = :shared OR \
                 (attribute_not_exists(lane) AND NOT #state IN (:failing, :draining)))",
            )
            .expression_attribute_names("#state", "state")
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":failing", text(WebhookState::Failing.as_str()))
            .expression_attribute_values(":draining", text(WebhookState::Draining.as_str()))
            .expression_attribute_values(":own", text(Lane::Own.as_str()))
            .expression_attribute_values(":shared", text(Lane::Shared.as_str()))
            .expression_attribute_values(":laneReason", text(reason))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        let is_done = |found: &Webhook| is_made(found, Lane::Own, now);
        changed_once(update, "give the webhook its own lane", is_done).await
    }

    /// Changes the lane, if it still is `from`: each with whether its worker comes by itself. Returns whether it is changed.
    pub async fn change_lane(
        &self,
        id: WebhookId,
        from: (Lane, bool),
        to: (Lane, bool),
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let is_from = match from.0 {
            Lane::Own => IS_OWN,
            Lane::Shared | Lane::Settling => "lane = :from",
        };
        let comes = if from.1 { "attribute_exists(nextLookAt)" } else { "attribute_not_exists(nextLookAt)" };
        let change = match to {
            (Lane::Shared, _) => "SET lane = :to, laneSince = :now REMOVE nextLookAt, laneReason, slowSince",
            (_, true) => "SET lane = :to, laneSince = :now, nextLookAt = :now",
            (_, false) => "SET lane = :to, laneSince = :now REMOVE nextLookAt",
        };
        let mut update = self
            .update_webhook(id)
            .update_expression(change)
            .condition_expression(format!("attribute_exists(pk) AND {is_from} AND {comes}"))
            .expression_attribute_values(":to", text(to.0.as_str()))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        update = match from.0 {
            Lane::Own => update
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":failing", text(WebhookState::Failing.as_str()))
                .expression_attribute_values(":draining", text(WebhookState::Draining.as_str()))
                .expression_attribute_values(":own", text(Lane::Own.as_str())),
            from => update.expression_attribute_values(":from", text(from.as_str())),
        };
        let is_done =
            |found: &Webhook| is_made(found, to.0, now) && found.health.lookout.next_look_at.is_some() == to.1;
        Ok(changed_once(update, "change the webhook's lane", is_done).await?.is_some())
    }

    /// Notes what a worker knows; a webhook that was deleted meanwhile stays deleted.
    pub async fn note_look(&self, id: WebhookId, look: &Look) -> Result<(), TableError> {
        let (mut sets, removes, mut values) = attributes(&look.lookout)?;
        if let Some(at) = look.last_success_at {
            sets.push("lastSuccessAt = :lastSuccessAt".to_owned());
            values.insert(":lastSuccessAt".to_owned(), number(at));
        }
        let mut expression = Vec::new();
        if !sets.is_empty() {
            expression.push(format!("SET {}", sets.join(", ")));
        }
        if !removes.is_empty() {
            expression.push(format!("REMOVE {}", removes.join(", ")));
        }
        let values = Some(values).filter(|values| !values.is_empty());
        let update =
            self.update_webhook(id).update_expression(expression.join(" ")).set_expression_attribute_values(values);
        changed(update, "note the lane's look").await.map(drop)
    }
}

fn is_made(found: &Webhook, lane: Lane, now: Timestamp) -> bool {
    found.health.lane == Some(lane) && found.health.lane_since == Some(now.as_millisecond())
}

/// All attributes of a lookout: what is set, what is removed, and the values.
fn attributes(lookout: &Lookout) -> Result<(Vec<String>, Vec<&'static str>, Item), TableError> {
    const NAMES: [&str; 7] =
        ["nextLookAt", "nextAttemptAt", "slowAt", "refusedAt", "refusals", "refusedFor", "lastProbed"];
    let mut item: Item = serde_dynamo::to_item(lookout)?;
    let (mut sets, mut removes, mut values) = (Vec::new(), Vec::new(), Item::new());
    for name in NAMES {
        match item.remove(name) {
            Some(value) => {
                sets.push(format!("{name} = :{name}"));
                values.insert(format!(":{name}"), value);
            }
            None => removes.push(name),
        }
    }
    debug_assert!(item.is_empty(), "an attribute that nobody writes");
    Ok((sets, removes, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CallId;

    #[test]
    fn every_attribute_of_a_lookout_is_written() {
        let full = Lookout {
            next_look_at: Some(1),
            next_attempt_at: Some(2),
            slow_at: Some(3),
            refused_at: Some(4),
            refusals: 5,
            refused_for: 6,
            last_probed: Some(CallId::from_uuid(uuid::Uuid::nil())),
        };
        let (sets, removes, values) = attributes(&full).expect("attributes");
        assert_eq!((sets.len(), removes.len(), values.len()), (7, 0, 7));
        let (sets, removes, values) = attributes(&Lookout::default()).expect("attributes");
        assert_eq!((sets.len(), removes.len(), values.len()), (0, 7, 0));
    }
}
