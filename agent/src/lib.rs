//! The agent beside the PBX, as a library for its binary, its benchmarks and its tests.
//!
//! Events: `pbx` (frames) → `controller` → `calls` (the pure core) → `events` (the outbox on disk, then the uplink to the
//! events queue). Commands: `commands` (the receiver of the commands queue) → `controller` → operations and jobs of `commands`
//! → `pbx`. `peers` is what the agents of one PBX share: identity, heartbeat and names of calls. `host` is this machine:
//! systemd, the health endpoint, statistics. `reload` reads the configuration again. `check` finds out why nothing happens.
//!
//! Imports go downwards: `agent` → `controller`, `reload` → `commands` → `peers` → `events` → `host`, `pbx` → `calls`, `config`. `check`
//! uses `host` and `pbx`. Nothing but `agent` imports `controller`.

pub mod agent;
pub mod calls;
pub mod check;
pub mod commands;
pub mod config;
pub mod controller;
pub mod events;
pub mod host;
pub mod pbx;
pub mod peers;
pub mod reload;
