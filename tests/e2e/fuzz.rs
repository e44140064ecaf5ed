//! The short form of what `make soak` does for minutes.

use std::time::Duration;

use easyconnect_tests::fuzz;

#[test]
fn arbitrary_frames_do_no_harm() {
    fuzz::run(Duration::from_secs(5));
}
