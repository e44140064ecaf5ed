//! Arbitrary frames for ten minutes, or as many seconds as `EASYCONNECT_FUZZ_SECONDS` says.

use easyconnect_tests::fuzz;

use crate::seconds;

#[test]
fn arbitrary_frames_do_no_harm_and_no_growth() {
    fuzz::run(seconds("EASYCONNECT_FUZZ_SECONDS", 600));
}
