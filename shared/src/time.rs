//! The time formats of the public contract.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const PUBLISHED_FORMAT: &str = "%Y-%m-%d %H:%M:%S (UTC)";

/// A time as the webhook contract writes it: `2022-09-16 11:57:43 (UTC)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedTime(pub Timestamp);

impl PublishedTime {
    pub fn to_text(self) -> String {
        self.0.strftime(PUBLISHED_FORMAT).to_string()
    }
}

impl Serialize for PublishedTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for PublishedTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        jiff::civil::DateTime::strptime(PUBLISHED_FORMAT, &text)
            .and_then(|civil| TimeZone::UTC.to_timestamp(civil))
            .map(Self)
            .map_err(|_| de::Error::custom(format_args!("`{text}` is not of the form `YYYY-MM-DD hh:mm:ss (UTC)`")))
    }
}

/// ISO 8601 in UTC with exactly three decimals, so that texts sort like times.
pub fn iso_millis(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A time as tables keep it: whole milliseconds, which is all that a comparison needs.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_format_round_trips() {
        let time = PublishedTime("2022-09-16T11:57:43.9Z".parse().expect("a time"));
        let text = serde_json::to_string(&time).expect("text");
        assert_eq!(text, r#""2022-09-16 11:57:43 (UTC)""#);
        let back: PublishedTime = serde_json::from_str(&text).expect("a time");
        assert_eq!(back.to_text(), time.to_text());
    }

    #[test]
    fn iso_texts_have_fixed_width() {
        assert_eq!(iso_millis("2022-09-16T11:57:43Z".parse().expect("a time")), "2022-09-16T11:57:43.000Z");
    }
}
