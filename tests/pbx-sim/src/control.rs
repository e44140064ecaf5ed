//! The control API: people and tests play the parties at the phones, and break things.
//!
//! Every command is one JSON object in, one JSON object out. A refused command changes nothing and names the field.

use serde_json::{Map, Value, json};

use crate::body::{Body, Refused};
use crate::fault::Fault;
use crate::hub::{Hub, Inner};
use crate::quirks::Quirks;
use crate::session::Session;
use crate::switch::{Destination, Dial, Kind, LegId, ObjectId, Pickup, Refusal, Which, Whose};
use crate::users;
use crate::world::{Behaviour, BehaviourMode};

type Answer = Result<Value, Refused>;

/// Commands of the API.
pub(crate) fn index() -> Value {
    json!({
        "GET": ["/state", "/log", "/quirks", "/cert.pem"],
        "POST": ["/call", "/answer", "/reject", "/hangup", "/hold", "/retrieve", "/transfer", "/redirect", "/park",
            "/pickup", "/dtmf", "/uui", "/behaviour", "/user", "/fault", "/quirks"],
        "DELETE": ["/log", "/quirks"],
    })
}

/// Executes a command.
pub(crate) fn post(hub: &Hub, path: &str, body: Value) -> Answer {
    let mut body = Body::new(body)?;
    hub.run(|inner, now| match path {
        "/call" => call(inner, &mut body),
        "/answer" => phone(inner, &mut body, Which::Ringing, |inner, leg| inner.switch.answer(leg)),
        "/reject" => give_up(inner, &mut body, Which::Ringing),
        "/hangup" => give_up(inner, &mut body, Which::Any),
        "/hold" => phone(inner, &mut body, Which::Active, |inner, leg| inner.switch.hold(leg)),
        "/retrieve" => phone(inner, &mut body, Which::Held, |inner, leg| inner.switch.retrieve(leg)),
        "/transfer" => transfer(inner, &mut body),
        "/redirect" => redirect(inner, &mut body),
        "/park" => park(inner, &mut body),
        "/pickup" => pickup(inner, &mut body),
        "/dtmf" => {
            let digits = body.required("digits")?;
            phone(inner, &mut body, Which::Active, |inner, leg| inner.switch.dtmf(leg, &digits, false))
        }
        "/uui" => {
            let uui = body.required("uui")?;
            let uui = if inner.quirks.plain_uui { uui } else { percent_encoded(&uui) };
            phone(inner, &mut body, Which::Active, |inner, leg| inner.switch.uui(leg, &uui, false))
        }
        "/behaviour" => behaviour(inner, &mut body),
        "/user" => users::change(inner, &mut body),
        "/fault" => fault(inner, &mut body, now),
        "/quirks" => quirks(inner, &body),
        _ => Err(Refused::unknown("path", "no such command; GET / lists them")),
    })
}

/// A picture for newcomers and tests: who exists, who is connected to whom.
pub(crate) fn state(hub: &Hub) -> Value {
    hub.run(|inner, _| {
        let all = |wanted: fn(&Kind) -> bool| -> Vec<Value> {
            let chosen = inner.switch.objects().filter(|object| wanted(&object.kind));
            chosen.map(|object| inner.switch.object_json(object.id)).collect()
        };
        let connections = inner.sessions.values().map(|session| {
            let cn = |id| inner.switch.object(id).map(|object| object.cn.clone());
            let monitored: Vec<_> = session.streams.values().map(|stream| cn(stream.object)).collect();
            json!({
                "index": session.index,
                "pbx": session.pbx,
                "app": session.login.as_ref().map(|login| login.name.clone()),
                "remote": session.remote.to_string(),
                "tls": session.tls,
                "initialized": session.directory.as_ref().is_some_and(|directory| directory.pending.is_none()),
                "monitored": monitored,
                "silent": session.silent,
                "framesReceived": session.received,
                "framesSent": session.sent,
            })
        });
        let connections = connections.collect::<Vec<_>>();
        json!({
            "pbx": inner.switch.pbx,
            "users": all(|kind| *kind == Kind::User),
            "queues": all(|kind| matches!(kind, Kind::Queue(_))),
            "connections": connections,
            "calls": inner.switch.calls_json(),
        })
    })
}

/// Who is meant: an extension, or an external number in any form.
fn who(inner: &Inner, field: &str, number: &str) -> Result<Whose, Refused> {
    if let Some(id) = inner.switch.find_extension(number) {
        return Ok(Whose::Object(id));
    }
    match inner.switch.plan.digits(number).filter(|_| inner.switch.plan.looks_external(number)) {
        Some(digits) => Ok(Whose::External(digits)),
        None => Err(Refused::unknown(field, &format!("there is no extension {number}"))),
    }
}

fn extension(inner: &Inner, body: &mut Body) -> Result<Whose, Refused> {
    let number = body.required("extension")?;
    who(inner, "extension", &number)
}

fn user(inner: &Inner, body: &mut Body) -> Result<ObjectId, Refused> {
    match extension(inner, body)? {
        Whose::Object(id) => Ok(id),
        Whose::External(_) => Err(Refused::bad("extension", "must be an extension, an external party cannot do this")),
    }
}

fn find(inner: &Inner, body: &mut Body, which: Which) -> Result<(Whose, LegId, bool), Refused> {
    let whose = extension(inner, body)?;
    let (id, hw) = (body.text("id")?, body.text("hw")?);
    let leg = inner.switch.find_leg(&whose, which, id.as_deref(), hw.as_deref());
    let none = match which {
        Which::Ringing => "no call rings there",
        Which::Active => "there is no active call",
        Which::Held => "there is no held call",
        Which::Any => "there is no call",
    };
    leg.map(|leg| (whose, leg, hw.is_some())).ok_or_else(|| Refused::conflict(none))
}

fn id_of(inner: &Inner, leg: LegId) -> Value {
    json!({ "id": inner.switch.call_of(leg).map(|call| call.to_string()) })
}

/// A key pressed on a phone.
fn phone(
    inner: &mut Inner,
    body: &mut Body,
    which: Which,
    act: impl FnOnce(&mut Inner, LegId) -> Result<(), Refusal>,
) -> Answer {
    let found = find(inner, body, which);
    // A misspelt field is told before a missing call: the latter may be its consequence.
    if !matches!(&found, Err(refused) if refused.status != 409) {
        body.end()?;
    }
    let (_, leg, _) = found?;
    let id = id_of(inner, leg);
    act(inner, leg)?;
    Ok(id)
}

fn give_up(inner: &mut Inner, body: &mut Body, which: Which) -> Answer {
    let cause = body.number("cause")?.map(|cause| u16::try_from(cause).unwrap_or(u16::MAX));
    if cause.is_some_and(|cause| cause == 0 || cause > 127) {
        return Err(Refused::bad("cause", "must be between 1 and 127"));
    }
    let one_phone = body.0.contains_key("hw");
    phone(inner, body, which, |inner, leg| {
        if inner.switch.own_ring_ends(leg, cause.unwrap_or(21)) {
            return Ok(());
        }
        // Rejecting is the user's decision and ends the ringing on all phones, unless one is named.
        let siblings = inner.switch.siblings(leg);
        if !siblings.contains(&leg) {
            return inner.switch.clear(leg, cause.unwrap_or(16));
        }
        for leg in siblings.into_iter().filter(|other| *other == leg || !one_phone) {
            inner.switch.clear(leg, cause.unwrap_or(21))?;
        }
        Ok(())
    })
}

fn call(inner: &mut Inner, body: &mut Body) -> Answer {
    let (from, to) = (body.required("from")?, body.required("to")?);
    let (name, device) = (body.text("name")?, body.text("hw")?);
    let hidden = body.take("hidden")?.unwrap_or(false);
    body.end()?;
    let call = match who(inner, "from", &from)? {
        Whose::Object(id) => {
            let node = inner.switch.object(id).map(|object| object.node.clone()).unwrap_or_default();
            let leg = inner.switch.dial(id, Dial { device, ..Dial::number(&dialled(inner, &node, "to", &to)?) })?;
            inner.switch.call_of(leg)
        }
        Whose::External(digits) => {
            let known = inner.switch.find_extension(&to);
            let to = known.ok_or_else(|| Refused::unknown("to", &format!("there is no extension {to}")))?;
            let mut from = inner.switch.external(&digits);
            from.name = name.unwrap_or(from.name);
            from.hidden = hidden;
            Some(inner.switch.incoming(from, to))
        }
    };
    Ok(json!({ "id": call.map(|call| call.to_string()) }))
}

/// What a person presses for a number that may be written for people.
fn dialled(inner: &Inner, node: &str, field: &str, number: &str) -> Result<String, Refused> {
    let plan = &inner.switch.plan;
    let digits = plan.digits(number).ok_or_else(|| Refused::bad(field, "must be a number"))?;
    Ok(if number.starts_with('+') {
        inner.switch.plan_of(node).callback(&digits)
    } else {
        number.chars().filter(|c| c.is_ascii_digit() || matches!(c, '*' | '#')).collect()
    })
}

fn transfer(inner: &mut Inner, body: &mut Body) -> Answer {
    let id = user(inner, body)?;
    body.end()?;
    let held = inner.switch.find_leg(&Whose::Object(id), Which::Held, None, None);
    let held = held.ok_or_else(|| Refused::conflict("there is no held call"))?;
    let second = inner.switch.second_for_transfer(id, held);
    let second = second.ok_or_else(|| Refused::conflict("there is no second call"))?;
    inner.switch.transfer(held, second)?;
    Ok(json!({}))
}

fn redirect(inner: &mut Inner, body: &mut Body) -> Answer {
    let to = body.required("to")?;
    let whose = body.0.get("extension").cloned();
    let mut peek = Body(Map::from_iter(whose.map(|value| ("extension".to_owned(), value))));
    let whose = extension(inner, &mut peek)?;
    let active = inner.switch.find_leg(&whose, Which::Active, None, None);
    let which = if active.is_some() { Which::Active } else { Which::Ringing };
    let node = match whose {
        Whose::Object(id) => inner.switch.object(id).map(|object| object.node.clone()),
        Whose::External(_) => None,
    };
    let node = node.unwrap_or_else(|| inner.switch.node.clone());
    let to = Destination::E164(dialled(inner, &node, "to", &to)?);
    phone(inner, body, which, |inner, leg| inner.switch.redirect(leg, to, false).map(drop))
}

fn park(inner: &mut Inner, body: &mut Body) -> Answer {
    let at = body.text("at")?;
    let position = body.number("position")?.and_then(|position| i64::try_from(position).ok());
    let place = |number: &String| {
        let found = inner.switch.find_extension(number);
        found.ok_or_else(|| Refused::unknown("at", &format!("there is no extension {number}")))
    };
    let at = at.as_ref().map(place).transpose()?;
    phone(inner, body, Which::Active, |inner, leg| inner.switch.park(leg, at, position).map(drop))
}

fn pickup(inner: &mut Inner, body: &mut Body) -> Answer {
    let by = user(inner, body)?;
    let (from, hw) = (body.text("from")?, body.text("hw")?);
    body.end()?;
    let what = match from {
        Some(number) => Pickup::At(
            inner
                .switch
                .find_extension(&number)
                .ok_or_else(|| Refused::unknown("from", &format!("there is no extension {number}")))?,
        ),
        None => Pickup::Group(None),
    };
    let leg = inner.switch.pickup(by, hw.as_deref(), &what)?;
    Ok(id_of(inner, leg))
}

fn behaviour(inner: &mut Inner, body: &mut Body) -> Answer {
    let whose = extension(inner, body)?;
    let mode: Option<BehaviourMode> = body.take("mode")?;
    let mode = mode.ok_or_else(|| Refused::bad("mode", "is missing"))?;
    let behaviour = Behaviour { mode, after_ms: body.number("after_ms")?.unwrap_or(0) };
    body.end()?;
    match &whose {
        Whose::Object(id) if inner.switch.object(*id).is_some_and(|object| object.kind != Kind::User) => {
            return Err(Refused::bad("extension", "must be a user or an external number; a queue has no behaviour"));
        }
        Whose::Object(id) => inner.switch.change_object(*id, |object| object.behaviour = behaviour),
        Whose::External(digits) => inner.switch.set_external_behaviour(digits, behaviour),
    }
    inner.switch.react_now(&whose);
    Ok(json!({}))
}

fn fault(inner: &mut Inner, body: &mut Body, now: std::time::Duration) -> Answer {
    let kind = body.required("kind")?;
    let connection = body.number("connection")?;
    let (down, after) = (body.number("down_ms")?, body.number("after_frames")?);
    let (text, pbx) = (body.text("text")?, body.text("pbx")?);
    body.end()?;
    let pbxs: Vec<String> = std::iter::once(&inner.world.pbx).chain(&inner.world.pbxs).cloned().collect();
    if let Some(name) = pbx.as_ref().filter(|name| !pbxs.contains(name)) {
        return Err(Refused::unknown("pbx", &format!("there is no PBX {name}")));
    }
    let target = match connection {
        Some(index) => Some(
            u32::try_from(index)
                .ok()
                .filter(|index| inner.sessions.contains_key(index))
                .ok_or_else(|| Refused::unknown("connection", &format!("there is no connection {index}")))?,
        ),
        None => None,
    };
    let fault = match kind.as_str() {
        "drop" | "restart" => Fault::Drop,
        "silent" => Fault::Silent,
        "garbage" => Fault::Garbage(text.unwrap_or_else(|| r#"{"mt":"CallInfo","api":"RCC","user":"#.to_owned())),
        "cut_mid_frame" => Fault::CutMidFrame,
        _ => return Err(Refused::bad("kind", "must be drop, silent, garbage, cut_mid_frame or restart")),
    };
    if down.is_some() && fault != Fault::Drop {
        return Err(Refused::bad("down_ms", "goes with drop and restart only"));
    }
    if kind == "restart" {
        if connection.is_some() || after.is_some() || pbx.is_some() {
            return Err(Refused::bad("kind", "restart concerns all connections, at once"));
        }
        inner.restart();
    }
    let mut hit = 0;
    let is_meant = |session: &&mut Session| {
        target.is_none_or(|index| index == session.index) && pbx.as_ref().is_none_or(|pbx| *pbx == session.pbx)
    };
    for session in inner.sessions.values_mut().filter(is_meant) {
        hit += 1;
        match after {
            Some(frames) if frames > 0 => session.fuse = Some((frames, fault.clone())),
            _ if kind != "restart" => session.strike(fault.clone()),
            _ => {}
        }
    }
    if let Some(down) = down {
        let until = now + std::time::Duration::from_millis(down);
        let names = pbxs.into_iter().filter(|name| pbx.as_ref().is_none_or(|pbx| pbx == name));
        inner.down_until.extend(names.map(|name| (name, until)));
    }
    Ok(json!({ "connections": hit }))
}

fn quirks(inner: &mut Inner, body: &Body) -> Answer {
    let next = inner.quirks.with(&body.0).map_err(|(name, why)| Refused::bad(&name, &why))?;
    inner.be(next);
    Ok(inner.quirks.values())
}

/// `GET /quirks`: the table of switches.
pub(crate) fn quirks_table(hub: &Hub) -> Value {
    hub.run(|inner, _| inner.quirks.table().iter().map(crate::quirks::Switch::json).collect())
}

/// `DELETE /quirks`: a plain PBX again.
pub(crate) fn plain(hub: &Hub) -> Value {
    hub.run(|inner, _| {
        inner.be(Quirks::default());
        inner.quirks.values()
    })
}

/// As the PBX encodes what a phone sends, since 13r3.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
