//! How times are read. Each has its zone.

use jiff::Timestamp;
use serde_json::Value;

use super::Given;
use crate::errors::ApiError;

impl Given<'_> {
    pub(crate) fn time(self) -> Result<Timestamp, ApiError> {
        let takes = "a time in ISO 8601 with its zone before 9999-12-30, such as 2027-01-31T00:00:00Z or \
                     2027-01-31T01:00:00+01:00";
        match self.value {
            Value::String(text) => time(text).ok_or_else(|| self.place.refuse(format_args!("takes {takes}."))),
            _ => Err(self.wrong_kind(takes)),
        }
    }
}

/// A time with its zone. The plus of a zone is a space where it was not escaped, and webhooks write ` (UTC)` for `Z`.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(local) = text.strip_suffix("(UTC)") {
        return format!("{}Z", local.trim_end()).parse().ok();
    }
    let lost_plus = text.rsplit_once(' ').filter(|(time, zone)| time.contains(':') && is_zone(zone));
    match lost_plus {
        Some((time, zone)) => format!("{time}+{zone}").parse().ok(),
        None => text.parse().ok(),
    }
}

/// `hh:mm`, `hhmm` or `hh`.
fn is_zone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    matches!((text.len(), digits), (5, 4) | (4, 4) | (2, 2)) && (text.len() != 5 || text.as_bytes()[2] == b':')
}
