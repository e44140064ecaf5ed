//! Commands from apps: received, carried out at the PBX, and their results written down.

mod causes;
pub mod jobs;
pub mod operations;
pub mod receiver;
pub mod recovery;
pub mod request;
pub mod results;
pub mod running;
pub mod two_party;
