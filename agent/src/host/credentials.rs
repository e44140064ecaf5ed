//! The AWS region and credentials of the agent, from wherever an administrator keeps them.

use aws_config::SdkConfig;
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use jiff::Timestamp;
use tracing::warn;

use crate::config::AwsConfig;

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
        Err(error) if comes_from_metadata(&error) => Err(missing()),
        Err(error) => Ok(Err(error)),
    }
}

/// Refuses to start without what no retry will bring.
pub async fn require(sdk: &SdkConfig, aws: &AwsConfig) -> Result<(), AwsSetupError> {
    region(sdk)?;
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

pub fn explain(error: &CredentialsError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
