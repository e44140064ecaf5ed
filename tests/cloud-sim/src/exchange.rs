//! One request and its answer in time: the way there, the time at the service, the way back, and what breaks on the way.

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::cloud::Cloud;
use crate::engine::{Journey, RequestOutcome};
use crate::error::ApiError;
use crate::process::Process;
use crate::protocol::{Request, Response, Service};

/// No answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection broke.
    Reset,
    /// Whoever asked is dead.
    Dead,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reset => "connection reset by the simulated cloud",
            Self::Dead => "the process was killed",
        })
    }
}

impl std::error::Error for Broken {}

/// Asks the cloud. Where the connection hangs this never ends, so it is for the caller to have a time-out.
///
/// The cloud goes on with a request whose caller has gone away, as the real one does.
pub(crate) async fn exchange(process: Process, request: Request) -> Result<Response, Broken> {
    let Ok(survives) = process.sends() else {
        process.dies().await;
        return Err(Broken::Dead);
    };
    let cloud = process.cloud().clone();
    let journey = cloud.engine().journey(&request);
    let (answers, answer) = oneshot::channel();
    tokio::spawn({
        let process = process.clone();
        async move {
            let response = serve(&cloud, &process, &request, journey).await;
            // Nobody may be there any more.
            let _ = answers.send(response);
        }
    });
    let answer = answer.await.unwrap_or(Err(Broken::Reset));
    if !survives {
        process.kill();
    }
    if process.is_dead() {
        process.dies().await;
        return Err(Broken::Dead);
    }
    answer
}

async fn serve(cloud: &Cloud, process: &Process, request: &Request, journey: Journey) -> Result<Response, Broken> {
    let log = |outcome: &str| cloud.engine().log(cloud.since_start(), process.name(), request, outcome);
    pass(journey.there).await;
    match journey.outcome {
        RequestOutcome::RequestLost => {
            log("request lost");
            return Err(Broken::Reset);
        }
        RequestOutcome::InternalError => {
            log("InternalServerError");
            pass(journey.back).await;
            let error = ApiError::new("InternalServerError", "Internal server error").at_status(500);
            return Ok(Response::new(request.service, &Err(error)));
        }
        _ => {}
    }
    let mut begun = Some(cloud.engine().begin(request, cloud.since_1970(), process.name()));
    pass(journey.within).await;
    let answer = cloud.until(|engine, now| engine.end(&mut begun, now, journey.back, process.name())).await;
    if request.service == Service::Sqs {
        cloud.notify();
    }
    let response = Response::new(request.service, &answer);
    let outcome = response.code.unwrap_or("ok");
    match journey.outcome {
        RequestOutcome::AnswerLost => {
            log(&format!("{outcome}, answer lost"));
            pass(journey.back).await;
            Err(Broken::Reset)
        }
        RequestOutcome::Hung => {
            log(&format!("{outcome}, connection hangs"));
            std::future::pending().await
        }
        _ => {
            log(outcome);
            pass(journey.back).await;
            Ok(response)
        }
    }
}

async fn pass(time: std::time::Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
