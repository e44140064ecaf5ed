//! The cloud simulator as a program: DynamoDB and SQS over HTTP on loopback, until it is told to stop.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cloud_sim::{Cloud, Faults, serve};

/// DynamoDB and SQS in memory, on loopback.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Port to listen on; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Decides all that is left to chance.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Probability of each fault, from 0 to 1. More than 0 brings latency and requests that meet, too.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    faults: f64,
    /// The least and the most milliseconds that a request takes.
    #[arg(long, value_names = ["LEAST", "MOST"], num_args = 2)]
    latency: Option<Vec<u64>>,
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("not between 0 and 1".to_owned()) }
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command-line face")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloud-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> std::io::Result<()> {
    let mut faults = if arguments.faults > 0.0 { Faults::all(arguments.faults) } else { Faults::none() };
    if let Some([least, most]) = arguments.latency.as_deref() {
        faults.latency = (Duration::from_millis(*least), Duration::from_millis(*most));
    }
    let server = serve(Cloud::builder().seed(arguments.seed).faults(faults), arguments.port).await?;
    // One line that says that it is ready, and where.
    println!("{{\"endpoint\":\"http://{}\"}}", server.address);
    let cloud = server.cloud.clone();
    server.run(stopped()).await?;
    println!("{}", cloud.counts());
    Ok(())
}

/// Until SIGTERM or SIGINT.
async fn stopped() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminated) => terminated.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
