//! One contract, kept by the simulator and by two others; and what only the simulator does.

mod contract;
mod counts;
mod faults;
mod mapping;
mod plain;
mod processes;
mod sdk;
mod server;
mod story;
mod target;
mod time;
