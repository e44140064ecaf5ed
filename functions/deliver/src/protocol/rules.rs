//! Which rules hold. All of them, except in the tests that show what each is for.

/// How a rule can be broken, in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// The worker writes `shared` as soon as it has found the park empty.
    NoSettling,
    /// It writes `settling`, and does not look again.
    NoSecondLook,
    /// It goes to rest, and does not look again.
    RestsUnseen,
}

/// All rules, or in a test all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    #[cfg(test)]
    broken: Option<Broken>,
}

impl Rules {
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
