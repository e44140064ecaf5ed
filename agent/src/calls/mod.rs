//! The call core: reports about legs in, events and names of calls out.
//!
//! It is pure. It has no clock of its own (every input carries its time, on the cloud's clock), does no I/O (what it wants
//! looked up or remembered it says in its output), and knows no frame.
//!
//! Promises, each a property test: a status happens once per call; no `ringing` after `connected`; `disconnected` comes
//! last and comes for every call that was ever reported; no duration is negative. No update comes before the first status of its call or
//! after the last, and none tells the state that was told last.
//!
//! What it remembers is bounded, whatever the PBX leaves out or repeats: the first hundred entries of a call's history, its first
//! [`call_core::ALIASES`] conference ids, the latest [`ENDED_HANDLES`] handles whose end was told and whose deletion was not, and what ended under
//! the latest [`names::ENDED_SPOTS`] conferences. What is beyond that and still comes is taken for something new.

mod assignment;
mod call;
mod call_core;
mod evidence;
mod leg;
mod missing;
mod names;
mod outcome;
mod records;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod view;

pub use call::{Origin, UserIdentity};
pub use call_core::{Calls, ENDED_HANDLES, Output};
pub use leg::{LegId, LegReport, LegState, Party, Phase, Relation, Spot, UserGuid};
pub use outcome::TAKEN_ELSEWHERE;
pub use records::{Changes, RecordKey, Records, UnreadableRecord};
pub use view::CallView;
