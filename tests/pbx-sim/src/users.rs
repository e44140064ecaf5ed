//! `POST /user`: adding, changing and removing users while the PBX runs.

use serde_json::{Value, json};

use crate::body::{Body, Refused};
use crate::hub::Inner;
use crate::switch::Kind;
use crate::world::{Behaviour, DeviceSpec, Forward, Membership, UserSpec};

/// Adds the user if the extension is new, else changes what is given. `UserInfo` follows.
pub(crate) fn change(inner: &mut Inner, body: &mut Body) -> Result<Value, Refused> {
    let address = body.required("extension")?;
    let remove = body.take::<bool>("remove")?.unwrap_or(false);
    let renumbered = body.text("e164")?;
    let (cn, dn, h323) = (body.text("cn")?, body.text("dn")?, body.text("h323")?);
    let (node, pbx) = (body.text("node")?, body.text("pbx")?);
    let (guid, password) = (body.text("guid")?, body.text("password")?);
    let devices: Option<Vec<DeviceSpec>> = body.take("devices")?;
    let groups: Option<Vec<Membership>> = body.take("groups")?;
    let apps: Option<Vec<String>> = body.take("apps")?;
    let forward: Option<Forward> = body.take("forward")?;
    let behaviour: Option<Behaviour> = body.take("behaviour")?;
    let busy_at: Option<usize> = body.take("busy_at")?;
    let registered: Option<bool> = body.take("registered")?;
    body.end()?;

    let own = inner.switch.node.clone();
    let (first_node, extension) = address.split_once('/').unwrap_or((&own, &address));
    let extension = extension.to_owned();
    if !extension.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refused::bad("extension", "must be digits"));
    }
    for name in node.as_deref().into_iter().chain([first_node]) {
        if name != own && inner.world.nodes.iter().all(|node| node.name != name) {
            return Err(Refused::unknown("node", &format!("there is no node {name}")));
        }
    }
    if let Some(name) = &pbx
        && *name != inner.world.pbx
        && !inner.world.pbxs.contains(name)
    {
        return Err(Refused::unknown("pbx", &format!("there is no PBX {name}")));
    }
    if inner.switch.plan_of(first_node).is_outside(&extension) {
        return Err(Refused::bad("extension", "begins with the trunk prefix"));
    }
    let known = inner.switch.find_extension(&address);
    let object = known.and_then(|id| inner.switch.object(id));
    let in_node = node.as_deref().or(object.map(|object| object.node.as_str())).unwrap_or(first_node);
    let number = renumbered.as_deref().unwrap_or(&extension);
    if (renumbered.is_some() || node.is_some())
        && inner.switch.find_in(in_node, number).is_some_and(|other| Some(other) != known)
    {
        return Err(Refused::bad(if renumbered.is_some() { "e164" } else { "node" }, "is taken"));
    }
    if let Some(name) = &cn
        && inner.switch.find_cn(name).is_some_and(|other| Some(other) != known)
    {
        return Err(Refused::bad("cn", "is taken"));
    }
    if known.is_some() && guid.is_some() {
        return Err(Refused::bad("guid", "of an existing user cannot change"));
    }
    if guid.as_ref().is_some_and(|guid| guid.len() != 32 || !guid.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Refused::bad("guid", "must be 32 hex digits"));
    }
    if remove {
        let id = known.ok_or_else(|| Refused::unknown("extension", &format!("there is no extension {extension}")))?;
        inner.switch.remove_object(id);
        return Ok(json!({}));
    }
    let id = known.unwrap_or_else(|| {
        let name = cn.clone().unwrap_or_else(|| format!("User {extension}"));
        inner.switch.put_user(UserSpec { guid, ..UserSpec::new(&extension, &name).in_node(first_node) })
    });
    let is_user = inner.switch.object(id).is_some_and(|object| object.kind == Kind::User);
    if !is_user && (devices.is_some() || registered.is_some() || forward.is_some() || behaviour.is_some()) {
        return Err(Refused::bad("extension", "is a queue, which has no phones"));
    }
    inner.switch.change_object(id, |object| {
        for (place, value) in [
            (&mut object.e164, renumbered),
            (&mut object.cn, cn),
            (&mut object.dn, dn),
            (&mut object.h323, h323),
            (&mut object.node, node),
            (&mut object.pbx, pbx),
        ] {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut object.devices, devices);
        set(&mut object.groups, groups);
        set(&mut object.apps, apps);
        set(&mut object.forward, forward);
        set(&mut object.behaviour, behaviour);
        object.password = password.or(object.password.take());
        object.busy_at = busy_at.or(object.busy_at);
        if let Some(registered) = registered {
            for device in &mut object.devices {
                device.registered = registered;
            }
        }
    });
    Ok(inner.switch.object_json(id))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
