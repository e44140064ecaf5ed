//! This machine and what runs on it: systemd, monitoring, the disk, the log, and how AWS is reached from here.

pub mod access_key;
pub mod backoff;
pub mod concurrency;
pub mod credentials;
pub mod disk;
pub mod health;
pub mod reloadable;
pub mod sdk;
pub mod statistics;
pub mod status;
pub mod systemd;
pub mod telemetry;
pub mod workers;
