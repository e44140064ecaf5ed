//! End-to-end stories: the real binaries on the real template in a throw-away local cloud, with IAM enforced.

mod agent;
mod apikeys;
mod connect;
mod crashes;
mod high_availability;
mod idempotency;
mod isolation;
mod local_stack;
mod makecall;
mod never_late;
mod openapi;
mod operations;
mod recovery;
mod subscriptions;
mod tools;
mod webhooks;
