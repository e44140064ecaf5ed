//! The expressions of DynamoDB: conditions, updates, key conditions, filters and projections, with a parser for the documented
//! grammar. What AWS refuses is refused here, reserved words, unused placeholders and overlapping paths included.

mod condition;
mod key;
mod path;
mod placeholders;
mod projection;
mod reserved;
mod tokens;
mod update;

pub(crate) use condition::Condition;
pub(crate) use key::{KeyCondition, SortCondition};
pub(crate) use placeholders::Placeholders;
pub(crate) use projection::Projection;
pub(crate) use update::Update;
