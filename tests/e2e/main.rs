//! End-to-end stories: the real binaries on the real template in a throw-away local cloud, with IAM enforced.

mod agent;
mod apikeys;
mod check;
mod connect;
mod crashes;
mod faults;
mod forms;
mod fuzz;
mod health;
mod high_availability;
mod idempotency;
mod isolation;
mod local_stack;
mod makecall;
mod never_late;
mod notices;
mod openapi;
mod operations;
mod outbox;
mod package;
mod recovery;
mod service;
mod subscriptions;
mod toll_fraud;
mod tools;
mod webhooks;
