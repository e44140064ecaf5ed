//! Where requests to AWS would go.

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use shared::aws;
use shared::clock::CloudClock;

use crate::host::sdk;

/// The URLs that requests to the queues and to the table go to, as the clients themselves work them out of region, endpoint and
/// variables; none if they cannot. Nothing is sent.
pub(super) async fn destinations(config: &SdkConfig) -> [Option<String>; 2] {
    // Where the requests go does not depend on who makes them.
    let nobody = Credentials::new("nobody", "nothing", None, None, "destinations");
    let config = config.to_builder().credentials_provider(SharedCredentialsProvider::new(nobody)).build();
    let (config, clock) = (sdk::without_retries(&config), CloudClock::new());
    let (queues, tables) = (Destination::default(), Destination::default());
    let request = aws::sqs(&config, &clock).receive_message().queue_url("none");
    let _ = request.customize().interceptor(queues.clone()).send().await;
    let request = aws::dynamodb(&config, &clock).get_item().table_name("none");
    let request = request.key("pk", AttributeValue::S("none".to_owned()));
    let _ = request.customize().interceptor(tables.clone()).send().await;
    [queues, tables].map(|destination| destination.0.get().cloned())
}

/// Notes where a request would go, and stops it.
#[derive(Clone, Debug, Default)]
struct Destination(Arc<OnceLock<String>>);

#[dyn_dispatch_hint]
impl Intercept for Destination {
    fn name(&self) -> &'static str {
        "Destination"
    }

    fn read_before_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let _ = self.0.set(context.request().uri().to_owned());
        Err("only the destination is wanted".into())
    }
}
