//! Waiting queues: announcement, ringing operators in rounds, and offering a call to the same operator again.

use super::model::{CallId, LegId, Phase, Related};
use super::{Queue, Switch, Timer};
use crate::world::BehaviourMode;

impl Switch {
    fn queue_of(&self, leg: LegId) -> Option<Queue> {
        self.objects.get(&self.legs.get(&leg)?.object)?.queue().cloned()
    }

    /// The caller still waits: nobody but the queue itself has the call.
    fn still_waits(&self, queue_leg: LegId) -> Option<CallId> {
        let call = self.calls.get(&self.legs.get(&queue_leg)?.call)?;
        let waits = call.right.is_none_or(|right| right == queue_leg) && call.legs.contains(&queue_leg);
        waits.then_some(call.id)
    }

    /// The caller hears the announcement; operators go on ringing.
    pub(super) fn announce(&mut self, leg: LegId) {
        let Some(call) = self.still_waits(leg) else { return };
        if self.legs[&leg].phase != Phase::Alerting {
            return;
        }
        self.edit(leg, |leg| leg.phase = Phase::Connected);
        self.edit_call(call, |call| call.right = Some(leg));
        self.emit(leg, "x-conn");
        self.caller_connects(call, leg);
    }

    /// Rings every free operator.
    pub(super) fn offer_round(&mut self, leg: LegId, round: u32) {
        let (Some(call), Some(queue)) = (self.still_waits(leg), self.queue_of(leg)) else { return };
        if self.legs[&leg].round != round {
            return;
        }
        let caller = self.party(self.calls[&call].left);
        let no = vec![Related { kind: "leg2", party: self.party(leg) }];
        let mut ring = Vec::new();
        let node = self.node_of(self.legs[&leg].object);
        let operator = |number: &String| match number.split_once('/') {
            Some((node, e164)) => self.find_in(node, e164),
            None => self.find_dialled(node, number),
        };
        let operators: Vec<_> = queue.operators.iter().filter_map(operator).collect();
        for operator in operators {
            let object = &self.objects[&operator];
            let free = object.behaviour.mode != BehaviourMode::Busy && self.load(operator).0 == 0;
            let devices: Vec<_> = object.registered().map(|device| device.hw.clone()).collect();
            for device in devices.into_iter().filter(|_| free) {
                let offer = self.open_leg(call, operator, false);
                (offer.device, offer.peer, offer.no) = (Some(device), caller.clone(), no.clone());
                ring.push(offer.id);
                self.emit(ring[ring.len() - 1], "r-setup");
            }
        }
        for offer in ring {
            self.edit(offer, |leg| leg.phase = Phase::Alerting);
            self.emit(offer, "x-alert");
            self.react(offer);
        }
        self.after(queue.offer, Timer::OfferEnds(leg, round));
    }

    /// Nobody answered in this round; the same operators are rung again after a pause.
    pub(super) fn offer_ends(&mut self, leg: LegId, round: u32) {
        let (Some(call), Some(queue)) = (self.still_waits(leg), self.queue_of(leg)) else { return };
        if self.legs[&leg].round != round {
            return;
        }
        let offers = self.offers(call);
        let ended = self.release_all_at_once(offers, 19);
        self.finish(ended);
        self.edit(leg, |leg| leg.round = round + 1);
        self.after(queue.pause, Timer::Offer(leg, round + 1));
    }

    /// An operator declined. When all have, the next round begins after the pause.
    pub(super) fn offer_declined(&mut self, call: CallId) {
        let Some(leg) = self.queue_leg(call) else { return };
        let Some(queue) = self.queue_of(leg) else { return };
        if self.offers(call).is_empty() && self.still_waits(leg).is_some() {
            let round = self.legs[&leg].round + 1;
            self.edit(leg, |leg| leg.round = round);
            self.after(queue.pause, Timer::Offer(leg, round));
        }
    }
}
