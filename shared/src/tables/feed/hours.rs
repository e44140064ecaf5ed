//! Calls that ended, by hour and PBX.
//!
//! The counters of the open hours are attributes of the head. They ride in the add that reserves numbers, so that a call costs no write of
//! its own for them. A call counts in the hour of its end if that is the present hour or the one before, else in the hour in which it
//! is told: an agent may have been cut off for long. So nothing is added any more to an hour that is over for longer than [`OPEN_FOR`],
//! and its counters are moved to an item `HOURS`/`<hour>` that is put once. A crash between the put and the removal repeats the removal.
//!
//! The add has no condition. A batch that dies behind it comes again and is counted again, so a crash counts a call twice; no call is
//! left out.
//!
//! Rejected: an item for each hour that is added to with each call, because that is a write unit more. Rejected as well: a transaction
//! that moves a closed hour, because the adds of all calls would meet it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use jiff::{SignedDuration, Timestamp};

use super::keys::head_key;
use crate::tables::item::{Item, TableError, VERSION, is_over, key, now, number, text};
use crate::tables::state::StateTable;

const HOURS: &str = "HOURS";
const SECONDS: i64 = 3_600;
/// For so long after its end calls are added to an hour, and some minutes more, because clocks differ and functions take their time.
const OPEN_FOR: SignedDuration = SignedDuration::from_mins(65);
const READ: &str = "read the hours";

/// A call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedCall<'a> {
    pub at: Timestamp,
    pub pbx: &'a str,
    pub missed: bool,
}

/// The calls that ended in an hour at a PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourOfCalls {
    /// Its begin.
    pub hour: Timestamp,
    pub pbx: String,
    pub calls: u64,
    pub missed: u64,
}

/// How many of what, by the names of the attributes.
type Counters = BTreeMap<String, u64>;

/// What an attribute counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Calls,
    Missed,
}

impl Counted {
    fn attribute(self, hour: i64, pbx: &str) -> String {
        let letter = if self == Self::Calls { 'c' } else { 'm' };
        format!("{letter}{hour}#{pbx}")
    }
}

/// The hour, the PBX and what is counted of it, of the name of an attribute.
fn meaning(attribute: &str) -> Option<(i64, &str, Counted)> {
    let (head, pbx) = attribute.split_once('#')?;
    let counted = match head.get(..1)? {
        "c" => Counted::Calls,
        "m" => Counted::Missed,
        _ => return None,
    };
    Some((head.get(1..)?.parse().ok()?, pbx, counted))
}

fn hour_of(time: Timestamp) -> i64 {
    time.as_second().div_euclid(SECONDS)
}

fn begin_of(hour: i64) -> Timestamp {
    hour.checked_mul(SECONDS).and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MIN)
}

fn hour_key(hour: i64) -> Item {
    key(HOURS, begin_of(hour).to_string())
}

/// What is to be added for these calls.
fn counters(ended: &[EndedCall<'_>], now: Timestamp) -> Counters {
    let present = hour_of(now);
    let mut counters = Counters::new();
    let mut add = |name: String| *counters.entry(name).or_default() += 1;
    for call in ended {
        let hour = Some(hour_of(call.at)).filter(|hour| (present - 1..=present).contains(hour)).unwrap_or(present);
        add(Counted::Calls.attribute(hour, call.pbx));
        if call.missed {
            add(Counted::Missed.attribute(hour, call.pbx));
        }
    }
    counters
}

/// The counters that an item has.
fn counters_of(item: &Item) -> Counters {
    let counters = item.iter().filter(|(name, _)| meaning(name).is_some());
    counters.filter_map(|(name, value)| Some((name.clone(), value.as_n().ok()?.parse().ok()?))).collect()
}

/// Adds the calls to the update of the head that reserves numbers. `update` is the expression without them.
pub(super) fn with_counters(
    request: UpdateItemFluentBuilder,
    update: &str,
    ended: &[EndedCall<'_>],
    now: Timestamp,
) -> UpdateItemFluentBuilder {
    let (mut request, mut update) = (request, update.to_owned());
    for (n, (name, count)) in counters(ended, now).into_iter().enumerate() {
        update.push_str(&format!(", #c{n} :c{n}"));
        request = request
            .expression_attribute_names(format!("#c{n}"), name)
            .expression_attribute_values(format!(":c{n}"), number(count as i64));
    }
    request.update_expression(update)
}

impl StateTable {
    /// The calls that ended in these hours, both included, by hour and PBX.
    pub async fn calls_by_hour(&self, from: Timestamp, to: Timestamp) -> Result<Vec<HourOfCalls>, TableError> {
        let (first, last) = (hour_of(from), hour_of(to));
        let mut head = self.open_hours().await?;
        let mut kept = self.kept_hours(first, last).await?;
        // An hour that was moved in between would be missing; one that is in both was moved, or is to be.
        for _ in 0..2 {
            let again = self.open_hours().await?;
            let is_still = head.keys().all(|name| again.contains_key(name));
            head = again;
            if is_still {
                break;
            }
            kept = self.kept_hours(first, last).await?;
        }
        head.extend(kept);
        let mut found: BTreeMap<(i64, &str), HourOfCalls> = BTreeMap::new();
        for (name, count) in &head {
            let Some((hour, pbx, counted)) = meaning(name).filter(|(hour, ..)| (first..=last).contains(hour)) else {
                continue;
            };
            let at = found.entry((hour, pbx)).or_insert_with(|| HourOfCalls {
                hour: begin_of(hour),
                pbx: pbx.to_owned(),
                calls: 0,
                missed: 0,
            });
            match counted {
                Counted::Calls => at.calls = *count,
                Counted::Missed => at.missed = *count,
            }
        }
        Ok(found.into_values().collect())
    }

    /// Moves the counters of the hours that nothing is added to any more, and returns of how many hours.
    pub async fn move_closed_hours(&self) -> Result<usize, TableError> {
        let now = now(&self.client);
        let closed = now.checked_sub(OPEN_FOR).map_or(i64::MIN, hour_of);
        let mut counters = self.open_hours().await?;
        counters.retain(|name, _| meaning(name).is_some_and(|(hour, ..)| hour < closed));
        let hours: BTreeSet<i64> = counters.keys().filter_map(|name| Some(meaning(name)?.0)).collect();
        for hour in &hours {
            let of_it = counters.iter().filter(|(name, _)| meaning(name).is_some_and(|(other, ..)| other == *hour));
            let mut item: Item = of_it.map(|(name, count)| (name.clone(), number(*count as i64))).collect();
            item.extend(hour_key(*hour));
            item.insert("v".to_owned(), number(VERSION as i64));
            item.insert("expiresAt".to_owned(), number(self.keep.deleted_at((hour + 1) * SECONDS)));
            self.put_hour(item).await?;
        }
        if !hours.is_empty() {
            self.remove_from_head(counters.into_keys().collect()).await?;
        }
        Ok(hours.len())
    }

    /// Puts an hour, unless it was put by somebody who died before the counters were removed.
    async fn put_hour(&self, item: Item) -> Result<(), TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match put.map_err(SdkError::into_service_error) {
            Ok(_) | Err(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(TableError::request("keep an hour", &error)),
        }
    }

    async fn remove_from_head(&self, names: Vec<String>) -> Result<(), TableError> {
        let places: Vec<String> = (0..names.len()).map(|n| format!("#c{n}")).collect();
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(head_key()))
            .update_expression(format!("REMOVE {}", places.join(", ")));
        for (place, name) in places.into_iter().zip(names) {
            request = request.expression_attribute_names(place, name);
        }
        let removed = request.send().await;
        removed.map(drop).map_err(|error| TableError::request("close the hours", &error.into_service_error()))
    }

    /// The counters in the head.
    async fn open_hours(&self) -> Result<Counters, TableError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(head_key())).consistent_read(true);
        let answer = get.send().await.map_err(|error| TableError::request(READ, &error.into_service_error()))?;
        Ok(answer.item.as_ref().map(counters_of).unwrap_or_default())
    }

    /// The counters of hours that were moved, both included.
    async fn kept_hours(&self, first: i64, last: i64) -> Result<Counters, TableError> {
        let (now, mut found, mut behind) = (now(&self.client), Counters::new(), None);
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :hours AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":hours", text(HOURS))
                .expression_attribute_values(":first", text(begin_of(first).to_string()))
                .expression_attribute_values(":last", text(begin_of(last).to_string()))
                .consistent_read(true)
                .set_exclusive_start_key(behind)
                .send()
                .await
                .map_err(|error| TableError::request(READ, &error.into_service_error()))?;
            let items = answer.items.unwrap_or_default();
            found.extend(items.iter().filter(|item| !is_over(item, now)).flat_map(counters_of));
            behind = answer.last_evaluated_key;
            if behind.is_none() {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 495_123;

    fn at(hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_second(hour * SECONDS + minute * 60).expect("a time")
    }

    #[test]
    fn a_call_counts_in_its_hour_unless_that_is_long_over() {
        let call = |at: Timestamp, missed: bool| EndedCall { at, pbx: "a#1", missed };
        let check = |calls: &[EndedCall<'_>], expected: &[(&str, u64)]| {
            let expected: Counters = expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
            assert_eq!(counters(calls, at(HOUR, 10)), expected, "{calls:?}");
        };
        check(&[], &[]);
        check(&[call(at(HOUR, 9), false), call(at(HOUR, 9), true)], &[("c495123#a#1", 2), ("m495123#a#1", 1)]);
        check(&[call(at(HOUR - 1, 0), false)], &[("c495122#a#1", 1)]);
        for other in [at(HOUR - 2, 59), at(HOUR + 1, 0), Timestamp::UNIX_EPOCH] {
            check(&[call(other, false)], &[("c495123#a#1", 1)]);
        }
    }

    #[test]
    fn only_counters_are_taken_for_counters() {
        assert_eq!(meaning("c495123#a#1"), Some((HOUR, "a#1", Counted::Calls)));
        assert_eq!(meaning("m-1#"), Some((-1, "", Counted::Missed)));
        for other in ["n", "pk", "reservedAt", "forgotten", "c1", "cx#a", "#a", "é1#a", ""] {
            assert_eq!(meaning(other), None, "{other}");
        }
    }
}
