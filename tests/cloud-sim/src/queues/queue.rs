//! One queue: its messages, who has which of them for how long, and what was sent lately.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use md5::{Digest, Md5};

use super::settings::Settings;
use crate::counts::FaultKind;
use crate::error::{Answer, ApiError};
use crate::world::World;

const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(5 * 60);
/// A message may be hidden for no longer than this from its receipt on.
const LONGEST_HIDDEN: Duration = Duration::from_secs(12 * 60 * 60);
/// How often a short poll of a standard queue finds nothing although there is something.
const SHORT_POLL_MISSES: f64 = 0.25;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
    pub(crate) sequence: u64,
    pub(crate) sent_at: Duration,
    pub(crate) receive_count: u32,
    pub(crate) first_received_at: Duration,
    visible_at: Duration,
    received_at: Duration,
    /// Whether somebody has it, or had it until its visibility ended.
    in_hand: bool,
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) body: String,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
    pub(crate) delay: Option<Duration>,
}

/// A message that was received, with the receipt to give it back by.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) message: Message,
    pub(crate) receipt: String,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    messages: BTreeMap<u64, Message>,
    sequence: u64,
    /// What was sent lately: by its scope and deduplication id, the time, the message's id and its sequence number.
    sent: BTreeMap<(Option<String>, String), (Duration, String, u64)>,
    pub(crate) purged_at: Option<Duration>,
}

impl Message {
    fn is_in_flight(&self, now: Duration) -> bool {
        self.in_hand && self.visible_at > now
    }

    pub(crate) fn md5(&self) -> String {
        hex::encode(Md5::digest(self.body.as_bytes()))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The system attributes, by their names.
    pub(crate) fn attributes(&self) -> BTreeMap<&'static str, String> {
        let millis = |at: Duration| at.as_millis().to_string();
        let mut attributes = BTreeMap::from([
            ("SenderId", "AIDASIMULATED".to_owned()),
            ("SentTimestamp", millis(self.sent_at)),
            ("ApproximateReceiveCount", self.receive_count.to_string()),
            ("ApproximateFirstReceiveTimestamp", millis(self.first_received_at)),
        ]);
        attributes.extend(self.group.clone().map(|group| ("MessageGroupId", group)));
        if let Some(deduplication) = &self.deduplication {
            attributes.insert("MessageDeduplicationId", deduplication.clone());
            attributes.insert("SequenceNumber", sequence_number(self.sequence));
        }
        attributes
    }
}

pub(crate) fn sequence_number(sequence: u64) -> String {
    format!("{:020}", 18_000_000_000_000_000_000_u64.wrapping_add(sequence))
}

impl Queue {
    pub(crate) fn new(name: String, settings: Settings) -> Self {
        Self { name, settings, messages: BTreeMap::new(), sequence: 0, sent: BTreeMap::new(), purged_at: None }
    }

    /// Returns the message's id and sequence number, which of a repeat are those of the first one.
    pub(crate) fn send(&mut self, outgoing: Outgoing, world: &mut World<'_>) -> Answer<(String, u64)> {
        self.check(&outgoing)?;
        let now = world.now;
        let deduplication = match outgoing.deduplication {
            Some(id) => Some(id),
            None if self.settings.fifo => Some(hex::encode(<sha2::Sha256 as Digest>::digest(outgoing.body.as_bytes()))),
            None => None,
        };
        self.sent.retain(|_, (at, ..)| *at + DEDUPLICATION_WINDOW > now);
        let scope = outgoing.group.clone().filter(|_| self.settings.deduplication_per_group);
        let repeated = deduplication.clone().map(|id| (scope, id));
        if let Some((_, id, sequence)) = repeated.as_ref().and_then(|key| self.sent.get(key)) {
            return Ok((id.clone(), *sequence));
        }
        self.sequence += 1;
        let delay = outgoing.delay.unwrap_or(self.settings.delay);
        let (high, low) = (world.dice.number(), world.dice.number());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        );
        if let Some(key) = repeated {
            self.sent.insert(key, (now, id.clone(), self.sequence));
        }
        let message = Message {
            id: id.clone(),
            body: outgoing.body,
            group: outgoing.group,
            deduplication: deduplication.filter(|_| self.settings.fifo),
            sequence: self.sequence,
            sent_at: now,
            receive_count: 0,
            first_received_at: Duration::ZERO,
            visible_at: now + delay,
            received_at: Duration::ZERO,
            in_hand: false,
        };
        self.messages.insert(self.sequence, message);
        Ok((id, self.sequence))
    }

    fn check(&self, outgoing: &Outgoing) -> Answer<()> {
        let missing =
            |name: &str| ApiError::new("MissingParameter", format!("The request must contain the parameter {name}."));
        let invalid = |message: &str| ApiError::new("InvalidParameterValue", message);
        if outgoing.body.is_empty() {
            return Err(missing("MessageBody"));
        }
        if outgoing.body.len() > self.settings.largest {
            return Err(invalid(&format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
                self.settings.largest
            )));
        }
        let is_allowed =
            |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        if !outgoing.body.chars().all(is_allowed) {
            return Err(ApiError::new("InvalidMessageContents", "Invalid characters found."));
        }
        let is_id = |id: &String| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        for (name, id) in [("MessageGroupId", &outgoing.group), ("MessageDeduplicationId", &outgoing.deduplication)] {
            if id.as_ref().is_some_and(|id| !is_id(id)) {
                return Err(invalid(&format!(
                    "Value for parameter {name} is invalid. Reason: {name} can only include alphanumeric and punctuation \
                     characters. 1 to 128 in length."
                )));
            }
        }
        if !self.settings.fifo {
            if outgoing.deduplication.is_some() {
                return Err(invalid(
                    "The request include parameter MessageDeduplicationId which is not valid for this queue type",
                ));
            }
            return Ok(());
        }
        if outgoing.group.is_none() {
            return Err(missing("MessageGroupId"));
        }
        if outgoing.deduplication.is_none() && !self.settings.content_based_deduplication {
            return Err(invalid(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
        if outgoing.delay.is_some() {
            return Err(invalid(
                "Value for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type",
            ));
        }
        Ok(())
    }

    /// Hands out messages, and returns beside them what goes to the dead-letter queue. `short`: a poll that does not wait.
    pub(crate) fn receive(
        &mut self,
        most: usize,
        hidden: Duration,
        short: bool,
        world: &mut World<'_>,
    ) -> (Vec<Received>, Vec<Message>) {
        self.expire(world.now);
        let mut dead = Vec::new();
        let chosen = if self.settings.fifo {
            self.next_in_order(most, &mut dead, world.now)
        } else {
            self.any(most, &mut dead, short, world)
        };
        let received = chosen.into_iter().filter_map(|sequence| self.hand_out(sequence, hidden, world)).collect();
        (received, dead)
    }

    fn hand_out(&mut self, sequence: u64, hidden: Duration, world: &mut World<'_>) -> Option<Received> {
        let is_copied = !self.settings.fifo && world.dice.injects(FaultKind::Copy, world.counts);
        let message = self.messages.get_mut(&sequence)?;
        if message.receive_count == 0 {
            message.first_received_at = world.now;
        }
        message.receive_count += 1;
        (message.received_at, message.in_hand) = (world.now, true);
        message.visible_at = if is_copied { world.now } else { world.now + hidden };
        let receipt =
            format!("{}/{}/{:016x}", sequence, message.receive_count, crate::log::fingerprint(self.name.bytes()));
        Some(Received { message: message.clone(), receipt: hex::encode(receipt) })
    }

    /// The first messages of groups of which nothing is in flight, as many of one group as there are before those of the next.
    fn next_in_order(&mut self, most: usize, dead: &mut Vec<Message>, now: Duration) -> Vec<u64> {
        let in_flight = self.messages.values().filter(|message| message.is_in_flight(now));
        let locked: BTreeSet<Option<String>> = in_flight.map(|message| message.group.clone()).collect();
        let mut groups: Vec<(&Option<String>, Vec<u64>)> = Vec::new();
        let mut places: BTreeMap<&Option<String>, usize> = BTreeMap::new();
        for message in self.messages.values().filter(|message| !locked.contains(&message.group)) {
            let place = *places.entry(&message.group).or_insert_with(|| {
                groups.push((&message.group, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(message.sequence);
        }
        let ordered: Vec<Vec<u64>> = groups.into_iter().map(|(_, sequences)| sequences).collect();
        let mut chosen = Vec::new();
        for sequences in ordered {
            for sequence in sequences {
                if chosen.len() == most {
                    return chosen;
                }
                // What is delayed holds up what is behind it.
                if self.messages[&sequence].visible_at > now {
                    break;
                }
                if self.is_dead(sequence) {
                    dead.extend(self.messages.remove(&sequence));
                } else {
                    chosen.push(sequence);
                }
            }
        }
        chosen
    }

    fn any(&mut self, most: usize, dead: &mut Vec<Message>, short: bool, world: &mut World<'_>) -> Vec<u64> {
        let visible = self.messages.values().filter(|message| message.visible_at <= world.now);
        let mut chosen: Vec<u64> = visible.map(|message| message.sequence).collect();
        let disorders = !chosen.is_empty() && world.dice.happens(world.dice.faults.disorder);
        if disorders {
            let before = chosen.clone();
            world.dice.shuffle(&mut chosen);
            let some = 1 + world.dice.below(most.min(chosen.len()));
            let missed = short && world.dice.happens(SHORT_POLL_MISSES);
            chosen.truncate(if missed { 0 } else { some });
            if chosen != before {
                world.counts.fault(FaultKind::Disorder);
            }
        }
        let mut alive = Vec::new();
        for sequence in chosen {
            if alive.len() == most {
                break;
            }
            if self.is_dead(sequence) { dead.extend(self.messages.remove(&sequence)) } else { alive.push(sequence) }
        }
        alive
    }

    fn is_dead(&self, sequence: u64) -> bool {
        let count = self.messages.get(&sequence).map_or(0, |message| message.receive_count);
        self.settings.redrive.as_ref().is_some_and(|redrive| count >= redrive.max_receive_count)
    }

    /// Takes a message that was received too often. A FIFO queue counts its age anew.
    pub(crate) fn take_dead(&mut self, message: Message, now: Duration) {
        self.sequence += 1;
        let sent_at = if self.settings.fifo { now } else { message.sent_at };
        let sequence = self.sequence;
        self.messages.insert(sequence, Message { sequence, sent_at, visible_at: now, in_hand: false, ..message });
    }

    pub(crate) fn delete(&mut self, receipt: &str, now: Duration) -> Answer<()> {
        let (sequence, count) = self.parse_receipt(receipt)?;
        let Some(message) = self.messages.get(&sequence) else { return Ok(()) };
        let is_latest = message.receive_count == count;
        if self.settings.fifo && !(is_latest && message.is_in_flight(now)) {
            return Err(expired(receipt));
        }
        // A standard queue takes an older receipt, but keeps what was received again meanwhile.
        if is_latest {
            self.messages.remove(&sequence);
        }
        Ok(())
    }

    pub(crate) fn change_visibility(&mut self, receipt: &str, hidden: Duration, now: Duration) -> Answer<()> {
        let (sequence, count) = self.parse_receipt(receipt)?;
        let fifo = self.settings.fifo;
        let Some(message) = self.messages.get_mut(&sequence) else {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "Value {receipt} for parameter ReceiptHandle is invalid. \
                     Reason: Message does not exist or is not available for visibility timeout change."
                ),
            ));
        };
        if message.receive_count != count || !message.is_in_flight(now) {
            return Err(if fifo {
                expired(receipt)
            } else {
                ApiError::new("MessageNotInflight", "The specified message isn't in flight.")
            });
        }
        if now + hidden > message.received_at + LONGEST_HIDDEN {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "Value for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit.",
            ));
        }
        message.visible_at = now + hidden;
        Ok(())
    }

    fn parse_receipt(&self, receipt: &str) -> Answer<(u64, u32)> {
        let read = || {
            let text = String::from_utf8(hex::decode(receipt).ok()?).ok()?;
            let mut parts = text.split('/');
            let (sequence, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let queue = u64::from_str_radix(parts.next()?, 16).ok()?;
            (queue == crate::log::fingerprint(self.name.bytes())).then_some((sequence, count))
        };
        read().ok_or_else(|| {
            ApiError::new(
                "ReceiptHandleIsInvalid",
                format!("The input receipt handle \"{receipt}\" is not a valid receipt handle."),
            )
        })
    }

    fn expire(&mut self, now: Duration) {
        let retention = self.settings.retention;
        self.messages.retain(|_, message| message.sent_at + retention > now);
    }

    pub(crate) fn purge(&mut self) {
        self.messages.clear();
    }

    /// Visible, in flight, delayed.
    pub(crate) fn depth(&mut self, now: Duration) -> (usize, usize, usize) {
        self.expire(now);
        let in_flight = self.messages.values().filter(|message| message.is_in_flight(now)).count();
        let hidden = self.messages.values().filter(|message| message.visible_at > now).count();
        (self.messages.len() - hidden, in_flight, hidden - in_flight)
    }

    /// When the next message that is hidden now becomes visible.
    pub(crate) fn next_visible(&self, now: Duration) -> Option<Duration> {
        self.messages.values().map(|message| message.visible_at).filter(|at| *at > now).min()
    }

    /// All bodies that are there, in order, for tests.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.messages.values().map(|message| message.body.clone()).collect()
    }
}

fn expired(receipt: &str) -> ApiError {
    ApiError::new(
        "InvalidParameterValue",
        format!("Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."),
    )
}
