//! Stories of updates: an earlier version of the functions, built from its own commit, and the present one on the same queues and tables.
//! `make rolling` runs them; `README.md` says what they cover.

// The stories of the cloud simulator use all of these; those here some.
#![allow(dead_code)]

#[path = "../../cloud-sim/tests/stories/agent.rs"]
mod agent;
#[path = "../../cloud-sim/tests/stories/api.rs"]
mod api;
mod before;
#[path = "../../cloud-sim/tests/stories/environments.rs"]
mod environments;
#[path = "../../cloud-sim/tests/stories/judge.rs"]
mod judge;
#[path = "../../cloud-sim/tests/stories/lives.rs"]
mod lives;
#[path = "../../cloud-sim/tests/stories/machine.rs"]
mod machine;
mod mixed;
mod outbox;
#[path = "../../cloud-sim/tests/stories/output.rs"]
mod output;
#[path = "../../cloud-sim/tests/stories/poller.rs"]
mod poller;
#[path = "../../cloud-sim/tests/stories/receivers.rs"]
mod receivers;
#[path = "../../cloud-sim/tests/stories/release.rs"]
mod release;
#[path = "../../cloud-sim/tests/stories/reporter.rs"]
mod reporter;
#[path = "../../cloud-sim/tests/stories/seeds.rs"]
mod seeds;
#[path = "../../cloud-sim/tests/stories/stack.rs"]
mod stack;
#[path = "../../cloud-sim/tests/stories/template.rs"]
mod template;
#[path = "../../cloud-sim/tests/stories/traffic.rs"]
mod traffic;
mod updates;
#[path = "../../cloud-sim/tests/stories/way.rs"]
mod way;
