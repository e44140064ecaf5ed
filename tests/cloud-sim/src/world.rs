//! What a request needs of the world around it: the time, chance, and where to count.

use std::time::Duration;

use crate::counts::Counts;
use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct World<'a> {
    /// Since 1970.
    pub(crate) now: Duration,
    /// When the answer to this request leaves the service.
    pub(crate) answered_at: Duration,
    pub(crate) dice: &'a mut Dice,
    pub(crate) counts: &'a mut Counts,
}
