//! Everything that knows the PBX's protocol.

pub mod frames;
pub mod link;
pub mod login;
pub mod rcc;
pub mod session;
pub mod tcp;
pub mod tls;
