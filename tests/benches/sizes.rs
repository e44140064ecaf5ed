//! How large the programs are.

use std::fs::metadata;

use easyconnect_tests::paths;

use crate::report::{Report, mebibytes};

pub(crate) fn measure(report: &mut Report) {
    for (name, goal) in
        [("fanout", 8_000_000), ("deliver", 8_000_000), ("api", 8_000_000), ("easyconnect-agent", 12_000_000)]
    {
        let size = metadata(paths::binary(name)).map_or(0, |metadata| metadata.len());
        let floor = metadata(paths::binary("hello")).map_or(0, |metadata| metadata.len());
        let goal_text = format!("<= {}", mebibytes(goal));
        report.line(&format!("size of {name}"), &mebibytes(size), &mebibytes(floor), &goal_text, size <= goal);
    }
    report.note("floor of a size: a hello function with the same SDK clients");
}
