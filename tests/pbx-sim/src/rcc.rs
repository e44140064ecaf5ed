//! RCC requests: what each one asks of the switch, and what it is answered.

use serde_json::{Map, Value, json};

use crate::json;
use crate::messages::reply;
use crate::quirks::{DeadHandles, MonitorRefusal, QueueHw, Quirks};
use crate::session::Session;
use crate::subscriptions::{BATCH, Directory, StreamFlags};
use crate::switch::{Destination, Dial, LegId, Object, ObjectId, Pickup, Refusal, Switch};
use crate::world::World;

/// What a request may look at besides its connection and the switch.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) world: &'a World,
    pub(crate) quirks: &'a Quirks,
    pub(crate) now: std::time::Duration,
}

/// A positive answer's properties, or why not.
type Answer = Result<Map<String, Value>, Refusal>;

fn fields(value: Value) -> Answer {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

fn done((): ()) -> Map<String, Value> {
    Map::new()
}

/// Handles one request. Results go out before the events they cause, because events wait in the switch.
pub(crate) fn request(session: &mut Session, switch: &mut Switch, context: &Context<'_>, mt: &str, request: &Value) {
    let src = request.get("src").cloned();
    let answer = match mt {
        "Initialize" => return initialize(session, switch, context, request),
        "UserInitialize" => return user_initialize(session, switch, context, request),
        "UserEnd" => user_end(session, switch, request),
        "Devices" if context.quirks.silent_devices => return,
        "Devices" => devices(session, switch, request),
        "UserCall" => user_call(session, switch, request),
        "UserPickup" => user_pickup(session, switch, request),
        "UserPark" => user_park(session, switch, request),
        "UserTransfer" => both(session, request).and_then(|(a, b)| switch.transfer(a, b)).map(done),
        "UserMediaTransfer" => {
            both(session, request).and_then(|(a, b)| switch.exists(a).and(switch.exists(b))).map(done)
        }
        _ => match on_call(session, switch, context.quirks, mt, request) {
            Some(answer) => answer,
            None if context.quirks.error_replies => Ok(Map::from_iter([("error".to_owned(), "unknown mt".into())])),
            None => return,
        },
    };
    let handle = match mt {
        "UserCall" | "UserPickup" | "UserPark" => Some("call"),
        _ => None,
    };
    let mut result = reply(&format!("{mt}Result"), src.filter(|_| !context.quirks.omit_result_src));
    match answer {
        Ok(fields) => {
            for (key, value) in fields {
                result[key] = value;
            }
        }
        Err(refusal) => {
            let dead = matches!(refusal, Refusal::UnknownCall | Refusal::NotTwoCalls);
            match context.quirks.dead_handles {
                DeadHandles::Silent if dead => return,
                DeadHandles::Ok if dead => {}
                _ => result["error"] = refusal.to_string().into(),
            }
            if let Some(handle) = handle {
                result[handle] = 0.into();
            }
        }
    }
    session.answer(result, context.now);
}

/// Requests about one existing call.
fn on_call(session: &Session, switch: &mut Switch, quirks: &Quirks, mt: &str, request: &Value) -> Option<Answer> {
    let run = |act: &mut dyn FnMut(LegId) -> Result<(), Refusal>| call(session, request, "call").and_then(act);
    let to_own = json::flag(request, "recv") != quirks.dtmf_recv_to_peer;
    let text = |key| json::text(request, key).unwrap_or_default();
    let result = match mt {
        "UserClear" => run(&mut |leg| {
            let cause = json::int(request, "cause").and_then(|cause| u16::try_from(cause).ok());
            switch.clear(leg, cause.filter(|cause| (1..=127).contains(cause)).unwrap_or(16))
        }),
        "UserConnect" if quirks.ignore_connect => run(&mut |leg| switch.exists(leg)),
        "UserConnect" => run(&mut |leg| switch.answer(leg)),
        "UserHold" => run(&mut |leg| switch.hold(leg)),
        "UserRetrieve" => run(&mut |leg| switch.retrieve(leg)),
        "UserDTMF" => run(&mut |leg| switch.dtmf(leg, &text("dtmf"), to_own)),
        "UserUUI" => run(&mut |leg| switch.uui(leg, &text("uui"), json::flag(request, "recv"))),
        "UserRc" => run(&mut |leg| switch.remote_control(leg, json::int(request, "rc").unwrap_or(0))),
        "UserInfo" => run(&mut |leg| user_info(switch, leg, request)),
        "UserCtComplete" => run(&mut |leg| {
            let shown = json::filled(request, "e164").or_else(|| json::filled(request, "h323"));
            switch.display(leg, &shown.unwrap_or_default())
        }),
        "UserCtrlCall" => run(&mut |leg| switch.exists(leg)),
        "UserRedirect" | "UserReroute" => run(&mut |leg| {
            let to = destination(request).ok_or(Refusal::UnknownDestination)?;
            let arrived = switch.redirect(leg, to, mt == "UserReroute")?;
            if let Some(code) = json::int(request, "rc").filter(|_| mt == "UserRedirect") {
                for leg in arrived {
                    let _unless_it_has_gone = switch.receives_code(leg, code);
                }
            }
            Ok(())
        }),
        _ => return None,
    };
    Some(result.map(done))
}

fn call(session: &Session, request: &Value, key: &str) -> Result<LegId, Refusal> {
    calls(session, request, key).first().copied().ok_or(Refusal::UnknownCall)
}

/// The calls that may be meant, the likeliest one first. Where handles are counted per user, `user` decides.
fn calls(session: &Session, request: &Value, key: &str) -> Vec<LegId> {
    let number = |key| json::int(request, key).and_then(|handle| u32::try_from(handle).ok());
    number(key).map(|handle| session.legs_by_handle(number("user"), handle)).unwrap_or_default()
}

fn both(session: &Session, request: &Value) -> Result<(LegId, LegId), Refusal> {
    Ok((call(session, request, "a")?, call(session, request, "b")?))
}

fn user(session: &Session, request: &Value) -> Option<(u32, ObjectId, Option<String>)> {
    let handle = json::int(request, "user").and_then(|handle| u32::try_from(handle).ok())?;
    session.streams.get(&handle).map(|stream| (handle, stream.object, stream.hw.clone()))
}

fn destination(request: &Value) -> Option<Destination> {
    json::filled(request, "e164")
        .map(Destination::E164)
        .or_else(|| json::filled(request, "h323").map(Destination::H323))
        .or_else(|| json::filled(request, "cn").map(Destination::Cn))
}

fn initialize(session: &mut Session, switch: &Switch, context: &Context<'_>, request: &Value) {
    let grp = json::flag(request, "grp");
    let limit = json::int(request, "limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(BATCH);
    let src = request.get("src").cloned();
    let app = session.login.as_ref().is_some_and(|login| matches!(login.identity, crate::auth::Identity::App(_)));
    session.monitor = (app && json::flag(request, "calls")).then(|| (src.clone(), Default::default()));
    let users = session.visible(switch, &context.world.apps, grp);
    let late = std::time::Duration::from_millis(context.quirks.late_users_ms);
    let late = Some(late).filter(|late| !late.is_zero());
    session.directory = Some(Directory::new((src, grp, limit), users, context.now, late));
    session.tick(context.now, switch);
}

/// Monitoring needs neither `Initialize` nor, as far as working clients show, visibility.
fn user_initialize(session: &mut Session, switch: &mut Switch, context: &Context<'_>, request: &Value) {
    let src = request.get("src").cloned();
    let found = monitored(session, switch, context, request);
    let mut result = reply("UserInitializeResult", src.clone().filter(|_| !context.quirks.omit_result_src));
    let Some(object) = found.and_then(|id| switch.object(id)) else {
        match context.quirks.monitor_refusal {
            MonitorRefusal::Zero => result["user"] = 0.into(),
            MonitorRefusal::Error => result["error"] = "not allowed".into(),
            MonitorRefusal::Silent => return,
        }
        return session.answer(result, context.now);
    };
    let is_homed_here = context.quirks.homed_elsewhere.as_ref() != Some(&object.e164);
    let is_deaf = !is_homed_here || (context.quirks.queue_hw == QueueHw::Deaf && lacks_queue_hw(object, request));
    let (id, hw) = (object.id, json::filled(request, "hw"));
    // A queue has no devices; clients pass its Long Name as `hw`.
    let hw = hw.filter(|_| object.queue().is_none());
    let mobile = object.devices.iter().find(|device| Some(&device.hw) == hw.as_ref());
    let mobile = mobile.and_then(|device| device.mobile.as_ref());
    let flags = StreamFlags { xfer: json::flag(request, "xfer"), disc: json::flag(request, "disc"), deaf: is_deaf };
    let user = session.open_stream(id, hw, flags, src);
    let [subscriber, national, international, area, country] = switch.plan_of(&object.node).told();
    let longest = switch.objects().map(|object| object.e164.len()).max().unwrap_or(0);
    for (key, value) in [
        ("user", Value::from(user)),
        ("prefixIntl", international.into()),
        ("prefixNtl", national.into()),
        ("prefixSubs", subscriber.into()),
        ("area", area.into()),
        ("country", country.into()),
        ("maxIntern", longest.into()),
    ] {
        result[key] = value;
    }
    if context.quirks.plain_uui
        && let Some(fields) = result.as_object_mut()
    {
        fields.remove("maxIntern");
    }
    if let Some(number) = mobile {
        result["mobile"] = json!({"e164": number, "h323": "", "off": false});
    }
    if flags.disc {
        switch.watch_disc(id, true);
    }
    let (reports, is_early) = (context.quirks.report_running, context.quirks.early_call_info);
    if reports && is_early {
        session.report_running(user, switch);
    }
    session.answer(result, context.now);
    if reports && !is_early {
        session.report_running(user, switch);
    }
}

/// A waiting queue is asked for without its Long Name as `hw`.
fn lacks_queue_hw(object: &Object, request: &Value) -> bool {
    object.queue().is_some() && json::filled(request, "hw").as_ref() != Some(&object.cn)
}

fn monitored(session: &Session, switch: &Switch, context: &Context<'_>, request: &Value) -> Option<ObjectId> {
    let id = switch.find_cn(&json::filled(request, "cn")?)?;
    let (quirks, object) = (context.quirks, switch.object(id)?);
    let is_full = quirks.monitor_limit.is_some_and(|limit| session.streams.len() as u64 >= limit);
    let lacks_hw = quirks.queue_hw == QueueHw::Refused && lacks_queue_hw(object, request);
    if is_full || lacks_hw || quirks.refused_user.as_ref() == Some(&object.e164) {
        return None;
    }
    let visible = |grp| session.visible(switch, &context.world.apps, grp).contains(&id);
    match session.login.as_ref()?.identity {
        crate::auth::Identity::User(account) => account.filter(|account| *account == id),
        crate::auth::Identity::App(_) if context.quirks.restrict_monitoring => {
            (visible(true) || visible(false)).then_some(id)
        }
        crate::auth::Identity::App(_) => Some(id),
    }
}

fn user_end(session: &mut Session, switch: &mut Switch, request: &Value) -> Answer {
    let (handle, object, _) = user(session, request).ok_or(Refusal::UnknownCall)?;
    if session.close_stream(handle).is_some_and(|stream| stream.disc) {
        switch.watch_disc(object, false);
    }
    Ok(Map::new())
}

fn devices(session: &Session, switch: &Switch, request: &Value) -> Answer {
    let object = json::filled(request, "cn").and_then(|cn| switch.find_cn(&cn));
    let own = match session.login.as_ref().map(|login| &login.identity) {
        Some(crate::auth::Identity::User(account)) => object.filter(|object| Some(object) == account.as_ref()),
        _ => object,
    };
    let devices = own.and_then(|id| switch.object(id)).map(|object| object.devices.as_slice()).unwrap_or_default();
    let devices: Vec<_> = devices.iter().map(|device| json!({"hw": device.hw, "text": device.text})).collect();
    fields(json!({ "devices": devices }))
}

fn user_call(session: &mut Session, switch: &mut Switch, request: &Value) -> Answer {
    let (handle, object, device) = user(session, request).ok_or(Refusal::UnknownCall)?;
    // `srce164` beginning with r or R withholds the number.
    let show_as = json::filled(request, "srce164")
        .map(|number| if number.starts_with(['r', 'R']) { String::new() } else { number });
    let destination = destination(request).unwrap_or(Destination::E164(String::new()));
    let forwards = !json::flag(request, "ftyNoCF");
    let leg = switch.dial(object, Dial { destination, device, remote: true, show_as, forwards })?;
    if let Some(code) = json::int(request, "rc") {
        let _unless_it_has_gone = switch.receives_code(leg, code);
    }
    fields(json!({ "call": session.handle(handle, leg) }))
}

fn user_pickup(session: &mut Session, switch: &mut Switch, request: &Value) -> Answer {
    let (handle, object, device) = user(session, request).ok_or(Refusal::UnknownCall)?;
    let what = if json::int(request, "call").is_some_and(|call| call != 0) {
        // It is somebody else's call, so the likeliest one is one that can be picked up.
        let calls = calls(session, request, "call");
        let first = calls.first().copied().ok_or(Refusal::UnknownCall)?;
        Pickup::Leg(calls.into_iter().find(|leg| switch.can_be_picked_up(*leg)).unwrap_or(first))
    } else if let Some(cn) = json::filled(request, "cn") {
        Pickup::At(switch.find_cn(&cn).ok_or(Refusal::UnknownDestination)?)
    } else {
        Pickup::Group(json::filled(request, "group"))
    };
    let leg = switch.pickup(object, device.as_deref(), &what)?;
    fields(json!({ "call": session.handle(handle, leg) }))
}

fn user_park(session: &mut Session, switch: &mut Switch, request: &Value) -> Answer {
    let leg = call(session, request, "call")?;
    let at = match json::filled(request, "cn") {
        Some(cn) => Some(switch.find_cn(&cn).ok_or(Refusal::UnknownDestination)?),
        None => None,
    };
    let home = switch.snapshot(leg).ok_or(Refusal::UnknownCall)?.object;
    let position = json::int(request, "position").filter(|position| *position >= 0);
    let parked = switch.park(leg, at, position)?;
    fields(json!({ "call": session.handle_at(at.unwrap_or(home), parked) }))
}

/// The request of this name carries overlap digits; keypad and display text have no effect on the signalling.
fn user_info(switch: &mut Switch, leg: LegId, request: &Value) -> Result<(), Refusal> {
    if let Some(text) = json::filled(request, "dsp") {
        switch.display(leg, &text)?;
    }
    if let Some(digits) = json::filled(request, "key") {
        switch.keypad(leg, &digits)?;
    }
    match json::filled(request, "cdpn") {
        Some(digits) => switch.digits(leg, &digits),
        None => switch.exists(leg),
    }
}
