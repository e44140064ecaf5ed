//! The agent beside the PBX, as a library for its binary, its benchmarks and its tests.
//!
//! Data flows one way each: `pbx` (frames) → `desk` → `calls` (the pure core) → `outbox` (disk) → `uplink` (events queue), and
//! `downlink` (commands queue) → `desk` → `operations` and `jobs` → `pbx`. `connect` is the one command that outlives its
//! request; `takeover` ends it for an agent that is gone, by what `running` and `pulse` have told. `memory` is what agents
//! share, and `scribe` writes it down. `vitals` counts what happens; `health` tells it to those on this machine, `service` to systemd,
//! and `check` finds out why nothing happens; it begins its connections as `pbx` does, with `dial` and `tls`.

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
