//! The RCC API: what the agent asks, and what the PBX says.

mod messages;
mod requests;

pub use messages::{CallInfo, MonitorResult, OperationResult, RccFrame, UserInfo};
pub use requests::*;

/// The `api` of its messages.
pub const API: &str = "RCC";
