//! Everything that knows the PBX's protocol.
//!
//! `tcp`, `tls` (with `pinned`), `text_frames` and `link` make a connection; `login` opens it. `frames` routes what comes by `api` and `mt`: `base`
//! reads the messages of the connection itself and one module per API (`rcc`) those of that API, so a further API is a module and a
//! line in `frames`. `pacer` finds the request that a result belongs to. `session` is what a logged-in connection shows.

mod base;
mod fields;
pub mod frames;
pub mod identity;
pub mod link;
pub mod login;
mod pacer;
mod pinned;
pub mod rcc;
pub mod session;
pub mod tcp;
mod text_frames;
pub mod tls;

pub use base::BaseFrame;
