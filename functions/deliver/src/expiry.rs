//! What others are told of a webhook's expiry: once when a day is left, once when it is over. Pure; the table notes that it was told.

use jiff::Timestamp;
use shared::tables::KEEP_EXPIRED;
use shared::time::{from_millis, iso_millis};
use shared::webhook::{Kind, PendingNotice, WARN_BEFORE_EXPIRY, Webhook};

/// The notice that is due now, and for which expiry. One that was made or changed with less than a day to live is warned of by
/// nobody; whoever did so knows it. A missed warning is not made up for when the webhook has expired.
pub(crate) fn due(webhook: &Webhook, now: Timestamp) -> Option<(i64, PendingNotice)> {
    let (health, expires_at) = (&webhook.health, webhook.settings.expires_at?);
    let left = expires_at - now.as_second();
    let at = iso_millis(from_millis(expires_at * 1000));
    let notice = if left > 0 {
        (left <= WARN_BEFORE_EXPIRY && health.expiry_warned != Some(expires_at)).then(|| PendingNotice {
            kind: Kind::WebhookExpiring,
            at: now.as_millisecond(),
            message: format!("expires at {at} unless it is given a later expiresAt"),
        })
    } else {
        // An older version kept what has expired for as long as the table's TTL took. That is no news any more.
        (left > -KEEP_EXPIRED && health.expiry_told != Some(expires_at)).then(|| PendingNotice {
            kind: Kind::WebhookExpired,
            at: expires_at * 1000,
            message: format!(
                "has expired at {at}; it will be deleted at {} unless it is given a later expiresAt",
                iso_millis(from_millis((expires_at + KEEP_EXPIRED) * 1000))
            ),
        })
    };
    Some((expires_at, notice?))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use shared::webhook::{Method, WebhookState};

    use super::*;
    use crate::sample;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    /// Made at the sample's time.
    fn living(hours: i32) -> Webhook {
        let mut settings = sample::webhook("https://example.com", Method::Post).settings;
        settings.expires_at = Some((sample::now() + HOUR * hours).as_second());
        let sample = sample::webhook("https://example.com", Method::Post);
        Webhook::new(sample.id, settings, sample.secret, sample::now())
    }

    fn kind(webhook: &Webhook, hours: i32) -> Option<Kind> {
        due(webhook, sample::now() + HOUR * hours).map(|(_, notice)| notice.kind)
    }

    #[test]
    fn an_expiry_is_told_when_a_day_is_left_and_when_it_has_come() {
        use Kind::{WebhookExpired, WebhookExpiring};
        let mut webhook = living(100);
        let told: Vec<Option<Kind>> = [0, 75, 76, 99, 100, 171, 172].map(|hours| kind(&webhook, hours)).to_vec();
        let (warned, over) = (Some(WebhookExpiring), Some(WebhookExpired));
        assert_eq!(told, [None, None, warned, warned, over, over, None]);

        // What was told once is not told again, whatever the webhook's state is.
        webhook.health.expiry_warned = webhook.settings.expires_at;
        webhook.health.state = WebhookState::Failing;
        assert_eq!((kind(&webhook, 99), kind(&webhook, 100)), (None, over));
        webhook.health.expiry_told = webhook.settings.expires_at;
        assert_eq!(kind(&webhook, 100), None);

        // Another expiry is another occasion.
        webhook.settings.expires_at = Some((sample::now() + HOUR * 200).as_second());
        assert_eq!((kind(&webhook, 100), kind(&webhook, 199), kind(&webhook, 200)), (None, warned, over));
        webhook.settings.expires_at = None;
        assert_eq!(kind(&webhook, 200), None);
    }

    #[test]
    fn who_makes_a_webhook_for_a_day_is_not_warned() {
        let webhook = living(24);
        assert_eq!((kind(&webhook, 0), kind(&webhook, 23)), (None, None));
        assert_eq!(kind(&webhook, 24), Some(Kind::WebhookExpired));
        assert_eq!(kind(&living(25), 1), Some(Kind::WebhookExpiring));
    }

    #[test]
    fn the_end_happened_when_it_was_due() {
        let webhook = living(100);
        let (expiry, notice) = due(&webhook, sample::now() + HOUR * 101).expect("a notice");
        assert_eq!((Some(expiry), notice.at), (webhook.settings.expires_at, expiry * 1000));
        assert!(notice.message.starts_with("has expired at 2022-09-20T15:57:44.000Z; "), "{}", notice.message);
        assert!(notice.message.contains("deleted at 2022-09-23T15:57:44.000Z"), "{}", notice.message);
    }
}
