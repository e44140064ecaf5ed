//! What the PBX says on the RCC API.

use std::sync::Arc;

use shared::address::ObjectNames;
use shared::event::Direction;
use shared::numbering::DialPrefixes;

use super::super::fields::Fields;
use crate::calls::{LegId, LegReport, LegState, Party, Phase, Relation, TAKEN_ELSEWHERE};

/// What people read of a party is cut behind this: an event with a full history has to fit into a message of the queue.
const LONGEST_NAME: usize = 128;
const LONGEST_NUMBER: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub enum RccFrame {
    /// The list of users is complete, or refused.
    InitializeResult {
        error: Option<String>,
    },
    User(UserInfo),
    UserInitializeResult(MonitorResult),
    /// The labels of a user's devices.
    Devices {
        src: Option<String>,
        /// Hardware id and label.
        labels: Vec<(String, String)>,
    },
    CallInfo(CallInfo),
    /// The result of an operation on a call.
    Result(OperationResult),
}

/// The answer to the request for a monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorResult {
    pub src: Option<String>,
    /// 0: refused.
    pub handle: u64,
    pub error: Option<String>,
    pub prefixes: DialPrefixes,
    /// Firmware 13r3 or later, as far as this message tells.
    pub is_13r3: bool,
}

/// A monitored or visible object, as a full snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub gone: bool,
    pub guid: String,
    pub cn: String,
    pub dn: String,
    pub h323: String,
    pub e164: String,
    /// Numbering node; empty where the firmware does not tell it.
    pub node: String,
    /// The PBX that it is at home at; empty where the firmware does not tell it.
    pub pbx: String,
    pub pseudo: String,
    pub devices: Vec<String>,
    pub channels: Option<u32>,
    pub alerting: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CallInfo {
    /// The `src` of the request for the monitor that reports this.
    pub src: Option<String>,
    pub user: u64,
    pub call: u64,
    pub message: String,
    pub state: Option<u32>,
    pub conference: Option<Arc<str>>,
    pub peer: Option<Party>,
    pub related: Vec<(Relation, Party)>,
    pub cause: Option<u16>,
    pub running_for: Option<u64>,
    pub last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationResult {
    /// The request's name, without `Result`.
    pub request: String,
    pub src: Option<String>,
    pub call: Option<u64>,
    pub error: Option<String>,
}

impl RccFrame {
    pub(in crate::pbx) fn read(mt: &str, src: Option<String>, fields: Fields<'_>) -> Option<Self> {
        Some(match mt {
            "InitializeResult" => Self::InitializeResult { error: fields.error() },
            "UserInfo" => Self::User(UserInfo::read(fields)),
            "UserInitializeResult" => Self::UserInitializeResult(MonitorResult {
                src,
                handle: fields.number("user").unwrap_or(0),
                error: fields.error(),
                prefixes: DialPrefixes {
                    international: fields.text("prefixIntl").unwrap_or_default(),
                    national: fields.text("prefixNtl").unwrap_or_default(),
                    subscriber: fields.text("prefixSubs").unwrap_or_default(),
                    area: fields.text("area").unwrap_or_default(),
                    country: fields.text("country").unwrap_or_default(),
                },
                is_13r3: fields.has("maxIntern"),
            }),
            "DevicesResult" => Self::Devices {
                src,
                labels: fields
                    .list("devices")
                    .filter_map(|device| Some((device.text("hw")?, device.text("text").unwrap_or_default())))
                    .collect(),
            },
            "CallInfo" => Self::CallInfo(CallInfo::read(src, fields)?),
            _ => Self::Result(OperationResult {
                request: mt.strip_suffix("Result").filter(|request| request.starts_with("User"))?.to_owned(),
                src,
                call: fields.number("call"),
                error: fields.error(),
            }),
        })
    }
}

impl UserInfo {
    fn read(fields: Fields<'_>) -> Self {
        let text = |name| fields.text(name).unwrap_or_default();
        let cn = text("cn");
        Self {
            gone: fields.text("update").is_some_and(|update| update == "del"),
            // The guid is the stable key; without one the long name, unique on the PBX, has to do.
            guid: fields.text("guid").filter(|guid| !guid.is_empty()).unwrap_or_else(|| cn.clone()),
            dn: bounded(&text("dn"), LONGEST_NAME),
            h323: bounded(&text("h323"), LONGEST_NAME),
            e164: bounded(&text("e164"), LONGEST_NUMBER),
            node: bounded(&text("node"), LONGEST_NAME),
            pbx: fields.text("pbx").filter(|pbx| !pbx.is_empty()).unwrap_or_else(|| text("loc")),
            pseudo: text("pseudo"),
            devices: fields.list("regs").filter_map(|device| device.text("hw")).collect(),
            channels: fields.number("channel").and_then(|n| n.try_into().ok()),
            alerting: fields.number("alert").and_then(|n| n.try_into().ok()),
            cn,
        }
    }

    /// Whether something differs but what the user does at the moment.
    pub fn is_named_otherwise(&self, other: &Self) -> bool {
        let named =
            |info: &Self| Self { devices: Vec::new(), channels: None, alerting: None, gone: false, ..info.clone() };
        named(self) != named(other)
    }

    pub fn names(&self, is_shared: bool) -> ObjectNames<'_> {
        ObjectNames { extension: &self.e164, node: &self.node, name: &self.h323, guid: &self.guid, is_shared }
    }

    pub fn display_name(&self) -> String {
        bounded(if self.dn.is_empty() { &self.cn } else { &self.dn }, LONGEST_NAME)
    }
}

impl CallInfo {
    fn read(src: Option<String>, fields: Fields<'_>) -> Option<Self> {
        let message = fields.text("msg").unwrap_or_default();
        let info_cause = fields
            .list("info")
            .filter(|info| info.text("type").as_deref() == Some("cause"))
            .find_map(|info| info.number("vali"));
        Some(Self {
            src,
            user: fields.number("user")?,
            call: fields.number("call")?,
            state: fields.number("state").and_then(|state| state.try_into().ok()),
            conference: fields
                .text("conf")
                .map(|conf| bounded(&conf, LONGEST_NUMBER))
                .filter(|conf| !conf.is_empty())
                .map(Arc::from),
            peer: fields.object("peer").map(party),
            related: fields
                .list("no")
                .filter_map(|other| Some((relation(&other.text("type")?)?, party(other))))
                .collect(),
            cause: info_cause.or_else(|| fields.number("cause")).and_then(|cause| cause.try_into().ok()),
            running_for: fields.number("time"),
            last: fields.flag("del") || message == "del",
            message,
        })
    }

    /// The report for the call core; `session` tells handles of different connections apart.
    pub fn into_report(self, session: u64) -> LegReport {
        if let Some(sent_to) = self.related.iter().find(|(relation, _)| *relation == Relation::SentTo) {
            return self.departure(session, sent_to.clone());
        }
        LegReport {
            leg: LegId { session, user: self.user, call: self.call },
            state: self.state.and_then(|bits| {
                Some(LegState {
                    phase: Phase::from_state(bits)?,
                    direction: if bits & 0x80 == 0 { Direction::Outgoing } else { Direction::Incoming },
                    held_by_user: bits & 0x100 != 0,
                    held_by_peer: bits & 0x200 != 0,
                })
            }),
            conference: self.conference,
            peer: self.peer,
            related: self.related,
            peer_changed: self.message == "r-ct",
            cause: self.cause,
            running_for: self.running_for,
            last: self.last,
        }
    }

    /// The PBX reports the call on at the place to which the user has sent it. For this user that is the end of the leg.
    fn departure(&self, session: u64, sent_to: (Relation, Party)) -> LegReport {
        LegReport {
            leg: LegId { session, user: self.user, call: self.call },
            state: Some(LegState {
                phase: Phase::DisconnectSent,
                direction: Direction::Incoming,
                held_by_user: false,
                held_by_peer: false,
            }),
            conference: None,
            peer: None,
            related: vec![sent_to],
            peer_changed: false,
            cause: Some(TAKEN_ELSEWHERE),
            running_for: None,
            last: self.last,
        }
    }
}

fn party(fields: Fields<'_>) -> Party {
    let text = |name| fields.text(name).unwrap_or_default();
    let number = bounded(&text("e164"), LONGEST_NUMBER);
    let names = ["dn", "cn"].map(text);
    let mut name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    if name.is_empty() && number.is_empty() {
        name = text("h323"); // All that is known of who has no number.
    }
    let is_e164 = |norm: &String| {
        norm.len() <= LONGEST_NUMBER
            && norm.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let object = ["h323", "cn"].map(text).iter().any(|name| !name.is_empty());
    Party { number, name: bounded(&name, LONGEST_NAME), e164: fields.text("norm").filter(is_e164), object }
}

/// A text for people, without control characters, which would take up six times their space in JSON. A tab or the end of a line keeps
/// words apart as a space.
fn bounded(text: &str, most: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let spaced =
        text.chars().map(|character| if character.is_control() && character.is_whitespace() { ' ' } else { character });
    spaced.filter(|character| !character.is_control()).take(most).collect()
}

fn relation(kind: &str) -> Option<Relation> {
    Some(match kind {
        "leg2" => Relation::Diverting,
        "leg2orig" => Relation::FirstDiverting,
        "leg1" => Relation::ForwardingTo,
        "ct" => Relation::Transferring,
        "parked-to" => Relation::ParkedTo,
        "picking" => Relation::Picking,
        "xfer" => Relation::SentTo,
        _ => return None,
    })
}
