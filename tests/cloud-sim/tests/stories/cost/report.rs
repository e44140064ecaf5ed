//! The report: what a call asks for and who asks it, beside the goals of the design, and the bill.

use std::collections::{BTreeMap, BTreeSet};

use cloud_sim::{Counts, FunctionCount};

use crate::cost::{Measured, bill, causes};

const CALLS_A_DAY: [f64; 3] = [0.0, 1_000.0, 100_000.0];

/// Prints it, and returns the read and write units of a call.
pub(crate) fn print(measured: &Measured) -> [f64; 2] {
    let Measured { with_a_call, idle, .. } = measured;
    println!("A call of 3 events and 2 webhooks, one event in each batch, one agent; and an hour without calls.");
    println!();
    println!(
        "{:<18} {:<20} {:<34} {:>8} {:>8} {:>8}",
        "who", "asks a table", "for keys", "requests", "reads", "writes"
    );
    let tables = compared(&tables(with_a_call), &tables(idle));
    for ((who, operation, keys), [requests, reads, writes]) in &tables {
        println!("{who:<18} {operation:<20} {keys:<34} {requests:>8.1} {reads:>8.1} {writes:>8.1}");
    }
    println!();
    println!("{:<18} {:<30} {:<24} {:>8} {:>8}", "who", "asks a queue", "which", "requests", "billed");
    for ((who, operation, queue), [requests, billed, _]) in &compared(&queues(with_a_call), &queues(idle)) {
        println!("{who:<18} {operation:<30} {queue:<24} {requests:>8.1} {billed:>8.1}");
    }
    println!();
    println!("{:<18} {:>12} {:>10} {:>10} {:>10}", "function", "invocations", "GB-seconds", "log lines", "log bytes");
    for (name, function) in &with_a_call.functions {
        let before = idle.functions.get(name).copied().unwrap_or_default();
        println!("{name:<18} {}", function_line(&difference(*function, before)));
    }
    println!("GB-seconds are of waiting alone: the simulator's clock stands still while a function computes.");
    let units = |n: usize| tables.values().map(|count| count[n]).sum::<f64>();
    println!();
    goal("write units of a call", units(2), 17.0, "");
    goal("read units of a call", units(1), 14.0, "");
    let lonely = measured.with_a_lonely_call.write_units() - with_a_call.write_units();
    println!("and {lonely:.0} write units when the call before it is more than five minutes ago");
    print_command("a makecall", &measured.with_a_command, idle);
    print_command("a read", &measured.with_a_read, idle);
    print_idle(idle);
    print_bill(measured);
    [units(1), units(2)]
}

/// What the API and the agent ask for a command, without the events of its call.
fn print_command(what: &str, with: &Counts, idle: &Counts) {
    let mut rows = compared(&tables(with), &tables(idle));
    let asked = compared(&queues(with), &queues(idle));
    // A queue bills requests; they stand in the place of units.
    rows.extend(asked.into_iter().map(|(key, [requests, billed, _])| (key, [requests, billed, 0.0])));
    let is_for_it = |(who, _, about): &(String, String, String)| {
        ["api", "agent"].contains(&who.as_str()) && !about.contains("LEG#") && !about.ends_with(".fifo")
    };
    rows.retain(|key, _| is_for_it(key));
    let total = |n: usize| rows.values().map(|count| count[n]).sum::<f64>();
    println!();
    println!("{what}: {:.0} requests of the API and the agent together", total(0));
    for ((who, operation, about), [requests, units, writes]) in &rows {
        let cause = causes::of(who, operation, about);
        let units = units + writes;
        println!("  {who:<6} {operation:<16} {about:<24} {requests:>8.1} {units:>8.1}  {cause}");
    }
}

/// What nobody asks for but the stack itself.
fn print_idle(idle: &Counts) {
    let hours = super::WINDOW.as_secs_f64() / 3600.0;
    println!();
    println!(
        "an hour without calls: {:.0} write units, {:.0} read units, {:.0} requests to queues, {:.0} invocations",
        idle.write_units() / hours,
        idle.read_units() / hours,
        idle.queue_requests() as f64 / hours,
        idle.invocations() as f64 / hours,
    );
    for ((who, operation, keys), [requests, reads, writes]) in &tables(idle) {
        let of = |count: f64| count / hours;
        println!(
            "  {who:<18} {operation:<16} {keys:<24} {:>8.0} {:>8.0} {:>8.0}  {}",
            of(*requests),
            of(*reads),
            of(*writes),
            causes::of(who, operation, keys),
        );
    }
    for ((who, operation, queue), [requests, billed, _]) in &queues(idle) {
        let (requests, billed, cause) = (requests / hours, billed / hours, causes::of(who, operation, queue));
        println!("  {who:<18} {operation:<16} {queue:<24} {requests:>8.0} {billed:>8.0} {:>8}  {cause}", "");
    }
}

fn print_bill(measured: &Measured) {
    println!();
    println!("US dollars a month, list prices of {} without free tiers: us-east-1 / eu-central-1", bill::AS_OF);
    let bills = CALLS_A_DAY.map(|calls| bill::of_a_month(measured, calls));
    let heads = CALLS_A_DAY.map(|calls| format!("{calls:.0} calls a day"));
    println!("{:<50} {:>20} {:>20} {:>20}", "", heads[0], heads[1], heads[2]);
    for (n, (what, _)) in bills[0].iter().enumerate() {
        let cells = bills.each_ref().map(|bill| cell(bill[n].1));
        println!("{what:<50} {:>20} {:>20} {:>20}", cells[0], cells[1], cells[2]);
    }
    let totals = bills.each_ref().map(|bill| {
        bill.iter().fold([0.0, 0.0], |sum: [f64; 2], (_, dollars)| [sum[0] + dollars[0], sum[1] + dollars[1]])
    });
    let cells = totals.map(cell);
    println!("{:<50} {:>20} {:>20} {:>20}", "total", cells[0], cells[1], cells[2]);
    println!("Without: what is sent to receivers and to the agent (the first 100 GB a month are free).");
    println!();
    goal("dollars a month at 1,000 calls a day", totals[1][0], 4.0, "$");
    goal("dollars a month at 100,000 calls a day", totals[2][0], 80.0, "$");
}

fn cell(dollars: [f64; 2]) -> String {
    format!("{:.2} / {:.2}", dollars[0], dollars[1])
}

fn goal(what: &str, measured: f64, goal: f64, unit: &str) {
    let mark = if measured <= goal { "met" } else { "missed" };
    println!("{what:<46} {unit}{measured:.1}   goal <= {unit}{goal}: {mark}");
}

type Rows = BTreeMap<(String, String, String), [f64; 3]>;

fn tables(counts: &Counts) -> Rows {
    let mut rows = Rows::new();
    for (cause, count) in &counts.table_causes {
        let keys = format!("{} in {}", cause.keys, cause.table);
        let row = rows.entry((who(&cause.process), cause.operation.clone(), keys)).or_default();
        add(row, [count.requests as f64, count.read_units, count.write_units]);
    }
    rows
}

fn queues(counts: &Counts) -> Rows {
    let mut rows = Rows::new();
    for (cause, count) in &counts.queue_causes {
        let row = rows.entry((who(&cause.process), cause.operation.clone(), cause.queue.clone())).or_default();
        add(row, [count.requests as f64, count.billed as f64, count.bytes as f64]);
    }
    rows
}

fn add(row: &mut [f64; 3], more: [f64; 3]) {
    row.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Environments of a function, and lives of an agent, are told apart by a number.
fn who(process: &str) -> String {
    let (name, number) = process.rsplit_once('-').unwrap_or((process, ""));
    if number.parse::<u32>().is_ok() { name.to_owned() } else { process.to_owned() }
}

/// What there is more of, or less. What the clock asks for may fall into one window once more often than into another.
fn compared(with: &Rows, without: &Rows) -> Rows {
    let keys: BTreeSet<_> = with.keys().chain(without.keys()).collect();
    let of = |rows: &Rows, key: &_| rows.get(key).copied().unwrap_or_default();
    let mut differences = Rows::new();
    for key in keys {
        let (with, without) = (of(with, key), of(without, key));
        let more: [f64; 3] = std::array::from_fn(|n| with[n] - without[n]);
        let is_clock = without[0] > 20.0 && more[0].abs() < 1.5;
        if more.iter().any(|count| count.abs() > 0.05) && !is_clock {
            differences.insert(key.clone(), more);
        }
    }
    differences
}

fn difference(with: FunctionCount, without: FunctionCount) -> FunctionCount {
    FunctionCount {
        invocations: with.invocations - without.invocations,
        gigabyte_seconds: with.gigabyte_seconds - without.gigabyte_seconds,
        log_lines: with.log_lines - without.log_lines,
        log_bytes: with.log_bytes - without.log_bytes,
        ..with
    }
}

fn function_line(count: &FunctionCount) -> String {
    let FunctionCount { invocations, gigabyte_seconds, log_lines, log_bytes, .. } = count;
    format!("{invocations:>12} {gigabyte_seconds:>10.3} {log_lines:>10} {log_bytes:>10}")
}
