//! The cloud without time of its own: a request begins at one moment and ends at another, and between the two others may.

use std::time::Duration;

use serde_json::Value as Json;

use crate::counts::{Counts, FaultKind};
use crate::dice::Dice;
use crate::error::{Answer, ApiError};
use crate::faults::Faults;
use crate::log::{self, Entry};
use crate::protocol::{Request, Service};
use crate::queues::{Progress, Queues};
use crate::rates::Rates;
use crate::tables::{Begun as TableBegun, Tables};
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Engine {
    tables: Tables,
    pub(crate) queues: Queues,
    pub(crate) dice: Dice,
    pub(crate) counts: Counts,
    pub(crate) log: Vec<Entry>,
    rates: Rates,
}

/// A request that has begun.
#[derive(Debug)]
pub(crate) enum Begun {
    Refused(ApiError),
    Table(TableBegun),
    Queue { operation: String, body: Json, began: Duration },
}

/// What becomes of a request outside of the services, drawn when it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journey {
    pub(crate) there: Duration,
    pub(crate) within: Duration,
    pub(crate) back: Duration,
    pub(crate) outcome: RequestOutcome,
}

/// How a request ends for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Answered,
    RequestLost,
    AnswerLost,
    Hung,
    InternalError,
}

impl Engine {
    pub(crate) fn new(seed: u64, faults: Faults, base: String) -> Self {
        Self {
            tables: Tables::default(),
            queues: Queues::new(base),
            dice: Dice::new(seed, faults),
            counts: Counts::default(),
            log: Vec::new(),
            rates: Rates::default(),
        }
    }

    /// The parts of the cloud and the world that a request of somebody finds.
    pub(crate) fn split<'a>(&'a mut self, now: Duration, who: &'a str) -> (&'a mut Tables, &'a mut Queues, World<'a>) {
        let Self { tables, queues, dice, counts, rates, .. } = self;
        (tables, queues, World { now, answered_at: now, who, keys: String::new(), dice, counts, rates })
    }

    /// All draws of a request's way are made at once, so that they come in the order in which requests are sent.
    pub(crate) fn journey(&mut self, request: &Request) -> Journey {
        let (dice, counts) = (&mut self.dice, &mut self.counts);
        let (low, high) = dice.faults.latency;
        let total = dice.between(low, high);
        // At the table a request is for up to a half of its time; the rest is the way.
        let within = dice.between(Duration::ZERO, total / 2);
        let there = dice.between(Duration::ZERO, total - within);
        let overlaps =
            dice.faults.overlap && request.service == Service::DynamoDb && Tables::takes_time(&request.operation);
        let fates = [
            (FaultKind::LostRequest, RequestOutcome::RequestLost),
            (FaultKind::InternalError, RequestOutcome::InternalError),
            (FaultKind::LostAnswer, RequestOutcome::AnswerLost),
            (FaultKind::HungConnection, RequestOutcome::Hung),
            (FaultKind::TableError, RequestOutcome::InternalError),
            (FaultKind::QueueError, RequestOutcome::InternalError),
        ];
        let is_possible = |kind| match kind {
            FaultKind::TableError => request.service == Service::DynamoDb,
            FaultKind::QueueError => request.service == Service::Sqs,
            _ => true,
        };
        let mut happening = fates.into_iter().filter(|(kind, _)| is_possible(*kind) && dice.injects(*kind, counts));
        let outcome = happening.next().map_or(RequestOutcome::Answered, |(_, outcome)| outcome);
        let back = total - within - there;
        if overlaps {
            Journey { there, within, back, outcome }
        } else {
            Journey { there, within: Duration::ZERO, back: back + within, outcome }
        }
    }

    pub(crate) fn begin(&mut self, request: &Request, now: Duration, who: &str) -> Begun {
        let body = match &request.body {
            Ok(body) => body,
            Err(error) => return Begun::Refused(error.clone()),
        };
        match request.service {
            Service::DynamoDb => {
                let (tables, _, mut world) = self.split(now, who);
                Begun::Table(tables.begin(&request.operation, body, &mut world))
            }
            Service::Sqs => {
                if self.dice.injects(FaultKind::ThrottledRequest, &mut self.counts) {
                    let error = ApiError::new("RequestThrottled", "The request was throttled.").at_status(403);
                    return Begun::Refused(error);
                }
                Begun::Queue { operation: request.operation.clone(), body: body.clone(), began: now }
            }
        }
    }

    /// Carries a request out, whose answer leaves so much later. A receive that has to wait stays where it is, to be tried again.
    pub(crate) fn end(
        &mut self,
        request: &mut Option<Begun>,
        now: Duration,
        later: Duration,
        who: &str,
    ) -> Result<Answer, Wait> {
        let (tables, queues, mut world) = self.split(now, who);
        world.answered_at = now + later;
        match request.take() {
            Some(Begun::Refused(error)) => Ok(Err(error)),
            Some(Begun::Table(begun)) => Ok(tables.end(begun, &mut world)),
            Some(Begun::Queue { operation, body, began }) => {
                match queues.answer(&operation, &body, began, &mut world) {
                    Progress::Done(answer) => Ok(answer),
                    Progress::Waits { until, next } => {
                        *request = Some(Begun::Queue { operation, body, began });
                        Err(Wait { at: next.map_or(until, |next| next.min(until)) })
                    }
                }
            }
            None => Ok(Err(ApiError::unreadable("the request is over"))),
        }
    }

    pub(crate) fn items(&self, table: &str, partition: &str) -> Vec<Json> {
        self.tables.items(table, partition)
    }

    pub(crate) fn sizes(&self, table: &str) -> Vec<(usize, Option<Duration>)> {
        self.tables.sizes(table)
    }

    pub(crate) fn log(&mut self, at: Duration, process: &str, request: &Request, outcome: &str) {
        self.log.push(Entry {
            at,
            process: process.to_owned(),
            operation: request.to_string(),
            content: request.body.as_ref().map_or(0, log::content),
            outcome: outcome.to_owned(),
        });
    }
}

/// How long a receive waits, unless something is sent earlier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) at: Duration,
}
