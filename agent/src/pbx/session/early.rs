//! Reports of calls that come before the result that gives their monitor its handle.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::pbx::rcc::CallInfo;

const KEPT_FOR: Duration = Duration::from_secs(15);
const MOST: usize = 500;

#[derive(Debug, Default)]
pub(super) struct EarlyReports(VecDeque<(Instant, CallInfo)>);

impl EarlyReports {
    pub(super) fn keep(&mut self, report: CallInfo) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((Instant::now(), report));
    }

    /// The `src` of a report with this handle.
    pub(super) fn src_of(&self, handle: u64) -> Option<&str> {
        self.0.iter().filter(|(_, report)| report.user == handle).find_map(|(_, report)| report.src.as_deref())
    }

    pub(super) fn take(&mut self, handle: u64) -> Vec<CallInfo> {
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(_, report)| report.user == handle);
        self.0 = left;
        taken.into_iter().map(|(_, report)| report).collect()
    }

    /// Their handle was never given, or is no longer.
    pub(super) fn forget_old(&mut self) {
        while self.0.pop_front_if(|(at, _)| at.elapsed() > KEPT_FOR).is_some() {}
    }
}
