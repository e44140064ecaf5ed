//! What looks on while requests are made: each answer teaches the clock, and no request has headers that nobody reads.

use std::sync::{Arc, Mutex, PoisonError};

use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextRef,
    BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, disable_interceptor, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::clock::{BootTime, CloudClock};

#[derive(Clone, Copy, Debug)]
struct SentAt(BootTime);

impl Storable for SentAt {
    type Storer = StoreReplace<Self>;
}

/// Teaches the clock by every answer of a client.
#[derive(Clone, Debug)]
pub(super) struct ClockTeacher(CloudClock);

impl ClockTeacher {
    pub(super) fn new(clock: &CloudClock) -> Self {
        Self(clock.clone())
    }
}

#[dyn_dispatch_hint]
impl Intercept for ClockTeacher {
    fn name(&self) -> &'static str {
        "ClockTeacher"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(SentAt(self.0.boot()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let (Some(SentAt(sent)), Some(date)) = (bag.load::<SentAt>(), date_of(context)) {
            self.0.learn(*sent, self.0.boot(), date);
        }
        Ok(())
    }
}

/// Leaves out the headers by which the SDK tells AWS of itself, of the system and of its attempts: they are a sixth of what a request
/// costs.
#[derive(Debug)]
pub(super) struct FewHeaders;

#[dyn_dispatch_hint]
impl Intercept for FewHeaders {
    fn name(&self) -> &'static str {
        "FewHeaders"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        const WHY: &str = "nobody reads its headers";
        let state = bag.interceptor_state();
        state.store_put(disable_interceptor::<UserAgentInterceptor>(WHY));
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(WHY));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(WHY));
        Ok(())
    }
}

/// Remembers the `Date` of one operation's answer, for who must know when it took effect.
#[derive(Clone, Debug, Default)]
pub struct DateOfAnswer(Arc<Mutex<Option<Timestamp>>>);

impl DateOfAnswer {
    pub fn get(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for DateOfAnswer {
    fn name(&self) -> &'static str {
        "DateOfAnswer"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date_of(context);
        Ok(())
    }
}

fn date_of(context: &BeforeDeserializationInterceptorContextRef<'_>) -> Option<Timestamp> {
    let date = context.response().headers().get("date")?;
    Some(rfc2822::parse(date).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_understood() {
        let date = rfc2822::parse("Fri, 16 Sep 2022 11:57:43 GMT").expect("a date").timestamp();
        assert_eq!(date.to_string(), "2022-09-16T11:57:43Z");
    }
}
