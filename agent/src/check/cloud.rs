//! What AWS is asked: region, credentials, clock, and the rights on the queues and the table.

use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use shared::aws;
use shared::clock::CloudClock;
use shared::tables::Exchange;
use tokio::time::timeout;
use url::Url;

use super::probe::{self, Fault, ProbeError};
use super::report::{CheckReport, OpenHop};
use super::steps::CLOCK_FIX;
use super::{route, slot};
use crate::config::Config;
use crate::host::credentials::{self, AwsSetupError};
use crate::host::sdk;

pub(super) const HOPS: [&str; 11] = [
    "aws-region",
    "aws-dns",
    "aws-tcp",
    "aws-proxy",
    "aws-tls",
    "aws-credentials",
    "clock",
    "sqs-events",
    "sqs-commands",
    "exchange-table",
    "pbx-slot",
];

const WITHIN: Duration = Duration::from_secs(15);
/// AWS refuses requests that are five minutes off.
const OFF_BY_AT_MOST: SignedDuration = SignedDuration::from_mins(4);
const OFF_NOTABLY: SignedDuration = SignedDuration::from_secs(5);

type Probed = Result<(), ProbeError>;

pub(super) async fn check(config: &Config, report: &mut CheckReport) {
    go(config, report).await;
    report.skip_rest(&HOPS);
}

/// Ends where nothing behind a broken hop can be tried.
async fn go(config: &Config, report: &mut CheckReport) {
    let hop = report.begin("aws-region");
    let location = match config.aws.location() {
        Ok(location) => location,
        Err(error) => {
            return report.broken(hop, error.to_string(), "change the setting that the text names");
        }
    };
    let sdk = sdk::without_retries(&sdk::config(location).await);
    if !judge_region(&sdk, config, report, hop) || !route::check(config, &sdk, report).await {
        return;
    }
    let hop = report.begin("aws-credentials");
    let credentials_fix = credentials::credentials_fix(&config.aws);
    let expiry = match credentials::credentials(&sdk, &config.aws).await {
        Ok(Ok(expiry)) => expiry,
        Ok(Err(error)) => return report.broken(hop, credentials::explain(&error), credentials_fix),
        Err(AwsSetupError::Unreadable { cause, fix }) => return report.broken(hop, cause, fix),
        Err(_) => return report.broken(hop, "there are none", credentials_fix),
    };

    // Whether AWS knows the credentials, and what time it is there, only its answers tell.
    let clock = CloudClock::new();
    let sqs = aws::sqs(&sdk, &clock);
    let (events, commands) = (&config.aws.events_queue_url, config.aws.commands_queues());
    let (dynamodb, table) = (aws::dynamodb(&sdk, &clock), &config.aws.exchange_table);
    let hops = [report.begin("sqs-events"), report.begin("sqs-commands"), report.begin("exchange-table")];
    let is_fifo = |url: &str| url.ends_with(".fifo");
    let probes = tokio::join!(
        async { if is_fifo(events) { Some(timed(probe::send(&sqs, events)).await) } else { None } },
        async {
            if commands.iter().any(|url| is_fifo(url)) { None } else { Some(timed(receive(&sqs, commands)).await) }
        },
        timed(probe::table(&dynamodb, table)),
    );

    let ahead = clock.machine_is_ahead_by();
    let is_off = ahead.is_some_and(|ahead| ahead.abs() > OFF_BY_AT_MOST);
    let faults = [probes.0.as_ref(), probes.1.as_ref(), Some(&probes.2)];
    let fault_of = |wanted: Fault| {
        faults.iter().flatten().find_map(|probed| match probed {
            Some(Err(error)) if error.fault == wanted => Some(error),
            _ => None,
        })
    };
    let clock_hop = report.begin("clock");
    match fault_of(Fault::Credentials) {
        // A signature with a wrong time is a wrong signature.
        Some(_) if is_off => {
            judge_clock(ahead, report, clock_hop);
            report.skip(hop.name());
        }
        Some(error) => {
            report.broken(hop, error.to_string(), credentials_fix);
            judge_clock(ahead, report, clock_hop);
        }
        None => {
            judge_expiry(expiry, report, hop);
            if let Some(error) = fault_of(Fault::Clock) {
                report.broken(clock_hop, error.to_string(), CLOCK_FIX);
            } else {
                judge_clock(ahead, report, clock_hop);
            }
        }
    }

    let commands_key = format!("`{}`", config.aws.commands_queues_key());
    let [events_hop, commands_hop, table_hop] = hops;
    match probes.0 {
        Some(probed) => judge(probed, "`aws.events_queue_url`", "may send", report, events_hop),
        None => report.broken(
            events_hop,
            "`aws.events_queue_url` does not name a FIFO queue",
            "set it to the stack's output EventsQueueUrl, which ends in .fifo",
        ),
    }
    match probes.1 {
        Some(probed) => judge(probed, &commands_key, "may receive and delete", report, commands_hop),
        None => report.broken(
            commands_hop,
            format!("{commands_key} names a FIFO queue"),
            "set `aws.commands_queue_urls` to the stack's output CommandsQueueUrls",
        ),
    }
    let reaches_table = matches!(probes.2, Some(Ok(())));
    judge(probes.2, "`aws.exchange_table`", "may read, write and delete", report, table_hop);
    if reaches_table {
        let hop = report.begin("pbx-slot");
        slot::check(config, &Exchange::new(dynamodb, table.clone()), report, hop).await;
    }
}

/// The queues are alike, so the first refusal is told.
async fn receive(sqs: &aws_sdk_sqs::Client, urls: &[String]) -> Probed {
    try_join_all(urls.iter().map(|url| probe::receive(sqs, url))).await.map(drop)
}

/// `None`: no answer in time.
async fn timed(probe: impl Future<Output = Probed>) -> Option<Probed> {
    timeout(WITHIN, probe).await.ok()
}

/// Whether requests would go to where the queues are.
fn judge_region(sdk: &SdkConfig, config: &Config, report: &mut CheckReport, hop: OpenHop) -> bool {
    let region = match credentials::region(sdk) {
        Ok(region) => region,
        Err(lacking) => {
            report.broken(hop, "there is none", lacking.to_string());
            return false;
        }
    };
    let commands = config.aws.commands_queues().iter().map(|url| (config.aws.commands_queues_key(), url));
    for (key, url) in commands.chain([("aws.events_queue_url", &config.aws.events_queue_url)]) {
        if let Some(theirs) = region_of(url).filter(|theirs| theirs != region) {
            report.broken(
                hop,
                format!("{region}, but the queue of `{key}` is in {theirs}"),
                format!("set `aws.region` to {theirs}"),
            );
            return false;
        }
    }
    report.good(hop, region.to_owned());
    true
}

/// The region in the URL of a queue at AWS itself.
fn region_of(queue_url: &str) -> Option<String> {
    let url = Url::parse(queue_url).ok()?;
    let mut labels =
        url.host_str()?.strip_suffix(".cn").unwrap_or(url.host_str()?).strip_suffix(".amazonaws.com")?.split('.');
    match (labels.next()?, labels.next()?) {
        ("sqs" | "sqs-fips", region) => Some(region.to_owned()),
        (region, "queue") => Some(region.to_owned()),
        _ => None,
    }
}

fn judge_expiry(expiry: Option<Timestamp>, report: &mut CheckReport, hop: OpenHop) {
    match expiry {
        Some(expiry) => {
            report.good(hop, format!("valid until {}, then fetched anew", expiry.strftime("%Y-%m-%d %H:%M UTC")));
        }
        None => report.good(hop, "found; they do not expire"),
    }
}

fn judge_clock(ahead: Option<SignedDuration>, report: &mut CheckReport, hop: OpenHop) {
    let Some(ahead) = ahead else {
        return report.warning(hop, "AWS has not answered, so its time is not known", "mend the hops to AWS first");
    };
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let detail = format!("{} s {way} AWS", ahead.abs().as_secs());
    match ahead.abs() {
        off if off > OFF_BY_AT_MOST => {
            report.broken(hop, format!("{detail}; it refuses requests that are 5 min off"), CLOCK_FIX);
        }
        off if off > OFF_NOTABLY => report.warning(hop, detail, CLOCK_FIX),
        _ => report.good(hop, "agrees with AWS"),
    }
}

fn judge(probed: Option<Probed>, setting: &str, rights: &str, report: &mut CheckReport, hop: OpenHop) {
    let error = match probed {
        Some(Ok(())) => return report.good(hop, rights),
        Some(Err(error)) if matches!(error.fault, Fault::Credentials | Fault::Clock) => return report.skip(hop.name()),
        Some(Err(error)) => error,
        None => {
            let detail = format!("no answer within {} s", WITHIN.as_secs());
            return report.broken(hop, detail, fix_of(Fault::Unreachable, setting, ""));
        }
    };
    let fix = fix_of(error.fault, setting, error.action);
    report.broken(hop, error.to_string(), fix);
}

fn fix_of(fault: Fault, setting: &str, action: &str) -> String {
    match fault {
        // The hops of the way there were good, and what is about the account has hops of its own.
        Fault::Unreachable | Fault::Credentials | Fault::Clock => {
            "a proxy or firewall on the way keeps requests or answers back: let it pass them on".to_owned()
        }
        Fault::Missing => format!("set {setting} to the output of the stack, and `aws.region` to the stack's region"),
        Fault::Denied => format!(
            "attach the stack's policy (output AgentPolicyArn) to the agent's user or role, which grants {action}; and set {setting} \
             to the output of that stack"
        ),
        Fault::Other => format!("compare {setting} with the output of the stack"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_of_a_queue() {
        let check = |url: &str, expected: Option<&str>| assert_eq!(region_of(url).as_deref(), expected, "{url}");
        check("https://sqs.eu-west-1.amazonaws.com/1/events.fifo", Some("eu-west-1"));
        check("https://sqs.cn-north-1.amazonaws.com.cn/1/events.fifo", Some("cn-north-1"));
        check("https://eu-west-1.queue.amazonaws.com/1/commands", Some("eu-west-1"));
        check("http://127.0.0.1:4566/1/events.fifo", None);
        check("https://sqs.example.com/1/commands", None);
        check("events.fifo", None);
    }
}
