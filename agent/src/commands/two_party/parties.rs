//! The two parties of a two-party command: what happens to them, and what follows from it.

use shared::codes::Code;
use shared::command::{Dial, Refusal, Stage};
use shared::ids::CallId;

use crate::commands::causes::{code_of_cause, refusal_of_cause};
use crate::commands::request::CallProgress;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

impl Side {
    /// The field of the request that names the party.
    fn field(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum PartyEvent {
    Progress(Side, CallProgress),
    /// The PBX session is lost, so nothing more is reported.
    Lost,
    RingingEnds,
    /// The agent is told to stop.
    Stopped,
}

impl PartyEvent {
    /// The progress of a party's call; a closed channel means that the session is lost.
    pub(super) fn to(side: Side, progress: Option<CallProgress>) -> Self {
        progress.map_or(Self::Lost, |progress| Self::Progress(side, progress))
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum NextStep {
    Wait,
    Join(CallId, CallId),
    /// Nothing was sent to the PBX.
    Expired,
    CleanUp(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartyState {
    /// Its number was dialled and the PBX has not named the call.
    Called,
    Placed(CallId),
    Answered(CallId),
    /// There is no call any more that could be ended.
    Gone,
}

#[derive(Debug)]
pub(super) struct Parties {
    parties: [PartyState; 2],
    ring_seconds: u16,
}

impl Parties {
    pub(super) fn new(ring_seconds: u16) -> Self {
        Self { parties: [PartyState::Called; 2], ring_seconds }
    }

    pub(super) fn take(&mut self, event: PartyEvent) -> NextStep {
        match event {
            PartyEvent::Progress(side, progress) => self.on_progress(side, progress),
            PartyEvent::Lost => NextStep::CleanUp(Code::Interrupted.into()),
            PartyEvent::RingingEnds => NextStep::CleanUp(self.nobody_answered()),
            PartyEvent::Stopped => NextStep::CleanUp(Refusal::with_detail(
                Code::Interrupted,
                "The agent was stopped before both parties had answered; what it had begun was ended.",
            )),
        }
    }

    fn on_progress(&mut self, side: Side, progress: CallProgress) -> NextStep {
        let party = &mut self.parties[side as usize];
        let (code, text) = match (progress, *party) {
            (CallProgress::Placed(call), _) => {
                *party = PartyState::Placed(call);
                return NextStep::Wait;
            }
            (CallProgress::Answered, PartyState::Placed(call)) => {
                *party = PartyState::Answered(call);
                return match self.parties {
                    [PartyState::Answered(a), PartyState::Answered(b)] => NextStep::Join(a, b),
                    _ => NextStep::Wait,
                };
            }
            (CallProgress::Answered, _) => return NextStep::Wait,
            (CallProgress::TooLate, _) => return NextStep::Expired,
            (CallProgress::Failed(refusal), _) => (refusal.code, text_of(&refusal)),
            // A party that hangs up after the answer did not want to wait. That is no fault of the PBX.
            (CallProgress::Ended(cause), PartyState::Answered(_))
                if code_of_cause(cause.unwrap_or(0)) == Code::Refused =>
            {
                let cause = cause.map(|cause| format!(" (cause {cause})")).unwrap_or_default();
                (Code::CallRejected, format!("The party hung up before the other one had answered.{cause}"))
            }
            (CallProgress::Ended(cause), _) => {
                let refusal = refusal_of_cause(cause);
                (refusal.code, text_of(&refusal))
            }
        };
        *party = PartyState::Gone;
        NextStep::CleanUp(Refusal::with_detail(code, format!("Party `{}`: {text}", side.field())))
    }

    fn nobody_answered(&self) -> Refusal {
        let within = format!("within {} s", self.ring_seconds);
        let waits = |side: Side| !matches!(self.parties[side as usize], PartyState::Answered(_));
        let text = match (waits(Side::A), waits(Side::B)) {
            (true, true) => format!("Parties `a` and `b`: Neither answered {within}."),
            (true, false) => format!("Party `a`: Did not answer {within}."),
            (false, _) => format!("Party `b`: Did not answer {within}."),
        };
        Refusal::with_detail(Code::NoAnswer, text)
    }

    pub(super) fn stage(&self) -> Stage {
        let answered = self.parties.iter().any(|party| matches!(party, PartyState::Answered(_)));
        if answered { Stage::FirstAnswered } else { Stage::Calling }
    }

    pub(super) fn is_unnamed(&self, side: Side) -> bool {
        self.parties[side as usize] == PartyState::Called
    }

    /// The dials that may have left something: the calls that have a name, and those that are still to get one.
    pub(super) fn begun(&self, dials: &[Dial]) -> Vec<Dial> {
        let begun = self
            .parties
            .iter()
            .zip(dials)
            .filter(|(party, dial)| dial.call_id.is_some() || **party != PartyState::Gone);
        begun.map(|(_, dial)| dial.clone()).collect()
    }

    /// Writes the names that the PBX has given beside what was dialled.
    pub(super) fn name(&self, dials: &mut [Dial]) {
        for (party, dial) in self.parties.iter().zip(dials) {
            if let PartyState::Placed(call) | PartyState::Answered(call) = party {
                dial.call_id = Some(*call);
            }
        }
    }
}

fn text_of(refusal: &Refusal) -> String {
    refusal.detail.clone().unwrap_or_else(|| refusal.code.meaning().message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: u64) -> CallId {
        CallId::of_handle(uuid::Uuid::nil(), n, n, n)
    }

    /// Lets things happen; all but the last of them leave the parties waiting.
    fn play(event: Vec<PartyEvent>) -> NextStep {
        let mut parties = Parties::new(45);
        let mut step = NextStep::Wait;
        for event in event {
            assert_eq!(step, NextStep::Wait);
            step = parties.take(event);
        }
        step
    }

    fn refused(event: Vec<PartyEvent>) -> (Code, String) {
        match play(event) {
            NextStep::CleanUp(refusal) => (refusal.code, refusal.detail.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    fn placed(side: Side) -> PartyEvent {
        PartyEvent::Progress(side, CallProgress::Placed(call(side as u64)))
    }

    fn answered(side: Side) -> PartyEvent {
        PartyEvent::Progress(side, CallProgress::Answered)
    }

    fn ended(side: Side, cause: u16) -> PartyEvent {
        PartyEvent::Progress(side, CallProgress::Ended(Some(cause)))
    }

    use Side::{A, B};

    #[test]
    fn both_are_joined_whoever_answers_first() {
        let joined = NextStep::Join(call(0), call(1));
        assert_eq!(play(vec![placed(A), placed(B), answered(A), answered(B)]), joined);
        assert_eq!(play(vec![placed(B), answered(B), placed(A), answered(A)]), joined);
    }

    #[test]
    fn refusal_names_the_party_and_the_cause() {
        let busy = CallProgress::Failed(refusal_of_cause(Some(17)));
        assert_eq!(
            refused(vec![placed(A), PartyEvent::Progress(B, busy)]),
            (Code::UserBusy, "Party `b`: The called party is busy. (cause 17)".to_owned())
        );
        assert_eq!(refused(vec![placed(A), ended(A, 21)]).0, Code::CallRejected);
        let (code, text) = refused(vec![placed(A), answered(A), placed(B), ended(A, 16)]);
        assert_eq!(code, Code::CallRejected);
        assert_eq!(text, "Party `a`: The party hung up before the other one had answered. (cause 16)");
        assert_eq!(refused(vec![placed(A), answered(A), ended(A, 41)]).0, Code::NetworkUnavailable);
    }

    #[test]
    fn ringing_ends_for_whom_it_may_concern() {
        let text = |event| refused(event).1;
        assert!(text(vec![placed(A), PartyEvent::RingingEnds]).starts_with("Parties `a` and `b`"));
        assert!(text(vec![placed(A), placed(B), answered(A), PartyEvent::RingingEnds]).starts_with("Party `b`"));
        assert!(text(vec![placed(A), placed(B), answered(B), PartyEvent::RingingEnds]).starts_with("Party `a`"));
    }

    #[test]
    fn interruptions_clean_up_and_lateness_has_nothing_to_clean() {
        assert_eq!(refused(vec![placed(A), PartyEvent::to(B, None)]).0, Code::Interrupted);
        assert_eq!(refused(vec![PartyEvent::Stopped]).0, Code::Interrupted);
        assert_eq!(play(vec![PartyEvent::Progress(A, CallProgress::TooLate)]), NextStep::Expired);
    }

    #[test]
    fn stage_and_names_follow() {
        let mut parties = Parties::new(45);
        let dial = || Dial { via: "77".to_owned(), number: "50".to_owned(), at: 0, call_id: None };
        let mut dials = vec![dial(), dial()];
        parties.take(placed(B));
        parties.name(&mut dials);
        assert_eq!((dials[0].call_id, dials[1].call_id), (None, Some(call(1))));
        assert!(parties.is_unnamed(A) && !parties.is_unnamed(B));
        assert_eq!(parties.stage(), Stage::Calling);
        parties.take(answered(B));
        assert_eq!(parties.stage(), Stage::FirstAnswered);
        parties.take(ended(B, 16));
        parties.name(&mut dials);
        assert_eq!(dials[1].call_id, Some(call(1)), "what was named stays named");
        assert_eq!(parties.begun(&dials).len(), 2);
        parties.take(PartyEvent::Progress(A, CallProgress::Failed(Code::UserBusy.into())));
        assert_eq!(parties.begun(&dials), [dials[1].clone()], "a call that did not come about leaves nothing");
    }
}
