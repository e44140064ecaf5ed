//! A PBX simulator: an innovaphone-like PBX as applications see it through AppWebsocket and RCC.
//!
//! [`Sim`] is a whole simulator with its sockets: `ws`, `wss` and an HTTP control API, all on loopback. The `pbx-sim`
//! binary is a thin face of it. Messages are raw JSON; no type is shared with any client, so that a mistake in the
//! protocol cannot hide on both sides.
//!
//! ```no_run
//! # async fn demo() -> anyhow::Result<()> {
//! use pbx_sim::{Sim, world::World};
//! use serde_json::json;
//!
//! let sim = Sim::builder().world(World::default()).start().await?;
//! println!("connect to {}", sim.ws_url());
//! sim.control("/call", json!({"from": "+32472591687", "to": "42"}))?;
//! sim.control("/answer", json!({"extension": "42"}))?;
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod auth;
mod body;
mod causes;
mod control;
pub mod fault;
mod http;
mod hub;
mod json;
mod link;
mod messages;
mod ping_filter;
pub mod quirks;
mod rcc;
mod server;
mod session;
mod subscriptions;
pub mod switch;
mod users;
mod wire;
pub mod world;

pub use body::Refused;
pub use server::{Builder, InMemory, Sim};
