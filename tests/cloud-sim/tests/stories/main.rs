//! Stories of the real functions in the simulated cloud. Each is a few lines: start, traffic, faults, judgement.

mod agent;
mod api;
mod commands;
mod cost;
mod crashes;
mod environments;
mod everything;
mod judge;
mod lives;
mod machine;
mod once_only;
mod one_by_one;
mod order;
mod outages;
mod output;
mod poller;
mod polling;
mod rate;
mod receivers;
mod recording;
mod reporter;
mod seeds;
mod stack;
mod template;
mod traffic;
mod webhooks;
