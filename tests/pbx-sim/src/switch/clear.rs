//! The end of legs and calls: releases, tones that linger, and who else is affected.

use super::model::{CallId, LegId, Phase, Refusal};
use super::{Switch, Timer};
use crate::world::DeviceKind;

impl Switch {
    /// The terminal, or an application in its name, gives a leg up.
    pub fn clear(&mut self, leg: LegId, cause: u16) -> Result<(), Refusal> {
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        let (call, object, lingering) = (found.call, found.object, found.phase == Phase::DisconnectSent);
        let offered = self.offers(call).contains(&leg);
        self.edit(leg, |leg| {
            leg.phase = Phase::DisconnectReceived;
            leg.cause = Some(cause);
        });
        self.emit(leg, "x-rel");
        if lingering {
            self.finish(vec![leg]);
        } else if !offered {
            let others = self.calls[&call].legs.iter().copied().filter(|other| *other != leg).collect();
            let mut ended = vec![leg];
            ended.extend(self.release_all(others, cause));
            self.finish(ended);
        } else {
            self.offer_declined(call);
            let busy = self.objects.get(&object).and_then(|object| object.forward.cfb.clone());
            match busy.filter(|_| cause == 17 && self.calls[&call].forwards) {
                Some(next) => {
                    self.detach(leg);
                    self.divert(call, object, next, Some(26));
                    self.finish(vec![leg]);
                }
                None if self.offers(call).is_empty() && self.queue_leg(call).is_none() => {
                    self.fail_then_end(call, cause, vec![leg]);
                }
                None => self.finish(vec![leg]),
            }
        }
        Ok(())
    }

    /// The call reached nobody: its calling end hears why.
    pub(super) fn fail(&mut self, call: CallId, cause: u16) {
        self.fail_then_end(call, cause, Vec::new());
    }

    pub(super) fn fail_then_end(&mut self, call: CallId, cause: u16, mut ended: Vec<LegId>) {
        let others = self.calls.get(&call).map(|call| call.legs.clone()).unwrap_or_default();
        let others = others.into_iter().filter(|leg| !ended.contains(leg)).collect();
        ended.extend(self.release_all(others, cause));
        self.finish(ended);
    }

    /// The PBX clears towards terminals. Returns the legs that are over; the others linger with a tone.
    pub(super) fn release_all(&mut self, legs: Vec<LegId>, cause: u16) -> Vec<LegId> {
        let (linger, over): (Vec<_>, Vec<_>) = legs.into_iter().partition(|leg| cause != 26 && self.lingers(*leg));
        for leg in linger {
            let Some(found) = self.legs.get_mut(&leg).filter(|leg| leg.phase != Phase::DisconnectSent) else {
                continue;
            };
            (found.phase, found.cause) = (Phase::DisconnectSent, Some(cause));
            (found.held, found.holds) = (false, false);
            let object = found.object;
            self.emit(leg, "r-disc");
            let heard_enough = if self.is_queue(object) { self.tone } else { self.phone_tone };
            self.after(heard_enough, Timer::ToneEnds(leg));
        }
        self.release_all_at_once(over, cause)
    }

    pub(super) fn release_all_at_once(&mut self, legs: Vec<LegId>, cause: u16) -> Vec<LegId> {
        for leg in &legs {
            self.edit(*leg, |leg| {
                (leg.phase, leg.cause) = (Phase::DisconnectSent, Some(cause));
                (leg.held, leg.holds) = (false, false);
            });
            self.emit(*leg, "r-rel");
        }
        legs
    }

    /// Whether a leg that the PBX clears stays until its terminal clears too. By default only calls that the
    /// terminal placed and that failed do (it hears a tone), and innovaphone phones watched with `disc:true`.
    fn lingers(&self, leg: LegId) -> bool {
        let Some(leg) = self.legs.get(&leg) else { return false };
        let terminal = leg.device.is_some() || self.is_queue(leg.object);
        let rings = !leg.placed && leg.phase < Phase::Connected;
        if leg.external.is_some() || !terminal || rings || leg.phase >= Phase::DisconnectSent {
            return leg.phase == Phase::DisconnectSent;
        }
        let failed = leg.placed && leg.phase < Phase::Connected;
        let disc = self.objects.get(&leg.object).is_some_and(|object| object.disc > 0)
            && self.device_kind(leg) == Some(DeviceKind::Innovaphone);
        self.variants.linger.unwrap_or(failed || disc)
    }

    /// Takes a leg out of its call's structure; it keeps its number of the call for its last messages.
    pub(super) fn detach(&mut self, leg: LegId) {
        let Some(call) = self.legs.get(&leg).map(|leg| leg.call) else { return };
        if let Some(call) = self.calls.get_mut(&call) {
            call.legs.retain(|other| *other != leg);
            call.right = call.right.filter(|right| *right != leg);
        }
    }

    /// Sends the last message of each leg and forgets it.
    pub(super) fn finish(&mut self, ended: Vec<LegId>) {
        for leg in ended {
            self.emit(leg, "del");
            self.detach(leg);
            let Some(gone) = self.legs.remove(&leg) else { continue };
            let Some(call) = self.calls.get_mut(&gone.call) else { continue };
            if call.left == leg
                && let Some(next) = call.legs.first()
            {
                call.left = *next;
            }
            if call.legs.is_empty() && !self.legs.values().any(|other| other.call == gone.call) {
                self.calls.remove(&gone.call);
            }
        }
    }
}
