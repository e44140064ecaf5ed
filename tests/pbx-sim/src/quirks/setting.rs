//! The kinds of values that a switch can have, and the macros that make switches of a table.

use serde_json::Value;

/// A value of a switch.
pub(crate) trait Setting: Sized {
    /// What may be set beyond [`Self::values`], in words; `None` if that is all.
    const OPEN: Option<&'static str> = None;

    /// All values, or of an open kind those with a meaning of their own.
    fn values() -> Vec<Value>;

    fn read(value: &Value) -> Option<Self>;

    fn shown(&self) -> Value;
}

impl Setting for bool {
    fn values() -> Vec<Value> {
        vec![false.into(), true.into()]
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Setting for u64 {
    const OPEN: Option<&'static str> = Some("a whole number that is not negative");

    fn values() -> Vec<Value> {
        Vec::new()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()
    }

    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Setting for String {
    const OPEN: Option<&'static str> = Some("an extension");

    fn values() -> Vec<Value> {
        Vec::new()
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn shown(&self) -> Value {
        self.clone().into()
    }
}

impl<T: Setting> Setting for Option<T> {
    const OPEN: Option<&'static str> = T::OPEN;

    fn values() -> Vec<Value> {
        [vec![Value::Null], T::values()].concat()
    }

    fn read(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }

    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::shown)
    }
}

/// A closed choice of words.
macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Setting for $name {
            fn values() -> Vec<Value> {
                vec![$($word.into()),+]
            }

            fn read(value: &Value) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn shown(&self) -> Value {
                match self {
                    $(Self::$variant => $word.into(),)+
                }
            }
        }
    };
}

/// The table of switches: `/// meaning`, `name: kind = default, "section"`, and for an open kind a value to try.
macro_rules! switches {
    ($($(#[doc = $meaning:literal])+ $name:ident: $kind:ty = $default:expr, $section:literal $(, try $example:expr)?;)+) => {
        /// What a PBX is like. The default is the plain behaviour.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Quirks {
            $($(#[doc = $meaning])+ pub $name: $kind,)+
        }

        impl Default for Quirks {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Quirks {
            /// Every switch with its present value, in the order of the protocol's sections.
            pub fn table(&self) -> Vec<Switch> {
                let plain = Self::default();
                vec![$(Switch {
                    name: stringify!($name),
                    section: $section,
                    meaning: concat!($($meaning),+).trim(),
                    values: {
                        let mut values = <$kind as Setting>::values();
                        for value in [plain.$name.shown() $(, Value::from($example))?] {
                            if !values.contains(&value) {
                                values.push(value);
                            }
                        }
                        values
                    },
                    open: <$kind as Setting>::OPEN,
                    default: plain.$name.shown(),
                    value: self.$name.shown(),
                },)+]
            }

            /// Sets one switch. `None`: there is no such switch. `Some(false)`: it cannot have this value.
            fn assign(&mut self, name: &str, value: &Value) -> Option<bool> {
                match name {
                    $(stringify!($name) => Some(match <$kind as Setting>::read(value) {
                        Some(value) => {
                            self.$name = value;
                            true
                        }
                        None => false,
                    }),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {choice, switches};
