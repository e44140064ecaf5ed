//! The event with which a webhook is tried: one that passes the webhook's own filter, so that a receiver is told nothing in a test
//! that it would not be told otherwise. Its outside number is nobody's, because receivers act on what they are told.

use jiff::{SignedDuration, Timestamp};
use shared::address::Address;
use shared::event::{CallDetails, CallEvent, Direction, EXAMPLE_NUMBER, Status};
use shared::ids::CallId;
use shared::time::PublishedTime;
use shared::webhook::{Filter, PartyKind};

/// Digits of a made-up number behind the beginning that a filter wants.
const MADE_UP_DIGITS: usize = 12;

/// An event that the filter wants, as far as it can want any.
pub(crate) fn wanted_by(filter: &Filter, call: CallId, now: Timestamp) -> CallEvent {
    let mut event = CallEvent::full_example(call, status(filter), now);
    let (number, e164, name) = other_party(filter);
    event.details.get_or_insert_default().party = Some(filter.party.unwrap_or(PartyKind::External));
    let told = &mut event.web_hook_event;
    if let Some(address) = filter.extensions.first() {
        let user = event.user.get_or_insert_default();
        match Address::read(address) {
            Address::Extension(extension) => told.monitored_extension = extension.to_owned(),
            Address::InNode { node, extension } => {
                (user.node, told.monitored_extension) = (node.to_owned(), extension.to_owned());
            }
            Address::Name(name) => user.name = name.to_owned(),
            Address::Guid(guid) => event.user_guid = guid.to_owned(),
        }
    }
    let own = (told.monitored_extension.clone(), told.monitored_user.clone());
    let other = (number, name.to_owned());
    told.outgoing = filter.direction == Some(Direction::Outgoing);
    let ((from, to), e164s) = if told.outgoing { ((own, other), (None, e164)) } else { ((other, own), (e164, None)) };
    (told.from, told.from_name) = from;
    (told.to, told.to_name) = to;
    (event.from_e164, event.to_e164) = e164s;
    if told.status != Status::Disconnected {
        return event;
    }
    if filter.missed_only {
        told.connected = false;
        (told.pickup_time, told.conversation_time) = (None, -1);
        event.cause = Some(18);
        event.details.get_or_insert_default().missed = true;
    } else if let Some(least) = filter.minimum_duration.map(i64::from).filter(|least| *least > told.conversation_time) {
        let rang = told.total_time - told.conversation_time;
        let before = |seconds: i64| PublishedTime(now - SignedDuration::from_secs(seconds));
        (told.conversation_time, told.total_time) = (least, least + rang);
        (told.pickup_time, told.start_time) = (Some(before(least)), before(least + rang));
    }
    event
}

/// An update that the filter wants, as far as it can want any: the monitored user has put an answered call on hold.
pub(crate) fn update_wanted_by(filter: &Filter, call: CallId, now: Timestamp) -> CallEvent {
    let of_answered = Filter { statuses: [Status::Connected].into(), ..filter.clone() };
    let event = wanted_by(&of_answered, call, now);
    let mut update = CallEvent::update_example(call, now);
    let details = update.details.clone();
    (update.from_e164, update.to_e164, update.web_hook_event) = (event.from_e164, event.to_e164, event.web_hook_event);
    update.details = event.details.map(|of_event| CallDetails { held: details.is_some_and(|d| d.held), ..of_event });
    update
}

fn status(filter: &Filter) -> Status {
    let wanted = |status: Status| filter.statuses.is_empty() || filter.statuses.contains(&status);
    [Status::Disconnected, Status::Connected].into_iter().find(|status| wanted(*status)).unwrap_or(Status::Ringing)
}

/// Number as the PBX writes it, in international form, and name.
fn other_party(filter: &Filter) -> (String, Option<String>, &'static str) {
    let prefix = filter.number_prefix.as_deref().unwrap_or_default();
    if filter.party == Some(PartyKind::Internal) {
        return (if prefix.is_empty() { "43" } else { prefix }.to_owned(), None, "Example colleague");
    }
    let fits = EXAMPLE_NUMBER.starts_with(prefix);
    let (number, e164) = match prefix.strip_prefix('+') {
        _ if fits => (EXAMPLE_NUMBER.replace('+', "000"), EXAMPLE_NUMBER.to_owned()),
        // No number with so many zeros is anybody's.
        Some(digits) => (format!("000{digits:0<MADE_UP_DIGITS$}"), format!("+{digits:0<MADE_UP_DIGITS$}")),
        None => (format!("{prefix:0<MADE_UP_DIGITS$}"), EXAMPLE_NUMBER.to_owned()),
    };
    (number, Some(e164), "Example caller")
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use shared::event::summary::EventSummary;
    use uuid::Uuid;

    use super::*;

    /// Whether any event at all can pass.
    fn can_be_met(filter: &Filter) -> bool {
        let ends = filter.statuses.is_empty() || filter.statuses.contains(&Status::Disconnected);
        let outgoing = filter.direction == Some(Direction::Outgoing);
        let only_ringing = filter.statuses.iter().eq([&Status::Ringing]);
        !(filter.missed_only && (!ends || outgoing || filter.minimum_duration.is_some()))
            && !(outgoing && only_ringing)
            && !(filter.party == Some(PartyKind::Internal)
                && filter.number_prefix.as_ref().is_some_and(|prefix| prefix.starts_with('+')))
    }

    proptest! {
        #[test]
        fn a_test_follows_the_filter(
            extensions in subsequence(vec!["42".to_owned(), "50".to_owned()], 0..=2),
            statuses in subsequence(vec![Status::Ringing, Status::Connected, Status::Disconnected], 0..=3),
            direction in of(select(vec![Direction::Incoming, Direction::Outgoing])),
            missed_only: bool,
            party in of(select(vec![PartyKind::Internal, PartyKind::External])),
            number_prefix in of("\\+?[0-9]{1,8}"),
            minimum_duration in of(1u32..4_000),
        ) {
            let filter = Filter {
                extensions: extensions.into_iter().collect(),
                statuses: statuses.into_iter().collect(),
                direction,
                missed_only,
                party,
                number_prefix,
                minimum_duration,
            };
            prop_assume!(can_be_met(&filter));
            let event = wanted_by(&filter, CallId::from_uuid(Uuid::nil()), Timestamp::UNIX_EPOCH);
            prop_assert!(filter.wants(&EventSummary::of(&event)), "{filter:?} {event:?}");
            let update = update_wanted_by(&filter, CallId::from_uuid(Uuid::nil()), Timestamp::UNIX_EPOCH);
            prop_assert!(filter.missed_only || filter.wants(&EventSummary::of(&update)), "{filter:?} {update:?}");
        }
    }

    #[test]
    fn without_a_filter_the_number_is_nobodys() {
        let event = wanted_by(&Filter::default(), CallId::from_uuid(Uuid::nil()), Timestamp::UNIX_EPOCH);
        assert_eq!(event.from_e164.as_deref(), Some(EXAMPLE_NUMBER));
        assert_eq!(event.web_hook_event.from, "00012025550123");
    }
}
