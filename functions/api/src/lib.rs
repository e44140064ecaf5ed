//! The REST API: call control for apps that speak plain HTTP.
//!
//! Stateless; what it knows is in the tables. It never speaks to the PBX: it writes a command, rings for an agent, waits a
//! bounded time and tells what came of it. It never logs a key, a query string or a phone number.

mod answers;
mod assets;
mod auth;
mod body;
mod commands;
mod console;
mod context;
mod deliveries;
mod dialling;
mod directory;
mod doorbells;
mod errors;
mod field_name;
mod fields;
mod gateway;
mod given;
mod limits;
mod lists;
mod observe;
mod operations;
mod request;
mod routes;
mod sample;
mod stats;
mod swagger;
#[cfg(test)]
mod tests;
mod trail;
mod webhook_view;
mod webhooks;

pub use context::Context;
pub use gateway::whole;
pub use routes::router;
