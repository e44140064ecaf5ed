//! RCC messages: what is made of a picture of a call or of a user.

use serde_json::{Map, Value, json};

use crate::causes;
use crate::quirks::{CauseStyle, Channel, DelStyle, OmitPeer, OwnRing, Quirks};
use crate::switch::{HELD, HOLDS, LegEvent, Object, Party, Related, Switch, TO_OBJECT};

const PHASE: u16 = 0x0f;
/// The object has another call already.
pub(crate) const WAITING: u16 = 0x400;
/// The other PBX, and the other numbering node.
const BRANCH: &str = "branch";

/// What a handle has been told so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracked {
    pub(crate) handle: u32,
    /// Conference id last sent; empty before the first one.
    pub(crate) conf: String,
    /// Whether it had its first message.
    pub(crate) begun: bool,
    /// The call it belongs to, by its id.
    pub(crate) call: String,
    /// Hold bits last sent.
    holds: u16,
}

impl Tracked {
    pub(crate) fn new(handle: u32) -> Self {
        Self { handle, ..Self::default() }
    }
}

/// An RCC message with the `src` it belongs to.
pub(crate) fn reply(mt: &str, src: Option<Value>) -> Value {
    let mut message = json!({"api": "RCC", "mt": mt});
    if let Some(src) = src {
        message["src"] = src;
    }
    message
}

/// What a stream is told of an event: usually one message.
pub(crate) fn call_infos(
    user: u32,
    tracked: &mut Tracked,
    event: &LegEvent,
    src: Option<&Value>,
    quirks: &Quirks,
) -> Vec<Value> {
    tracked.call.clone_from(&event.call_guid);
    let trunk = event.peer.norm.is_some();
    let is_skipped = match event.msg {
        "x-alert" => quirks.skip_alert,
        "r-alert" => quirks.skip_alert || (quirks.skip_trunk_alert && trunk),
        "r-call-proc" => quirks.skip_proceeding,
        "x-setup" => event.rings_itself && quirks.own_ring == OwnRing::Silent,
        _ => false,
    };
    if is_skipped {
        return Vec::new();
    }
    let mut messages = Vec::new();
    let hold = event.state & (HOLDS | HELD);
    let msg = match (event.msg, event.state & HOLDS != 0, tracked.holds & HOLDS != 0) {
        ("update", true, false) if quirks.own_hold_message => "x-held",
        ("update", false, true) if quirks.own_hold_message => "x-retrieved",
        (msg, ..) => msg,
    };
    if quirks.strange_states && hold != tracked.holds && event.state & PHASE == 5 {
        let phase = event.state & !(PHASE | HOLDS | HELD) | 3;
        messages.push(call_info(user, tracked, event, src, (phase, "update"), quirks));
    }
    tracked.holds = hold;
    let message = call_info(user, tracked, event, src, (event.state, msg), quirks);
    if quirks.double_events && !event.is_last() {
        messages.push(message.clone());
    }
    messages.push(message);
    let phase = |phase: u16| event.state & !PHASE | phase;
    let more = match event.msg {
        "r-setup" if quirks.called_proceeds && event.device.is_some() => Some((phase(3), "x-call-proc")),
        "x-setup" if quirks.setup_ack && !event.rings_itself => Some((phase(2), "r-setup-ack")),
        _ => None,
    };
    let facility = (event.state, if event.state & TO_OBJECT == 0 { "r-facility" } else { "x-facility" });
    let facility = (quirks.facility_messages && !event.is_last()).then_some(facility);
    for (state, msg) in more.into_iter().chain(facility) {
        messages.push(call_info(
            user,
            tracked,
            &LegEvent { uui: None, dtmf: None, ..event.clone() },
            src,
            (state, msg),
            quirks,
        ));
    }
    messages
}

fn call_info(
    user: u32,
    tracked: &mut Tracked,
    event: &LegEvent,
    src: Option<&Value>,
    (mut state, msg): (u16, &str),
    quirks: &Quirks,
) -> Value {
    let first = !std::mem::replace(&mut tracked.begun, true);
    if quirks.omit_held_bit {
        state &= !HELD;
    }
    if event.rings_itself && quirks.own_ring == OwnRing::Init {
        state &= !PHASE;
    }
    if quirks.waiting_bit && event.waiting {
        state |= WAITING;
    }
    let mut message = reply("CallInfo", src.cloned());
    message["user"] = user.into();
    message["call"] = tracked.handle.into();
    message["state"] = state.into();
    if !(quirks.late_conf && first) && (!quirks.omit_conf || tracked.conf != event.conf) {
        message["conf"] = event.conf.clone().into();
        tracked.conf.clone_from(&event.conf);
    }
    // Firmware that does not encode UUI is older than this property.
    if !quirks.omit_time && !quirks.plain_uui {
        message["time"] = event.seconds.into();
    }
    let has_peer = match quirks.omit_peer {
        OmitPeer::Never => true,
        OmitPeer::Last => !event.is_last(),
        OmitPeer::Later => first,
    };
    if has_peer {
        let is_empty = quirks.empty_peer && !first;
        message["peer"] = if is_empty { json!({ "e164": "", "h323": "" }) } else { connector(&event.peer) };
    }
    let this = quirks.this_party.then(|| Related { kind: "this", party: event.own.clone() });
    let mut no: Vec<_> = event.no.iter().chain(&this).map(related).collect();
    if quirks.reverse_no {
        no.reverse();
    }
    if !no.is_empty() {
        message["no"] = no.into();
    }
    let msg = match msg {
        "r-ct" if quirks.omit_ct => "update",
        msg => msg,
    };
    let is_told_by_flag = quirks.del == DelStyle::Flag || quirks.omit_msg;
    if !(quirks.omit_msg || msg.is_empty() || event.is_last() && is_told_by_flag) {
        message["msg"] = msg.into();
    }
    if event.is_last() && (quirks.del != DelStyle::Msg || quirks.omit_msg) {
        message["del"] = true.into();
    }
    add_info(&mut message, event, quirks);
    if let Some(dtmf) = &event.dtmf {
        message["dtmf"] = dtmf.clone().into();
    }
    message
}

fn add_info(message: &mut Value, event: &LegEvent, quirks: &Quirks) {
    if let Some(cause) = event.cause.filter(|_| quirks.cause_style != CauseStyle::Info) {
        message["cause"] = cause.into();
    }
    let cause = event.cause.filter(|_| quirks.cause_style != CauseStyle::Top);
    let cause = cause.map(|cause| json!({"type": "cause", "vali": cause, "vals": causes::text(cause)}));
    let uui = event.uui.as_ref().map(|uui| json!({"type": "uui", "vals": uui}));
    let mut info: Vec<_> = cause.into_iter().chain(uui).collect();
    match info.len() {
        0 => {}
        1 if quirks.info_object => message["info"] = info.remove(0),
        _ => message["info"] = info.into(),
    }
}

/// A change of a call as `Initialize{calls:true}` reports it, in PBX-centric words.
pub(crate) fn call_update(event: &LegEvent, src: Option<Value>, quirks: &Quirks) -> Value {
    let mut message = reply("CallUpdate", src);
    message["call"] = event.leg.0.into();
    // What the terminal transmits is what the PBX receives.
    message["msg"] = match event.msg.split_once('-') {
        Some(("x", rest)) => format!("r-{rest}").into(),
        Some(("r", rest)) => format!("x-{rest}").into(),
        _ => event.msg.into(),
    };
    let end = |party: &Party, number: &str| json!({"h323": party.h323, "e164": number});
    let peer = end(&event.peer, &event.peer.e164);
    let own = end(&event.own, event.own.norm.as_ref().unwrap_or(&event.own.e164));
    (message["local"], message["remote"]) = if quirks.swap_ends { (own, peer) } else { (peer, own) };
    message
}

fn connector(party: &Party) -> Value {
    let mut value = json!({"cn": party.cn, "dn": party.dn, "h323": party.h323, "e164": party.e164});
    if let Some(norm) = &party.norm {
        value["norm"] = norm.clone().into();
    }
    value
}

fn related(related: &Related) -> Value {
    let mut value = connector(&related.party);
    value["type"] = related.kind.into();
    value
}

/// The picture of a user.
pub(crate) fn user_row(switch: &Switch, object: &Object, quirks: &Quirks) -> Map<String, Value> {
    let is_elsewhere = quirks.homed_elsewhere.as_ref() == Some(&object.e164);
    let mut row = Map::new();
    for (key, value) in [
        ("guid", &object.guid),
        ("cn", &object.cn),
        ("dn", &object.dn),
        ("h323", &object.h323),
        ("e164", &object.e164),
        ("node", &object.node),
        ("pbx", &object.pbx),
    ] {
        row.insert(key.to_owned(), value.clone().into());
    }
    if is_elsewhere {
        row.insert("pbx".to_owned(), BRANCH.into());
    }
    if quirks.same_extension.as_ref() == Some(&object.e164) {
        let first = switch.objects().next().map(|first| first.e164.clone());
        row.insert("e164".to_owned(), first.into());
        row.insert("node".to_owned(), BRANCH.into());
    }
    row.insert("pseudo".to_owned(), object.pseudo().into());
    let regs: Vec<_> = object.registered().map(|device| json!({"hw": device.hw})).collect();
    if quirks.user_state {
        row.insert("state".to_owned(), usize::from(!regs.is_empty()).into());
    }
    if !regs.is_empty() {
        row.insert("regs".to_owned(), regs.into());
    }
    let (channel, alert) = if quirks.channel == Channel::Frozen { (0, 0) } else { switch.load(object.id) };
    if quirks.channel != Channel::Absent {
        row.insert("channel".to_owned(), channel.into());
        row.insert("alert".to_owned(), alert.into());
    }
    row
}

pub(crate) fn user_info(row: Map<String, Value>, update: Option<&str>, src: Option<Value>) -> Value {
    let mut message = Value::Object(row);
    message["mt"] = "UserInfo".into();
    message["api"] = "RCC".into();
    if let Some(update) = update {
        message["update"] = update.into();
    }
    if let Some(src) = src {
        message["src"] = src;
    }
    message
}
