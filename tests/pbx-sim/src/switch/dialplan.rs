//! Numbers: what a dialled string means, and when two strings name the same external party.

use crate::world::{NodeSpec, World, prefixes};

/// The numbering of one node.
#[derive(Debug, Clone)]
pub struct DialPlan {
    trunk: String,
    country: String,
    area: String,
    /// What the other nodes dial in front of an extension of this one.
    pub(super) number: String,
}

impl DialPlan {
    /// Numbering of a node as the world describes it.
    pub fn new(world: &World, node: &str) -> Self {
        let NodeSpec { prefix, country, area, number, .. } = world.numbering(node);
        Self { trunk: prefix, country: country.unwrap_or_default(), area: area.unwrap_or_default(), number }
    }

    /// What a monitor of a user of this node is told: what is dialled in front of subscriber, national and international
    /// numbers, the area and the country.
    pub fn told(&self) -> [String; 5] {
        let [subscriber, national, international] = prefixes(&self.trunk);
        [subscriber, national, international, self.area.clone(), self.country.clone()]
    }

    /// International digits of an external number in whatever form it is written: `+32…`, `0032…`, `00032…`
    /// (trunk prefix and international prefix), `0472…` or `00472…` (national, without and with trunk prefix).
    /// `None` if it cannot be a number.
    ///
    /// This is how the control API reads what people write. What a user dials is read by [`Self::carried`].
    pub fn digits(&self, number: &str) -> Option<String> {
        let clean: String = number.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')')).collect();
        if let Some(digits) = clean.strip_prefix('+') {
            return is_dialable(digits).then(|| self.without_own_zero(digits));
        }
        if !is_dialable(&clean) {
            return None;
        }
        if !self.trunk.is_empty() && clean.starts_with(&self.trunk) {
            // Without the prefix for a line people write `0032…` and `0472…`, which begin like a dialled number with one.
            return Some(self.unprefixed(&clean).unwrap_or_else(|| self.carried(&clean[self.trunk.len()..])));
        }
        Some(self.unprefixed(&clean).unwrap_or(clean))
    }

    /// A full number of the own country as it is written there or abroad, without a prefix for a line.
    fn unprefixed(&self, number: &str) -> Option<String> {
        let full = self.country.len() + 8;
        let abroad = number.strip_prefix("00").filter(|rest| rest.starts_with(&self.country) && rest.len() >= full);
        let national = number.strip_prefix('0').filter(|rest| !rest.starts_with('0') && rest.len() == 9);
        abroad.map(str::to_owned).or_else(|| national.map(|rest| format!("{}{rest}", self.country)))
    }

    /// Whom the carrier connects with these digits behind the prefix for a line, in international digits: `00` and a country
    /// code, `0` and a national number, or a number of the own area, however many digits it has.
    ///
    /// It is as lenient as carriers are: a national zero behind the own country code does no harm.
    pub fn carried(&self, digits: &str) -> String {
        if let Some(international) = digits.strip_prefix("00") {
            return self.without_own_zero(international);
        }
        match digits.strip_prefix('0') {
            Some(national) => format!("{}{national}", self.country),
            None => format!("{}{}{digits}", self.country, self.area),
        }
    }

    fn without_own_zero(&self, international: &str) -> String {
        match international.strip_prefix(&self.country) {
            Some(national) if !self.country.is_empty() => {
                format!("{}{}", self.country, national.trim_start_matches('0'))
            }
            _ => international.to_owned(),
        }
    }

    /// Whom a dialled number reaches outside; `None` if it asks for no line.
    pub fn outside(&self, dialled: &str) -> Option<String> {
        self.is_outside(dialled).then(|| self.carried(&dialled[self.trunk.len()..]))
    }

    /// Whether a dialled number asks for a line.
    pub fn is_outside(&self, dialled: &str) -> bool {
        dialled.len() > self.trunk.len() && dialled.starts_with(&self.trunk) && is_dialable(dialled)
    }

    /// Whether a string in the control API can only mean an external party.
    pub fn looks_external(&self, number: &str) -> bool {
        self.digits(number).is_some() && (number.starts_with('+') || self.is_outside(number) || number.len() >= 7)
    }

    /// What a user dials to reach the party.
    pub fn callback(&self, digits: &str) -> String {
        format!("{}00{digits}", self.trunk)
    }
}

fn is_dialable(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*' || byte == b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_the_same_party() {
        let plan = DialPlan::new(&World::default(), "root");
        for form in ["+32472591687", "0032472591687", "00032472591687", "0472591687", "00472591687", "+32 472 59 16 87"]
        {
            assert_eq!(plan.digits(form).as_deref(), Some("32472591687"), "{form}");
        }
        assert_eq!(plan.digits("00033140000000").as_deref(), Some("33140000000"));
        assert_eq!(plan.digits("05551234").as_deref(), Some("3225551234"));
        assert_eq!(plan.digits("front door"), None);
    }

    #[test]
    fn only_the_trunk_prefix_reaches_the_outside() {
        let plan = DialPlan::new(&World::default(), "root");
        assert!(plan.is_outside("00032472591687"));
        assert!(!plan.is_outside("+32472591687"));
        assert!(!plan.is_outside("32472591687"));
        assert_eq!(plan.callback("32472591687"), "00032472591687");
    }
}
