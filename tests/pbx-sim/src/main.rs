//! `pbx-sim`: starts a simulator, says where it listens, and runs until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use pbx_sim::Sim;
use pbx_sim::world::World;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

/// PBX simulator: AppWebsocket and RCC for tests, on loopback.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address for ws; port 0 = any free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address for wss
    #[arg(long, default_value = "127.0.0.1:0")]
    tls_listen: SocketAddr,
    /// Address of the HTTP control API
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Name of the first app object, instead of the world's
    #[arg(long)]
    app: Option<String>,
    /// Password of the first app object, instead of the world's
    #[arg(long, env = "PBX_SIM_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Name of the PBX, instead of the world's
    #[arg(long)]
    pbx_name: Option<String>,
    /// How many PBXs the system has; the further ones are branches with an extension 42 each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    pbxs: u32,
    /// JSON file that describes users, queues and app objects
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// How much to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: tracing::Level,
    /// File for the addresses; the same JSON line that is printed
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(arguments.log_level).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("{err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    // Before the ready line, so that a signal sent right after it is not missed.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

    let sim = Sim::builder()
        .world(world(&arguments)?)
        .listen(arguments.listen)
        .tls_listen(arguments.tls_listen)
        .control(arguments.control)
        .start()
        .await?;
    let ready = sim.ready().to_string();
    if let Some(path) = &arguments.ports_file {
        write_whole(path, &ready)?;
    }
    println!("{ready}");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("Stopping");
    sim.shutdown().await;
    Ok(())
}

fn world(arguments: &Arguments) -> Result<World> {
    let mut world = match &arguments.world {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no world", path.display()))?
        }
        None => World::default(),
    }
    .with_branches(arguments.pbxs - 1);
    if let Some(app) = world.apps.first_mut() {
        if let Some(name) = &arguments.app {
            // Users keep their access when the app object gets another name.
            let old = std::mem::replace(&mut app.name, name.clone());
            let users = world.users.iter_mut().map(|user| &mut user.apps);
            for granted in users.chain(world.queues.iter_mut().map(|queue| &mut queue.apps)).flatten() {
                if *granted == old {
                    granted.clone_from(name);
                }
            }
        }
        if let Some(password) = &arguments.password {
            app.password.clone_from(password);
        }
    }
    if let Some(name) = &arguments.pbx_name {
        world.pbx.clone_from(name);
    }
    Ok(world)
}

/// Whoever waits for the file never sees half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        std::fs::write(&draft, format!("{text}\n"))?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
