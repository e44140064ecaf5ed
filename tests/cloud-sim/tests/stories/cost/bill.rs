//! The bill of a month, from what a call and an idle hour ask for and AWS's list prices.

use cloud_sim::Counts;

use crate::cost::Measured;

/// When the prices were looked up. Those of us-east-1 are quoted by several public price guides of that time, but for that of recovery
/// and for how far stored logs are compressed; these and those of eu-central-1 are from memory and were not checked.
pub(crate) const AS_OF: &str = "June 2026";
const SECONDS_A_MONTH: f64 = 30.0 * 24.0 * 3600.0;
const GIGABYTE: f64 = 1024.0 * 1024.0 * 1024.0;
/// What CloudWatch keeps of a log is compressed.
const COMPRESSED: f64 = 0.15;

/// In US dollars, without free tiers: us-east-1, eu-central-1.
const PRICES: [(&str, [f64; 2]); 12] = [
    ("DynamoDB writes, per million units", [0.625, 0.7625]),
    ("DynamoDB reads, per million units", [0.125, 0.1525]),
    ("DynamoDB storage, per GB and month", [0.25, 0.306]),
    ("DynamoDB point-in-time recovery, per GB and month", [0.20, 0.2448]),
    ("SQS FIFO, per million requests", [0.50, 0.50]),
    ("SQS standard, per million requests", [0.40, 0.40]),
    ("Lambda, per million requests", [0.20, 0.20]),
    ("Lambda on arm64, per million GB-seconds", [13.3334, 13.3334]),
    ("CloudWatch Logs ingestion, per GB", [0.50, 0.63]),
    ("CloudWatch Logs storage, per GB and month", [0.03, 0.0324]),
    ("CloudWatch figures, each per month", [0.30, 0.30]),
    ("CloudWatch alarms, each per month", [0.10, 0.10]),
];

/// What a day, or a call, asks for, in the order of the prices.
type Amounts = [f64; 12];

/// A line of the bill: what for, and how many dollars in each region.
pub(crate) type Line = (&'static str, [f64; 2]);

pub(crate) fn of_a_month(measured: &Measured, calls_a_day: f64) -> Vec<Line> {
    let idle = scaled(&amounts(&measured.idle), SECONDS_A_MONTH / super::WINDOW.as_secs_f64());
    let calls = scaled(&difference(&measured.with_a_call, &measured.idle), calls_a_day * 30.0);
    // However many calls there are, that the webhooks accept is noted so often at most.
    let notes_a_day = calls_a_day.min(24.0 * 3600.0 / super::NOTED_FOR.as_secs_f64());
    let notes = scaled(&difference(&measured.with_a_lonely_call, &measured.with_a_call), notes_a_day * 30.0);
    let mut total: Amounts = std::array::from_fn(|n| idle[n] + calls[n] + notes[n]);
    // What lies there on average: what comes in a second, for as long as it stays.
    let stay = |table: &str| {
        let left: f64 = measured.left.iter().filter(|(name, _)| *name == table).map(|(_, left)| left).sum();
        left * calls_a_day / (24.0 * 3600.0) / GIGABYTE
    };
    (total[2], total[3]) = (stay("state") + stay("exchange"), stay("state"));
    total[9] = total[8] * COMPRESSED;
    // A figure costs for the hours in which it comes.
    total[10] = if calls_a_day > 0.0 { measured.figures as f64 } else { 0.0 };
    total[11] = measured.alarms as f64;
    let lines = PRICES.iter().zip(total);
    lines.map(|((what, prices), amount)| (*what, prices.map(|price| price * amount))).collect()
}

fn scaled(amounts: &Amounts, by: f64) -> Amounts {
    amounts.map(|amount| amount * by)
}

fn difference(with: &Counts, without: &Counts) -> Amounts {
    let (with, without) = (amounts(with), amounts(without));
    std::array::from_fn(|n| with[n] - without[n])
}

fn amounts(counts: &Counts) -> Amounts {
    let billed = |fifo: bool| -> f64 {
        let queues = counts.queues.iter().filter(|((queue, _), _)| queue.ends_with(".fifo") == fifo);
        queues.map(|(_, count)| count.billed as f64).sum::<f64>() / 1e6
    };
    let functions = || counts.functions.values();
    let mut amounts: Amounts = [0.0; 12];
    amounts[0] = counts.write_units() / 1e6;
    amounts[1] = counts.read_units() / 1e6;
    (amounts[4], amounts[5]) = (billed(true), billed(false));
    amounts[6] = counts.invocations() as f64 / 1e6;
    amounts[7] = functions().map(|count| count.gigabyte_seconds).sum::<f64>() / 1e6;
    amounts[8] = functions().map(|count| count.log_bytes as f64).sum::<f64>() / GIGABYTE;
    amounts
}
