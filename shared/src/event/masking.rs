//! An event for a receiver that must not learn who called whom: of each number the last three digits are left, and no name.
//!
//! It is masked when it is sent, and recorded as it is. So what waits and what is sent again follows the webhook as it is then, and the
//! signature is that of what was sent. The monitored user's own extension, node and guid stay: by them a receiver knows whose call it is.

use super::{CallEvent, ConferenceEvent, ExtendedEvent};

/// Digits that are left.
const SHOWN: usize = 3;

impl CallEvent {
    /// The same without whole numbers and names.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut event = self.clone();
        // Where the other party is was concluded from the number, if the agent did not tell it.
        event.details.get_or_insert_default().party = Some(ExtendedEvent::from(self).party);
        event.details.get_or_insert_default().missed = self.is_missed();
        event.from_e164 = event.from_e164.map(|number| masked(&number));
        event.to_e164 = event.to_e164.map(|number| masked(&number));
        if let Some(user) = &mut event.user {
            user.name.clear();
        }
        let told = &mut event.web_hook_event;
        let own = told.monitored_extension.clone();
        let number = |number: &str| if number == own { own.clone() } else { masked(number) };
        (told.from, told.to) = (number(&told.from), number(&told.to));
        for name in [&mut told.from_name, &mut told.to_name, &mut told.monitored_user, &mut told.monitiored_user] {
            name.clear();
        }
        for ConferenceEvent { from, from_name, to, to_name, .. } in &mut told.conference_events {
            *from = from.as_deref().map(number);
            *to = to.as_deref().map(number);
            (*from_name, *to_name) = (None, None);
        }
        event
    }
}

/// `***687`. What is no number, such as the address of a SIP phone, is a name: nothing of it is left.
fn masked(number: &str) -> String {
    let is_number = number.chars().all(|c| c.is_ascii_digit() || "+*#".contains(c));
    match number.len() {
        0 => String::new(),
        _ if !is_number => "***".to_owned(),
        length if length <= SHOWN => number.to_owned(),
        length => format!("***{}", &number[length - SHOWN..]),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::call::{PartyKind, Status};
    use crate::ids::CallId;

    fn full() -> CallEvent {
        let mut event =
            CallEvent::full_example(CallId::from_uuid(Uuid::nil()), Status::Disconnected, Timestamp::UNIX_EPOCH);
        event.web_hook_event.conference_events[0].from = Some("0032472591687".to_owned());
        event
    }

    #[test]
    fn numbers_keep_three_digits_and_others_nothing() {
        let of = |number: &str| masked(number);
        assert_eq!(of(""), "");
        assert_eq!(of("42"), "42");
        assert_eq!(of("4711"), "***711");
        assert_eq!(of("+32472591687"), "***687");
        assert_eq!(of("alice@example.com"), "***");
        assert_eq!(of("Zoë 1"), "***");
    }

    #[test]
    fn nothing_of_the_parties_is_left_in_any_form() {
        let masked = full().masked();
        let shown = serde_json::to_string(&masked).expect("json");
        let extended = ExtendedEvent::from(&masked);
        let query = format!("{:?} {:?}", masked.web_hook_event.query_pairs(), extended.query_pairs());
        let text = format!("{shown} {} {query}", serde_json::to_string(&extended).expect("json"));
        for secret in ["2025550", "47259", "Example caller", "Workshop", "Thomas", "thomas.de.wilde"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in [r#""from":"***123""#, r#""fromE164":"***123""#, r#""monitoredExtension":"42""#, r#""***687""#] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
    }

    #[test]
    fn what_was_concluded_from_a_number_stays() {
        let mut event = full();
        event.details = None;
        event.web_hook_event.connected = false;
        let plain = ExtendedEvent::from(&event);
        let masked = event.masked();
        let shown = ExtendedEvent::from(&masked);
        assert_eq!((shown.party, shown.missed), (plain.party, plain.missed));
        assert_eq!((shown.party, shown.missed), (PartyKind::External, true));
        assert_eq!(shown.presentation, plain.presentation);
    }
}
