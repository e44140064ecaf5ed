//! The AWS region and credentials of the agent, from wherever an administrator keeps them.

use aws_config::SdkConfig;
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use jiff::Timestamp;
use shared::random::Random;
use tokio::time::sleep;
use tracing::warn;

use crate::config::AwsConfig;
use crate::host::backoff::Backoff;

/// About ten seconds.
const METADATA_RETRIES: usize = 4;

/// Without region and credentials no request can be made.
#[derive(Debug, thiserror::Error)]
pub enum AwsSetupError {
    #[error("the AWS region is missing; {REGION_FIX}")]
    Region,
    #[error("the AWS credentials are missing; {fix}")]
    Credentials { fix: String },
    #[error("the AWS credentials cannot be read: {cause}; {fix}")]
    Unreadable { cause: String, fix: String },
}

pub const REGION_FIX: &str = "set `aws.region` in the configuration, or AWS_REGION in the agent's environment";

/// What brings credentials, where an administrator of this configuration keeps them.
pub fn credentials_fix(aws: &AwsConfig) -> String {
    match aws.credentials_file_to_edit() {
        Some(file) => format!(
            "put the access key of the agent's IAM user, or a credential_process, under [default] into {}",
            file.display()
        ),
        None => "put the access key of the agent's IAM user into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of its environment; or \
                 name a profile with credentials or a credential_process in AWS_PROFILE"
            .to_owned(),
    }
}

pub fn region(sdk: &SdkConfig) -> Result<&str, AwsSetupError> {
    sdk.region().map(AsRef::as_ref).ok_or(AwsSetupError::Region)
}

/// When the credentials end, if they do. An error that a retry may fix is not reported as missing credentials.
pub async fn credentials(
    sdk: &SdkConfig,
    aws: &AwsConfig,
) -> Result<Result<Option<Timestamp>, CredentialsError>, AwsSetupError> {
    let missing = || AwsSetupError::Credentials { fix: credentials_fix(aws) };
    match credentials_expire(sdk).await {
        Ok(expiry) => Ok(Ok(expiry)),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(missing()),
        Err(error @ CredentialsError::InvalidConfiguration(_)) => {
            Err(AwsSetupError::Unreadable { cause: explain(&error), fix: credentials_fix(aws) })
        }
        // The metadata service of a virtual machine at AWS is asked last, when there is nothing else.
        Err(error) if comes_from_metadata(&error) && !metadata_refuses(&error) => Err(missing()),
        Err(error) => Ok(Err(error)),
    }
}

/// Refuses to start without what no retry will bring.
pub async fn require(sdk: &SdkConfig, aws: &AwsConfig) -> Result<(), AwsSetupError> {
    region(sdk)?;
    // The metadata service of a virtual machine may come up later than the agent. Where there is none, the agent ends a little later.
    let mut backoff = Backoff::new(Random::default());
    for _ in 0..METADATA_RETRIES {
        match credentials_expire(sdk).await {
            Err(error) if comes_from_metadata(&error) => {
                warn!("No AWS credentials at this moment: {}", explain(&error));
                sleep(backoff.pause()).await;
            }
            _ => break,
        }
    }
    if let Err(error) = credentials(sdk, aws).await? {
        let (cause, fix) = (explain(&error), credentials_fix(aws));
        warn!("No AWS credentials at this moment: {cause}; if that stays so, {fix}");
    }
    Ok(())
}

/// When the credentials end; none if they do not. Asks for them as a request would.
async fn credentials_expire(config: &SdkConfig) -> Result<Option<Timestamp>, CredentialsError> {
    let none = || CredentialsError::not_loaded("no provider of credentials is configured");
    let credentials = config.credentials_provider().ok_or_else(none)?.provide_credentials().await?;
    Ok(credentials.expiry().and_then(|expiry| Timestamp::try_from(expiry).ok()))
}

fn comes_from_metadata(error: &CredentialsError) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<ImdsError>)
}

/// The service is there and answers with an error.
fn metadata_refuses(error: &CredentialsError) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<ImdsError>());
    matches!(cause, Some(ImdsError::ErrorResponse(_)))
}

pub fn explain(error: &CredentialsError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_config::imds::Client;
    use aws_config::imds::credentials::ImdsCredentialsProvider;
    use aws_config::provider_config::ProviderConfig;
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::provider::SharedCredentialsProvider;
    use axum::Router;
    use axum::extract::Request;
    use axum::http::StatusCode;
    use tokio::net::TcpListener;

    use super::*;

    /// A metadata service that refuses as often as it is told to, and how often it was asked.
    async fn metadata(refusals: usize) -> (SdkConfig, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let answer = async move |request: Request| {
            if count.fetch_add(1, Ordering::SeqCst) < refusals {
                return (StatusCode::FORBIDDEN, [("x-aws-ec2-metadata-token-ttl-seconds", "600")], String::new());
            }
            let keys = r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T",
                "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z"}"#;
            let text = match request.uri().path() {
                "/latest/api/token" => "token",
                path if path.ends_with("/role") => keys,
                _ => "role",
            };
            (StatusCode::OK, [("x-aws-ec2-metadata-token-ttl-seconds", "600")], text.to_owned())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let way = ProviderConfig::without_region().with_http_client(shared::aws::http_client());
        let client =
            Client::builder().configure(&way).endpoint(format!("http://{address}")).expect("an address").build();
        let provider = ImdsCredentialsProvider::builder().imds_client(client).build();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(provider))
            .build();
        (sdk, asked)
    }

    fn aws() -> AwsConfig {
        serde_json::from_value(serde_json::json!({
            "events_queue_url": "http://127.0.0.1/e", "commands_queue_url": "http://127.0.0.1/c", "exchange_table": "t",
        }))
        .expect("a configuration")
    }

    #[tokio::test]
    async fn metadata_service_that_refuses_for_a_moment_is_asked_again() {
        let (sdk, asked) = metadata(1).await;
        require(&sdk, &aws()).await.expect("it has credentials");
        assert!(asked.load(Ordering::SeqCst) > 3, "it was asked again");
    }
}
