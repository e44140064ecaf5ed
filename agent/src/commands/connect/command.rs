//! The run of one two-party command, from its claim to its end.

use std::time::Duration;

use serde_json::json;
use shared::codes::Code;
use shared::command::{Command, Dial, Refusal, Stage};
use shared::operation::Operation;
use shared::tables::{Finish, TableError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cleaning::Cleaned;
use super::connector::{Connector, out_of_reach};
use super::parties::{Happened, Parties, Side, Step};
use super::record::Record;
use crate::commands::request::{Act, Guard, News, Request};
use crate::commands::running::Listed;

/// A call that is just being placed has its name within this time, or nobody knows when.
const NAME_WITHIN: Duration = Duration::from_secs(2);

/// How a long command leaves this agent.
enum End {
    Finished(Finish),
    /// Another agent has it.
    TakenOver,
    /// What it has begun could not be ended, so another agent has to.
    Unfinished,
}

impl End {
    fn refused(refusal: impl Into<Refusal>) -> Self {
        Self::Finished(Finish::Done(Err(refusal.into())))
    }
}

impl Connector {
    /// Carries out a claimed command and writes down how it ended.
    pub async fn run(
        &self,
        command: &Command,
        token: &str,
        guard: Guard,
        stop: &CancellationToken,
    ) -> Result<(), TableError> {
        let listed = self.running.list(command.command_id);
        match self.connect(command, token, guard, &listed, stop).await {
            End::Finished(end) => self.results.finish(command, token, &end).await?,
            End::TakenOver => warn!(command.id = %command.command_id, "Another agent has taken the command over"),
            End::Unfinished => listed.keep(),
        }
        Ok(())
    }

    async fn connect(
        &self,
        command: &Command,
        token: &str,
        guard: Guard,
        listed: &Listed,
        stop: &CancellationToken,
    ) -> End {
        let Operation::ConnectParties { via, ring_seconds, .. } = &command.operation else {
            return End::refused(Code::Refused);
        };
        let numbers = match self.numbers(command, guard).await {
            Ok(numbers) => numbers,
            Err(end) => return end,
        };
        let at = self.clock.now().as_millisecond();
        let dial = |number: &String| Dial { via: via.clone(), number: number.clone(), at, call_id: None };
        let mut dials: Vec<Dial> = numbers.iter().map(dial).collect();
        if let Err(end) = self.write_down_first(command, token, guard, listed, &dials).await {
            return end;
        }

        let (news_a, mut a) = mpsc::unbounded_channel();
        let (news_b, mut b) = mpsc::unbounded_channel();
        let request =
            Request::Dial { via: via.clone(), numbers: numbers.into_iter().zip([news_a, news_b]).collect(), guard };
        let ringing_ends = Instant::now() + Duration::from_secs((*ring_seconds).into());
        if self.controller.send(request).await.is_err() {
            return End::refused(Code::PbxOffline);
        }
        let record = Record::keep(self, command.command_id, token, dials.clone(), Stage::Calling);
        let mut parties = Parties::new(*ring_seconds);
        let refusal = loop {
            let happened = tokio::select! {
                biased;
                () = record.taken_over() => return End::TakenOver,
                () = stop.cancelled() => Happened::Stopped,
                news = a.recv() => Happened::to(Side::A, news),
                news = b.recv() => Happened::to(Side::B, news),
                () = sleep_until(ringing_ends) => Happened::RingingEnds,
            };
            let step = parties.take(happened);
            parties.name(&mut dials);
            match step {
                Step::Wait => record.set(&dials, parties.stage()),
                Step::Join(a, b) => {
                    record.set(&dials, Stage::Joining);
                    info!(command.id = %command.command_id, "Both parties have answered");
                    match self.act(Operation::TransferCall { call_id_a: a, call_id_b: b }).await {
                        Ok(_) => {
                            record.is_written().await;
                            return End::Finished(Finish::Done(Ok(json!({"CallIdA": a, "CallIdB": b}))));
                        }
                        Err(refusal) => break refusal,
                    }
                }
                Step::Expired => return End::Finished(Finish::Expired),
                Step::CleanUp(refusal) => break refusal,
            }
        };
        info!(command.id = %command.command_id, code = refusal.code.as_str(), "The parties are not joined");
        let named_by = Instant::now() + NAME_WITHIN;
        for (side, news) in [(Side::A, &mut a), (Side::B, &mut b)] {
            wait_for_name(&mut parties, side, news, named_by).await;
        }
        parties.name(&mut dials);
        // A call that the PBX only names later is cleared by the controller, because nobody follows it any more.
        drop((a, b));
        record.set(&dials, Stage::CleaningUp);
        let begun = parties.begun(&dials);
        let cleaned = tokio::select! {
            biased;
            cleaned = self.clean_up(command.command_id, &begun, stop) => cleaned,
            () = record.taken_over() => return End::TakenOver,
        };
        match cleaned {
            Cleaned::Yes => End::refused(refusal),
            Cleaned::OutOfReach => End::refused(out_of_reach()),
            Cleaned::Stopped => End::Unfinished,
        }
    }

    /// What is to be dialled, or why it may not be.
    async fn numbers(&self, command: &Command, guard: Guard) -> Result<[String; 2], End> {
        let (reply, answer) = oneshot::channel();
        let act = Act { operation: command.operation.clone(), reach: command.reach.clone(), guard: Some(guard), reply };
        match self.ask(act, answer).await {
            Ok(result) => serde_json::from_value(result["numbers"].clone()).map_err(|_| End::refused(Code::Refused)),
            Err(refusal) => Err(End::refused(refusal)),
        }
    }

    /// Nothing is dialled before the heartbeat lists the command and the command names what is dialled.
    async fn write_down_first(
        &self,
        command: &Command,
        token: &str,
        guard: Guard,
        listed: &Listed,
        dials: &[Dial],
    ) -> Result<(), End> {
        let progress = self.exchange.progress(command.command_id, token, dials, Stage::Calling, self.clock.now());
        let open_for = guard.open_for(self.clock.boot());
        let (told, written) = tokio::join!(listed.is_told(open_for), timeout(open_for, progress));
        match written {
            Ok(Ok(true)) if told => Ok(()),
            Ok(Ok(true)) | Err(_) => Err(End::Finished(Finish::Expired)),
            Ok(Ok(false)) => Err(End::TakenOver),
            Ok(Err(error)) => {
                warn!(command.id = %command.command_id, "Nothing was dialled: {error}");
                Err(End::refused(Code::Unavailable))
            }
        }
    }
}

/// A dial that the PBX has not named yet is worth a short wait: what has a name is ended for certain.
async fn wait_for_name(parties: &mut Parties, side: Side, news: &mut mpsc::UnboundedReceiver<News>, until: Instant) {
    while parties.is_unnamed(side) {
        match timeout_at(until, news.recv()).await {
            Ok(Some(news)) => drop(parties.take(Happened::News(side, news))),
            Ok(None) | Err(_) => return,
        }
    }
}
