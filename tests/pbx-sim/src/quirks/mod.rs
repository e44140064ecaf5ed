//! Switches for everything in which real PBXes differ, or that no trace of a real PBX proves.
//!
//! One table says all: a switch's name, its plain value, its other values, what it means, and the section of the protocol
//! reference whose statement it puts in doubt. `GET /quirks` shows the table, `POST /quirks` changes it.
//!
//! One open question of the reference has no switch: the meaning of some remote control codes (§13.12), which cannot be seen
//! in the signalling.

mod setting;

use serde_json::{Map, Value, json};

use setting::{Setting, choice, switches};

/// One switch of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Switch {
    /// Its name in the control API.
    pub name: &'static str,
    /// The sections of the protocol reference that it belongs to.
    pub section: &'static str,
    /// What it means when it is set.
    pub meaning: &'static str,
    /// Its values; of an open kind those that are worth trying.
    pub values: Vec<Value>,
    /// Which other values are taken, in words.
    pub open: Option<&'static str>,
    /// The plain behaviour.
    pub default: Value,
    /// The present value.
    pub value: Value,
}

choice! {
    /// How the end of a call is marked.
    DelStyle {
        /// `msg:"del"` and `del:true`.
        Both = "both",
        /// Only `msg:"del"`.
        Msg = "msg",
        /// Only `del:true`.
        Flag = "flag",
    }
}

choice! {
    /// What a request with a dead or foreign handle gets.
    DeadHandles {
        /// A result with `error`.
        Error = "error",
        /// A result that looks positive.
        Ok = "ok",
        /// Nothing.
        Silent = "silent",
    }
}

choice! {
    /// What a refused login says.
    LoginRefusal {
        /// `ok:false`, `error` and `errorText`.
        Explained = "explained",
        /// `ok:false`.
        Bare = "bare",
        /// No `ok` at all.
        Absent = "absent",
    }
}

choice! {
    /// The number of calls in `UserInfo`.
    Channel {
        /// As it is.
        Live = "live",
        /// Neither `channel` nor `alert`.
        Absent = "absent",
        /// Always 0.
        Frozen = "frozen",
    }
}

choice! {
    /// What a refused `UserInitialize` gets.
    MonitorRefusal {
        /// Handle 0.
        Zero = "zero",
        /// A result without handle, with `error`.
        Error = "error",
        /// Nothing.
        Silent = "silent",
    }
}

choice! {
    /// A waiting queue that is monitored without its Long Name as `hw`.
    QueueHw {
        /// As with it.
        Ignored = "ignored",
        /// Gives a handle that never reports anything.
        Deaf = "deaf",
        /// Is refused.
        Refused = "refused",
    }
}

choice! {
    /// The `msg` with which running calls are reported.
    RunningMessage {
        /// `update`.
        Update = "update",
        /// That of the phase, as if it had just been reached.
        Phase = "phase",
        /// None.
        Absent = "absent",
    }
}

choice! {
    /// Where `CallInfo` has no `peer`.
    OmitPeer {
        /// Nowhere.
        Never = "never",
        /// In the last message of a handle.
        Last = "last",
        /// In every message but the first of a handle.
        Later = "later",
    }
}

choice! {
    /// Where the cause of an end is told.
    CauseStyle {
        /// In `info`.
        Info = "info",
        /// In `info`, and as `cause`.
        Both = "both",
        /// As `cause`.
        Top = "top",
    }
}

choice! {
    /// What is reported while a SIP phone rings for its own `UserCall`.
    OwnRing {
        /// `x-setup` in phase 1.
        Setup = "setup",
        /// `x-setup` in phase 0.
        Init = "init",
        /// Nothing before it is picked up.
        Silent = "silent",
    }
}

choice! {
    /// Whose conference id is left after a transfer.
    TransferConf {
        /// That of the older call.
        Older = "older",
        /// That of the call `a`.
        A = "a",
        /// That of the call `b`.
        B = "b",
    }
}

choice! {
    /// Display names.
    Names {
        /// As configured.
        Plain = "plain",
        /// With a byte that is no UTF-8, as a Latin-1 ü is.
        Latin1 = "latin1",
        /// Of 3,000 characters.
        Long = "long",
        /// With a tab and a line feed.
        Control = "control",
    }
}

switches! {
    /// Text messages come in fragments, with a break inside of a character.
    fragments: bool = false, "§1";
    /// WebSocket pings are not answered.
    no_pong: bool = false, "§1.2, §13.2";
    /// `KeepAlive` is answered with `KeepAlive`.
    echo_keepalive: bool = false, "§1.2, §13.2";
    /// A connection on which no message came for so many ms is closed; pings do not count. 0: never.
    idle_close_ms: u64 = 0, "§13.2", try 45_000;
    /// The challenge is a JSON number.
    numeric_challenge: bool = false, "§2.1";
    /// The challenge has letters.
    letter_challenge: bool = false, "§2.1, §2.3";
    /// What a refused login says.
    login_refusal: LoginRefusal = LoginRefusal::Explained, "§2.1";
    /// The connection is closed after a failed login.
    close_after_failed_login: bool = false, "§2.1, §13.3";
    /// Messages with `api` before the login get silence instead of an error.
    silent_before_login: bool = false, "§2.4";
    /// Results lack `src`; subscriptions keep theirs.
    omit_result_src: bool = false, "§3";
    /// Requests for APIs that are not granted, or not offered, and unknown requests get an error instead of silence.
    error_replies: bool = false, "§3, §13.11";
    /// What a request with a dead or foreign handle gets.
    dead_handles: DeadHandles = DeadHandles::Error, "§3, §13.11";
    /// Requests are carried out one at a time, and each takes so many ms.
    answer_ms: u64 = 0, "§3", try 150;
    /// Results come 100 ms after their requests were carried out, behind the events that these cause.
    late_results: bool = false, "§3, §4.8";
    /// Results come in another order than their requests.
    shuffled_results: bool = false, "§3";
    /// Messages, parties and users have properties that nobody knows.
    unknown_properties: bool = false, "§2.1, §12.1";
    /// Messages that nobody knows come in between.
    unknown_messages: bool = false, "§12.1";
    /// Numbers are written as text.
    numbers_as_text: bool = false, "§12.1";
    /// Telephone numbers and prefixes of digits alone are written as numbers.
    text_as_numbers: bool = false, "§12.1";
    /// Properties whose text is empty are absent.
    omit_empty: bool = false, "§4.2, §4.5";
    /// Display names: with a byte that is no UTF-8, very long, or with a tab and a line feed.
    names: Names = Names::Plain, "§1, §4.2, §4.5";
    /// Nobody is listed at first; the users follow so many ms behind `InitializeResult`, as `add`. 0: listed at once.
    late_users_ms: u64 = 0, "§4.1", try 3_000;
    /// Each `UserInfo` comes twice, and all of them again every 5 s.
    repeat_users: bool = false, "§4.1, §4.2";
    /// The numbers of calls in `UserInfo`.
    channel: Channel = Channel::Live, "§4.2";
    /// `UserInfo` has `state`, 1 = registered.
    user_state: bool = false, "§4.2";
    /// This visible user is homed at another PBX, and its monitor here reports nothing.
    homed_elsewhere: Option<String> = None, "§4.2, §10", try "50";
    /// This visible user is shown with the extension of the first user, in another numbering node.
    same_extension: Option<String> = None, "§4.2, §5.6", try "50";
    /// `Devices` is not answered.
    silent_devices: bool = false, "§4.3";
    /// What a refused or unknown `cn` gets for `UserInitialize`.
    monitor_refusal: MonitorRefusal = MonitorRefusal::Zero, "§4.4, §13.11";
    /// This user can never be monitored.
    refused_user: Option<String> = None, "§4.4, §13.14", try "50";
    /// Only visible users can be monitored.
    restrict_monitoring: bool = false, "§4.1, §13.14";
    /// So many monitors fit into a connection; further ones are refused.
    monitor_limit: Option<u64> = None, "§4.4", try 6;
    /// Whether a waiting queue's monitor needs the queue's Long Name as `hw`.
    queue_hw: QueueHw = QueueHw::Ignored, "§4.4, §5.7";
    /// Call handles are counted for each monitor, so that two users have the same ones.
    handles_per_user: bool = false, "§4.5, §13.15";
    /// All phones of a user that ring for a call have one handle, where the monitor is not for one phone.
    one_handle_for_all: bool = false, "§5.1";
    /// The lowest free number is the next call handle.
    reuse_handles: bool = false, "§4.5, §5.14";
    /// Running calls are reported after `UserInitialize`.
    report_running: bool = true, "§5.14, §13.1";
    /// The `msg` with which running calls are reported.
    running_message: RunningMessage = RunningMessage::Update, "§5.14, §13.1";
    /// Running calls are reported before `UserInitializeResult`.
    early_call_info: bool = false, "§5.14, §13.1";
    /// `conf` only in the first message of a handle and when it changes.
    omit_conf: bool = false, "§4.5";
    /// No `conf` in the first message of a handle.
    late_conf: bool = false, "§4.5";
    /// No `time` property, as before 13r3.
    omit_time: bool = false, "§4.5, §10";
    /// `peer` with empty numbers in every message but the first of a handle.
    empty_peer: bool = false, "§4.5";
    /// Where `CallInfo` has no `peer`.
    omit_peer: OmitPeer = OmitPeer::Never, "§4.5, §13.9";
    /// External callers have neither number nor name.
    clir: bool = false, "§4.5, §4.8";
    /// `no` also has the user's own end, as `this`.
    this_party: bool = false, "§4.7";
    /// `no` is in another order.
    reverse_no: bool = false, "§4.7";
    /// `info` as an object instead of an array.
    info_object: bool = false, "§4.5";
    /// Where the cause of an end is told.
    cause_style: CauseStyle = CauseStyle::Info, "§4.5";
    /// How the end of a call is marked.
    del: DelStyle = DelStyle::Both, "§4.5, §13.9";
    /// No `msg`.
    omit_msg: bool = false, "§4.6, §12.2";
    /// Every call event twice, except the last one of a call.
    double_events: bool = false, "§4.6";
    /// No alerting messages.
    skip_alert: bool = false, "§4.6, §11.5";
    /// No alerting messages of outgoing calls through the trunk.
    skip_trunk_alert: bool = false, "§4.6";
    /// No `r-call-proc`.
    skip_proceeding: bool = false, "§4.6, §12.1";
    /// A called user's phone first reports `x-call-proc`.
    called_proceeds: bool = false, "§5.1";
    /// A calling user is first told `r-setup-ack`.
    setup_ack: bool = false, "§5.4";
    /// Facility messages without meaning, with the present state, come in between.
    facility_messages: bool = false, "§4.6";
    /// The phase falls back to 3 for a moment before each change of hold.
    strange_states: bool = false, "§4.6";
    /// A ringing call of a user that has another one has bit 0x400.
    waiting_bit: bool = false, "§4.6";
    /// `true`: every cleared call lingers with a tone; `false`: none does; `null`: failed calls do.
    linger_disc: Option<bool> = None, "§5.5, §13.8";
    /// What is reported while a SIP phone rings for its own `UserCall`.
    own_ring: OwnRing = OwnRing::Setup, "§5.6, §13.6";
    /// Holding and retrieving is reported to the holder as `x-held` and `x-retrieved` instead of `update`.
    own_hold_message: bool = false, "§5.8, §13.13";
    /// The held party's state lacks bit 0x200.
    omit_held_bit: bool = false, "§5.8";
    /// A changed party is reported as `update` instead of `r-ct`.
    omit_ct: bool = false, "§5.9, §5.10";
    /// The party that placed a redirected call stays in phase 5 while the destination rings.
    redirect_stays_connected: bool = false, "§5.9";
    /// Whose conference id is left after a transfer.
    transfer_conf: TransferConf = TransferConf::Older, "§5.10, §13.4";
    /// The legs that leave by a transfer end with cause 16 instead of 26.
    transfer_normal: bool = false, "§5.10";
    /// Phones do not answer by `UserConnect`, though its result is positive.
    ignore_connect: bool = false, "§4.8";
    /// A user whose calls are forwarded at once sees a short call.
    forwarding_leg: bool = false, "§5.11, §13.7";
    /// The parked leg has the other direction than the one that was parked.
    parked_flips: bool = false, "§4.6, §5.12";
    /// Who picks up a parked call sees it ring first.
    pickup_alerts: bool = false, "§5.12";
    /// The parked party is told nothing.
    quiet_park: bool = false, "§5.12";
    /// What happens on several legs at once is told in another order; each leg's own order stays.
    reverse_legs: bool = false, "§5, §5.13";
    /// `UserDTMF{recv:true}` sends to the far end.
    dtmf_recv_to_peer: bool = false, "§4.8, §13.5";
    /// User-to-user information is not URL-encoded, as before 13r3, which also had neither `time` nor `maxIntern`.
    plain_uui: bool = false, "§4.8, §10";
    /// `local` and `remote` of `CallUpdate` change places.
    swap_ends: bool = false, "§4.9, §13.10";
    /// The end of a call of the whole PBX is called `CallDelete`.
    call_delete: bool = false, "§4.9";
}

impl Quirks {
    /// The present values by their names.
    pub fn values(&self) -> Value {
        let values = self.table().into_iter().map(|switch| (switch.name.to_owned(), switch.value));
        Value::Object(values.collect())
    }

    /// The same quirks with some switches set.
    ///
    /// # Errors
    ///
    /// The name of the wrong switch, and what is wrong with it.
    pub fn with(&self, changes: &Map<String, Value>) -> Result<Self, (String, String)> {
        let mut next = self.clone();
        for (name, value) in changes {
            match next.assign(name, value) {
                Some(true) => {}
                // As with every other command, `null` leaves things alone where it is no value.
                Some(false) if value.is_null() => {}
                Some(false) => return Err((name.clone(), self.why_not(name, value))),
                None => {
                    let names = self.table().into_iter().map(|switch| switch.name.to_owned());
                    return Err((name.clone(), format!("is no quirk; the nearest one is `{}`", nearest(name, names))));
                }
            }
        }
        Ok(next)
    }

    fn why_not(&self, name: &str, value: &Value) -> String {
        let Some(switch) = self.table().into_iter().find(|switch| switch.name == name) else { return String::new() };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let known: Vec<String> = switch.values.iter().map(text).collect();
        match switch.open {
            Some(open) if known.iter().any(|value| value == "null") => format!("must be null or {open}"),
            Some(open) => format!("must be {open}"),
            None => {
                let near = nearest(&text(value), known.iter().cloned());
                format!("must be one of {}; the nearest one is {near}", known.join(", "))
            }
        }
    }
}

impl Switch {
    /// As `GET /quirks` shows it.
    pub fn json(&self) -> Value {
        let mut shown = json!({
            "name": self.name,
            "section": self.section,
            "meaning": self.meaning,
            "values": self.values,
            "default": self.default,
            "value": self.value,
        });
        if let Some(open) = self.open {
            shown["open"] = open.into();
        }
        shown
    }
}

/// The word that takes the fewest changes of a character.
fn nearest(word: &str, known: impl Iterator<Item = String>) -> String {
    known.min_by_key(|other| distance(word, other)).unwrap_or_default()
}

fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, character) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for at in 1..row.len() {
            let change = diagonal + usize::from(character != other[at - 1]);
            diagonal = row[at];
            row[at] = change.min(row[at - 1] + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_has_its_values_a_section_and_a_sentence() {
        for switch in Quirks::default().table() {
            assert!(switch.values.len() > 1, "{switch:?} has nothing to choose from");
            assert!(switch.values.contains(&switch.default) && switch.value == switch.default, "{switch:?}");
            assert!(switch.section.starts_with('§') && switch.meaning.ends_with('.'), "{switch:?}");
            for value in &switch.values {
                let changes = Map::from_iter([(switch.name.to_owned(), value.clone())]);
                let changed = Quirks::default().with(&changes).expect("a value of the table");
                assert_eq!(changed.values()[switch.name], *value);
            }
        }
    }

    #[test]
    fn every_open_question_has_a_switch() {
        let sections: String = Quirks::default().table().iter().map(|switch| format!("{}, ", switch.section)).collect();
        // Remote control codes have no effect that could be seen.
        for question in (1..=15).filter(|question| *question != 12) {
            assert!(sections.contains(&format!("§13.{question}, ")), "question {question}");
        }
    }

    #[test]
    fn nearest_names_and_values() {
        let wrong = |name: &str, value: Value| {
            Quirks::default().with(&Map::from_iter([(name.to_owned(), value)])).expect_err("it is wrong").1
        };
        assert!(wrong("omit_con", true.into()).ends_with("`omit_conf`"));
        assert!(wrong("del", "bth".into()).ends_with("nearest one is both"));
        assert_eq!(wrong("answer_ms", "soon".into()), "must be a whole number that is not negative");
        assert_eq!(wrong("monitor_limit", (-1).into()), "must be null or a whole number that is not negative");
    }
}
