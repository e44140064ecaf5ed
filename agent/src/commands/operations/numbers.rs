//! Numbers of a command on this PBX: what is dialled, and whether the key of the command may.
//!
//! The patterns of the key and of the stack are applied again here, although `api` has applied them: only the agent knows the
//! prefixes that the user dials with at this moment, who is an extension, and to which number further digits are added.

use std::fmt;

use shared::codes::Code;
use shared::command::Refusal;
use shared::destination::Judgement;
use shared::ids::CallId;
use shared::number::DialString;
use shared::numbering::{DialPrefixes, Reaches, Route};
use shared::operation::DialOptions;

use super::planner::Planner;
use crate::pbx::session::User;

impl Planner<'_> {
    /// What a user or queue dials to reach a destination, if the key may. It is judged and dialled with the prefixes of that
    /// user's node, and only there can it be an extension.
    pub(super) fn to_dial(&self, field: &str, typed: &str, by: &User) -> Result<String, Refusal> {
        let number = self.number(field, typed)?;
        let route = route(field, &number, &by.prefixes)?;
        let judgement =
            if self.reach.internal_only.contains(typed) { Judgement::OnlyInternal } else { Judgement::Allowed };
        let judgement = self.judge(&route.reaches).max(judgement);
        let is_extension = || self.session.in_node(&by.info.node, number.as_str()).is_some();
        match judgement {
            Judgement::Allowed => Ok(route.dialled),
            Judgement::OnlyInternal if is_extension() => Ok(route.dialled),
            Judgement::OnlyInternal => Err(Refusal::with_detail(
                Code::DestinationNotAllowed,
                format!("field `{field}`: the API key may not call this destination, which is nobody's extension"),
            )),
            Judgement::Denied => Err(Refusal::with_detail(
                Code::DestinationNotAllowed,
                format!("field `{field}`: the API key may not call this destination"),
            )),
        }
    }

    /// What the called party sees instead of the extension; `r` in front withholds it.
    pub(super) fn shown_number(&self, options: &DialOptions, by: &User) -> Result<Option<String>, Refusal> {
        let number = options.caller_number.as_deref().map(|typed| self.caller_number(typed, by)).transpose()?;
        Ok(if options.clir { Some(format!("r{}", number.unwrap_or_default())) } else { number })
    }

    fn caller_number(&self, typed: &str, by: &User) -> Result<String, Refusal> {
        let field = "callerNumber";
        let number = self.number(field, typed)?;
        let own = || {
            let user = self.session.in_node(&by.info.node, number.as_str());
            user.is_some_and(|user| self.reach.covers(&self.session.names_of(user)))
        };
        if self.reach.own_caller_number && !own() {
            return Err(Refusal::with_detail(
                Code::CallerNumberNotAllowed,
                format!("field `{field}`: the API key may show only extensions that it may act for"),
            ));
        }
        Ok(route(field, &number, &by.prefixes)?.dialled)
    }

    /// Notes digits that are added to the number of a call, if the key may dial the number that they make.
    pub(super) fn add_digits(&mut self, call: CallId, digits: &str) -> Result<(), Refusal> {
        let dialled = self.calls.number_dialled_by(call).unwrap_or_default();
        // The PBX need not report what it was given by `UserInfo`, so it is remembered here.
        let sent = self.session.digits_sent(call).filter(|sent| sent.starts_with(dialled)).unwrap_or(dialled);
        let whole = format!("{sent}{digits}");
        let reaches = match DialString::parse(&whole) {
            // Of a user who is not visible any more no prefixes are known, so patterns refuse it.
            Ok(number) => {
                let prefixes = self.user_of(call).map(|user| user.prefixes.clone()).unwrap_or_default();
                route("digits", &number, &prefixes)?.reaches
            }
            Err(_) => Reaches::Unknown,
        };
        // Half of an outside number may be somebody's extension, so an extension is no excuse here.
        if self.judge(&reaches) != Judgement::Allowed {
            return Err(Refusal::with_detail(
                Code::DestinationNotAllowed,
                "the API key may not dial the number that these digits complete, or it is not complete",
            ));
        }
        let calls = self.calls;
        self.session.note_digits(call, whole, |call| calls.knows(call));
        Ok(())
    }

    /// The strictest of what the patterns say.
    fn judge(&self, reaches: &Reaches) -> Judgement {
        self.reach.rules.iter().map(|rules| rules.judge(reaches)).max().unwrap_or(Judgement::Allowed)
    }

    fn number(&self, field: &str, typed: &str) -> Result<DialString, Refusal> {
        DialString::parse(typed).map_err(|error| invalid(field, error))
    }
}

fn route(field: &str, number: &DialString, prefixes: &DialPrefixes) -> Result<Route, Refusal> {
    number.route(prefixes).map_err(|error| invalid(field, error))
}

fn invalid(field: &str, why: impl fmt::Display) -> Refusal {
    Refusal::with_detail(Code::InvalidNumber, format!("field `{field}` {why}"))
}
