//! One contract, kept by the simulator and by two others; and what only the simulator does.

mod contract;
mod plain;
mod sdk;
mod target;
