//! What Spectral says of the files, which is what many a platform asks first.

use std::process::Command;

use super::*;

const RULES: &str = "spectral.yaml";

/// `npm ci` of the folder `tests/node` brings the linter.
#[test]
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn spectral_finds_no_error_in_any_file() {
    let node = paths::repository().join("tests/node");
    let spectral = node.join("node_modules/@stoplight/spectral-cli/dist/index.js");
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node || !spectral.is_file() {
        println!("skipped: Spectral is not installed; it needs Node and `npm ci --prefix tests/node`");
        return;
    }
    let lint = |file: &Path| {
        let mut command = Command::new("node");
        command.arg(&spectral).args(["lint", "--fail-severity", "error", "--quiet", "--ruleset"]).arg(node.join(RULES));
        let output = command.arg(file).output().expect("node starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), printed)
    };
    for name in ["api.yaml", "api.json", "makers.json", "v2.json"] {
        let (clean, printed) = lint(&folder().join(name));
        assert!(clean, "{name}:\n{printed}");
    }
    // It does find what was wrong once: null as an example of an enum that does not have it.
    let wrong = std::env::temp_dir().join(format!("easyconnect-test-{}.json", uuid::Uuid::new_v4()));
    let [_, _, swagger] = derive().expect("the derived files");
    let mut swagger: Value = serde_json::from_str(&swagger.text).expect("JSON");
    swagger["definitions"]["CreateWebhookRequest"]["properties"]["direction"]["example"] = Value::Null;
    std::fs::write(&wrong, swagger.to_string()).expect("a file");
    let (clean, printed) = lint(&wrong);
    std::fs::remove_file(&wrong).expect("the file");
    assert!(!clean && printed.contains("oas2-valid-schema-example"), "{printed}");
}
