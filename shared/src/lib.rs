//! The language that the agent and the cloud functions both speak.
//!
//! Identities, events, commands and their envelopes; the queues and the two tables; numbers, keys, time and configuration
//! as values. No PBX frame and no Lambda type is known here, and nothing here decides when something happens.

pub mod address;
pub mod agent_status;
pub mod apikey;
pub mod aws;
pub mod call;
pub mod clock;
pub mod codes;
pub mod command;
pub mod config;
pub mod delivery;
pub mod destination;
pub mod envelope;
pub mod event;
pub mod feed;
pub mod ids;
pub mod kind;
pub mod metrics;
pub mod notice;
pub mod number;
pub mod numbering;
pub mod operation;
pub mod queue;
pub mod random;
pub mod rendering;
pub mod tables;
pub mod telemetry;
pub mod time;
pub mod webhook;
