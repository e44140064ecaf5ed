//! Where in the code a request comes from, for those that commands and the passing of time cause.

/// Who asks, which operation, about what; and the place.
const CAUSES: &[(&str, &str, &str, &str)] = &[
    (
        "api",
        "UpdateItem",
        "COUNT#",
        "limits.rs: Requests::admit, once a minute and environment; Calls::take, the stack's hour",
    ),
    ("api", "UpdateItem", "PAIR#", "limits.rs: Calls::take_pair"),
    ("api", "Query", "AGENT ", "commands.rs: carry_out, who can act"),
    ("api", "Query", "DIRECTORY#", "directory.rs: look_up, who acts"),
    ("api", "PutItem", "COMMAND#", "commands.rs: put_command"),
    ("api", "PutItem", "AUDIT#", "dialling.rs: record, who calls whom"),
    ("api", "SendMessage", "CommandsQueue", "doorbells.rs: ring"),
    ("api", "GetItem", "COMMAND#", "commands.rs: follow, a look after 8 ms, and so on up to every 100 ms"),
    ("agent", "UpdateItem", "COMMAND#", "receiver.rs: handle_doorbell, the claim; results.rs: finish"),
    ("agent", "DeleteMessage", "CommandsQueue", "receiver.rs: handle_doorbell, beside the claim"),
    ("agent", "ReceiveMessage", "CommandsQueue", "receiver.rs: run, RECEIVERS long polls of 20 s"),
    ("agent", "PutItem", "AGENT ", "heartbeat.rs: beat, every 10 s"),
    ("agent", "Query", "PBX ", "heartbeat.rs: beat, the PBX's slot, every 10 s"),
    ("agent", "Query", "AGENT ", "recovery.rs: look, every 10 s"),
    ("deliver", "", "", "the tick, every minute"),
    ("mapping of fanout", "ReceiveMessage", "", "template.yaml: long polls of the mapping"),
    ("mapping of deliver", "ReceiveMessage", "", "template.yaml: long polls of the mapping"),
];

/// A new request shows as one without a cause.
pub(crate) fn of(who: &str, operation: &str, about: &str) -> &'static str {
    let is_it = |(asker, of, begins, _): &&(&str, &str, &str, &str)| {
        *asker == who && (of.is_empty() || *of == operation) && about.starts_with(begins)
    };
    CAUSES.iter().find(is_it).map_or("?", |(.., place)| place)
}
