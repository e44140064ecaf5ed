//! Puts into a fresh stack what a demonstration needs, through the same code that the functions read it with.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Parser, Subcommand, ValueEnum};
use shared::aws::{self, Platform};
use shared::clock::CloudClock;
use shared::config::{Env, Vars};
use shared::ids::WebhookId;
use shared::tables::StateTable;
use shared::webhook::{Method, Secret, Settings, Webhook};
use uuid::Uuid;

/// Seeds the stack named by STATE_TABLE and the AWS_* variables.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A webhook, unless one for this URL was seeded before. Prints its id.
    Webhook {
        #[arg(long)]
        url: String,
        #[arg(long, value_enum, ignore_case = true, default_value = "POST")]
        method: MethodName,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
enum MethodName {
    Post,
    Get,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Post => Self::Post,
            MethodName::Get => Self::Get,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { what: What::Webhook { url, method } } = Arguments::parse();
    let table = Env.required("STATE_TABLE")?;
    let config = aws::function_config(&Env, &Platform::default());
    let state = StateTable::new(aws::dynamodb(&config, &CloudClock::new()), table);
    println!("{}", webhook(&state, url, method.into()).await?);
    Ok(())
}

async fn webhook(state: &StateTable, url: String, method: Method) -> anyhow::Result<WebhookId> {
    let id = WebhookId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, url.as_bytes()));
    let known = state.webhooks().await.context("cannot read the webhooks")?;
    if known.iter().all(|webhook| webhook.id != id) {
        let key: [u8; 32] = rand::random();
        let secret = Secret::new(format!("whsec_{}", STANDARD.encode(key)));
        let settings = Settings { method, description: "Seeded".to_owned(), ..Settings::new(url) };
        let webhook = Webhook::new(id, settings, secret, jiff::Timestamp::now());
        state.put_webhook(&webhook).await.context("cannot store the webhook")?;
    }
    Ok(id)
}
