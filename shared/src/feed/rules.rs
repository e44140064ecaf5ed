//! Which rules hold. All of them, except in the tests that show what each is for.

/// How a rule can be broken, in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// An event that stands under its call is acknowledged, whether or not it is in the feed.
    RecordedIsDone,
    /// A reader that sees a reserved number and no entry goes on behind the number.
    HeadIsTrusted,
    /// A reader takes the entries that it sees, and does not mind numbers that are missing between them.
    GapsArePassed,
    /// A writer that finds a slot taken believes that its event is there.
    TakenIsDone,
    /// A writer takes a number that it has, even if the event before it has a higher one.
    LowerNumbersAreUsed,
    /// A reader whose tombstone is refused goes on.
    RefusedIsPassed,
}

/// All rules, or in a test all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct FeedRules {
    #[cfg(test)]
    broken: Option<Broken>,
}

impl FeedRules {
    #[cfg(test)]
    pub(super) const ALL: Self = Self { broken: None };

    #[cfg(test)]
    pub(super) fn without(broken: Broken) -> Self {
        Self { broken: Some(broken) }
    }

    /// Never in a program.
    #[cfg(not(test))]
    pub(super) fn broken_by(self, _: Broken) -> bool {
        false
    }

    #[cfg(test)]
    pub(super) fn broken_by(self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
}
