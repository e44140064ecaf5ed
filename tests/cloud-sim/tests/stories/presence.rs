//! What an agent does beside its uplink, as far as the cloud sees it: it beats, listens for commands, and writes down the ends of
//! calls for other agents. The rules are those of `agent/src`: `pulse.rs`, `downlink.rs` and `calls/records.rs`.

use std::time::Duration;

use cloud_sim::{Cloud, Process};
use shared::agent_status::{AgentStatus, BEAT_EVERY, PbxLink, Vitals};
use shared::aws;
use shared::config::Vars;
use shared::event::{Direction, Status};
use shared::ids::CallId;
use shared::numbering::DialPrefixes;
use shared::queue::Queue;
use shared::tables::{Exchange, LegItem};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::machine::{Chance, Variables, platform};
use crate::template::Template;

const LONG_POLL: Duration = Duration::from_secs(20);
const DOORBELLS: usize = 10;
const DAY: i64 = 24 * 60 * 60;

#[derive(Debug)]
pub(crate) struct Presence {
    cloud: Cloud,
    exchange: Exchange,
    commands: Queue,
    /// What happens to calls.
    calls: mpsc::UnboundedReceiver<(CallId, Status)>,
}

impl Presence {
    pub(crate) fn new(
        process: &Process,
        template: &Template,
        chance: &Chance,
        calls: mpsc::UnboundedReceiver<(CallId, Status)>,
    ) -> Self {
        let variables = Variables::new([("COMMANDS".to_owned(), template.queue_url("CommandsQueue"))].into());
        let platform = platform(process, chance);
        let (config, clock) = (aws::function_config(&variables, &platform), platform.clock());
        let commands = variables.get("COMMANDS").expect("it was just set");
        Self {
            cloud: process.cloud().clone(),
            exchange: Exchange::new(aws::dynamodb(&config, &clock), "exchange".to_owned()),
            commands: Queue::new(aws::sqs(&config, &clock), commands),
            calls,
        }
    }

    /// Until it is dropped.
    pub(crate) async fn run(self) {
        let Self { cloud, exchange, commands, mut calls } = self;
        let listen = async {
            loop {
                // Nobody commands anything in these stories.
                let _ = commands.receive(DOORBELLS, LONG_POLL).await;
            }
        };
        let beat = async {
            let mut beat = interval(BEAT_EVERY);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut live = 0;
            loop {
                tokio::select! {
                    biased;
                    Some((call, status)) = calls.recv() => {
                        live = if status == Status::Disconnected { live - 1 } else { live.max(1) };
                        if status == Status::Disconnected {
                            let leg = ended(call, cloud.now().as_second());
                            exchange.remember_leg("master", "3954ae7854c96301c9dd009033400109", &leg).await.expect("written");
                        }
                        continue; // Their number goes with the next beat.
                    }
                    _ = beat.tick() => {}
                }
                exchange.beat(&status(&cloud, live)).await.expect("the beat is written");
            }
        };
        tokio::join!(listen, beat);
    }
}

fn ended(call: CallId, now: i64) -> LegItem {
    LegItem {
        conference: "577193ccf44465016826009033600110".to_owned(),
        direction: Direction::Incoming,
        ended: 1,
        begun: vec![now * 1000],
        live: None,
        last_ended: Some(call),
        last_ended_at: Some(now * 1000),
        expires_at: now + DAY,
    }
}

fn status(cloud: &Cloud, live_calls: u32) -> AgentStatus {
    let now = cloud.now();
    AgentStatus {
        agent_id: "comms-room/5b1c7a52".to_owned(),
        name: "comms-room".to_owned(),
        version: "0.1.0".to_owned(),
        pbx_id: Some("master".to_owned()),
        pbx: PbxLink::Up,
        session_since: Some(now.as_millisecond()),
        started_at: now.as_millisecond(),
        updated_at: now.as_millisecond(),
        visible_users: 50,
        live_calls,
        waiting_events: 0,
        prefixes: DialPrefixes::default(),
        running: Vec::new(),
        vitals: Vitals { os: "Debian GNU/Linux 11 (bullseye), x86_64".to_owned(), ..Vitals::default() },
        problem: None,
        expires_at: now.as_second() + DAY,
    }
}
