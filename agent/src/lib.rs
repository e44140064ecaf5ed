//! The agent beside the PBX, as a library for its binary, its benchmarks and its tests.
//!
//! Data flows one way each: `pbx` (frames) → `desk` → `calls` (the pure core) → `uplink` (events queue), and
//! `downlink` (commands queue) → `desk` → `operations` and `jobs` → `pbx`. `memory` is what agents share, `pulse` how they
//! show that they are there.

pub mod agent;
pub mod backoff;
pub mod calls;
pub mod config;
pub mod desk;
pub mod downlink;
pub mod jobs;
pub mod memory;
pub mod operations;
pub mod pbx;
pub mod pulse;
pub mod telemetry;
pub mod uplink;
