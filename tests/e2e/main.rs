//! End-to-end stories: the real binaries on the real template in a throw-away local cloud, with IAM enforced.

mod agent;
mod high_availability;
mod local_stack;
mod makecall;
mod never_late;
mod webhooks;
