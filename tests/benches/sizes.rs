//! How large the programs are.

use std::{fs, io};

use easyconnect_tests::paths;
use flate2::bufread::GzDecoder;

use crate::report::{Report, mebibytes};

const FUNCTION: u64 = 8_000_000;
const AGENT: u64 = 12_000_000;

pub(crate) fn measure(report: &mut Report) {
    let floor = fs::metadata(paths::binary("hello")).map_or(0, |metadata| metadata.len());
    for (name, goal) in [("fanout", FUNCTION), ("deliver", FUNCTION), ("api", FUNCTION), ("easyconnect-agent", AGENT)] {
        let program = fs::read(paths::binary(name)).expect("the program is read");
        let size = program.len() as u64;
        // Swagger UI and the descriptions are files, not code; only `api` has some.
        let files = packed_files(&program);
        let goal_text = match files {
            0 => format!("<= {}", mebibytes(goal)),
            files => format!("<= {} + {} of packed files", mebibytes(goal), mebibytes(files)),
        };
        let met = size <= goal + files;
        report.line(&format!("size of {name}"), &mebibytes(size), &mebibytes(floor), &goal_text, met);
    }
    report.note("floor of a size: a hello function with the same SDK clients");
}

/// The bytes of all gzip files inside a program. What only looks like the beginning of one does not unpack.
fn packed_files(program: &[u8]) -> u64 {
    const BEGINNING: [u8; 4] = [0x1f, 0x8b, 8, 0];
    let (mut rest, mut packed) = (program, 0);
    while let Some(at) = rest.windows(BEGINNING.len()).position(|bytes| bytes == BEGINNING) {
        rest = &rest[at..];
        let mut file = GzDecoder::new(rest);
        let after = match io::copy(&mut file, &mut io::sink()) {
            Ok(_) => file.into_inner(),
            Err(_) => {
                rest = &rest[1..];
                continue;
            }
        };
        packed += (rest.len() - after.len()) as u64;
        rest = after;
    }
    packed
}
