//! Numbers: what a dialled string means, and when two strings name the same external party.

use crate::world::World;

/// The numbering of one PBX.
#[derive(Debug, Clone)]
pub struct DialPlan {
    trunk: String,
    country: String,
    area: String,
}

impl DialPlan {
    /// Numbering as the world describes it.
    pub fn new(world: &World) -> Self {
        Self { trunk: world.trunk.prefix.clone(), country: world.country.clone(), area: world.area.clone() }
    }

    /// International digits of an external number in whatever form it is written: `+32…`, `0032…`, `00032…`
    /// (trunk prefix and international prefix), `0472…` or `00472…` (national, without and with trunk prefix).
    /// `None` if it cannot be a number.
    ///
    /// `00` followed by the own country code and a number of full length is read as international, because that is
    /// how people write it; a national number that begins like that is out of reach, which a simulator can afford.
    pub fn digits(&self, number: &str) -> Option<String> {
        let clean: String = number.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')')).collect();
        let (plus, rest) = clean.strip_prefix('+').map_or((false, clean.as_str()), |rest| (true, rest));
        if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#') {
            return None;
        }
        if plus {
            return Some(rest.to_owned());
        }
        let international = |digits: &str| digits.starts_with(&self.country) && digits.len() >= self.country.len() + 8;
        let rest = match rest.strip_prefix(&self.trunk) {
            Some(after) if !self.trunk.is_empty() => after,
            _ => return Some(rest.to_owned()),
        };
        if let Some(after) = rest.strip_prefix("00") {
            return Some(after.to_owned());
        }
        if let Some(after) = rest.strip_prefix('0') {
            return Some(if international(after) { after.to_owned() } else { format!("{}{after}", self.country) });
        }
        Some(if rest.len() >= 8 {
            format!("{}{rest}", self.country)
        } else {
            format!("{}{}{rest}", self.country, self.area)
        })
    }

    /// Whether a dialled number asks for a line.
    pub fn is_outside(&self, dialled: &str) -> bool {
        dialled.len() > self.trunk.len()
            && dialled.starts_with(&self.trunk)
            && dialled.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_the_same_party() {
        let plan = DialPlan::new(&World::default());
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
        let plan = DialPlan::new(&World::default());
        assert!(plan.is_outside("00032472591687"));
        assert!(!plan.is_outside("+32472591687"));
        assert!(!plan.is_outside("32472591687"));
        assert_eq!(plan.callback("32472591687"), "00032472591687");
    }
}
