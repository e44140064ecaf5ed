//! Who the agent is for AWS: its region and its credentials, from wherever an administrator keeps them.

use aws_config::SdkConfig;
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use jiff::Timestamp;
use shared::aws;
use tracing::warn;

/// What no request can be made without.
#[derive(Debug, thiserror::Error)]
pub enum Lacking {
    #[error("the AWS region is missing; {REGION_FIX}")]
    Region,
    #[error("the AWS credentials are missing; {CREDENTIALS_FIX}")]
    Credentials,
    #[error("the AWS credentials cannot be read: {0}; {CREDENTIALS_FIX}")]
    Unreadable(String),
}

pub const REGION_FIX: &str = "set `aws.region` in the configuration, or AWS_REGION in the agent's environment";
pub const CREDENTIALS_FIX: &str = "put the access key of the agent's IAM user into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of its \
     environment; or name a profile with credentials or a credential_process in AWS_PROFILE";

pub fn region(sdk: &SdkConfig) -> Result<&str, Lacking> {
    sdk.region().map(AsRef::as_ref).ok_or(Lacking::Region)
}

/// When the credentials end, if they do. What may be better at the next try is no lack of them.
pub async fn credentials(sdk: &SdkConfig) -> Result<Result<Option<Timestamp>, CredentialsError>, Lacking> {
    match aws::credentials_expire(sdk).await {
        Ok(expiry) => Ok(Ok(expiry)),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(Lacking::Credentials),
        Err(error @ CredentialsError::InvalidConfiguration(_)) => Err(Lacking::Unreadable(explain(&error))),
        // The metadata service of a virtual machine at AWS is asked last, when there is nothing else.
        Err(error) if comes_from_metadata(&error) => Err(Lacking::Credentials),
        Err(error) => Ok(Err(error)),
    }
}

/// Refuses to start without what no later moment will bring.
pub async fn require(sdk: &SdkConfig) -> Result<(), Lacking> {
    region(sdk)?;
    if let Err(error) = credentials(sdk).await? {
        warn!("No AWS credentials at this moment: {}; if that stays so, {CREDENTIALS_FIX}", explain(&error));
    }
    Ok(())
}

fn comes_from_metadata(error: &CredentialsError) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<ImdsError>)
}

pub fn explain(error: &CredentialsError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
