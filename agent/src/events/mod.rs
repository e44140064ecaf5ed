//! Events of calls on their way to the cloud: kept on disk by the outbox, sent to the events queue by the uplink.

pub mod outbox;
pub mod uplink;
