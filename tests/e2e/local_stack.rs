//! What a newcomer starts with: `up`, `call`, `down`.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use easyconnect_tests::api::http_client;
use easyconnect_tests::{Api, paths};
use serde_json::Value;

fn stack(folder: &Path, verb: &str) -> Output {
    Command::new(paths::python())
        .arg(paths::repository().join("infra/local/stack.py"))
        .args([verb, "--dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the stack's script runs")
}

#[track_caller]
fn must(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

/// Ends the stack also when the test fails.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        stack(self.0, "down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_call_down() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-up-{}", std::process::id()));
    let down = Down(&folder);
    must(&stack(&folder, "up"));
    let again = must(&stack(&folder, "up"));
    assert!(again.contains("Ready"), "{again}");
    let env = std::fs::read_to_string(folder.join("stack.env")).expect("stack.env");
    let vars: HashMap<&str, &str> = env
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();

    let shown = must(&stack(&folder, "call"));
    assert!(shown.contains("ringing") && shown.contains("disconnected"), "{shown}");
    let received: Value = http_client()
        .get(format!("{}/received", vars["WEBHOOK_INBOX"]))
        .send()
        .await
        .expect("the inbox")
        .json()
        .await
        .expect("JSON");
    let statuses: Vec<&str> =
        received.as_array().expect("a list").iter().filter_map(|request| request["body"]["status"].as_str()).collect();
    assert_eq!(statuses, ["ringing", "disconnected"]);
    assert_eq!(received[0]["body"]["monitoredExtension"], "42");

    let api = Api::new(vars["EASYCONNECT_URL"], vars["EASYCONNECT_APIKEY"]);
    assert_eq!(api.get("/status").await.ok().text("state"), "online");
    assert!(processes_of(&folder).len() >= 5, "{:?}", processes_of(&folder));
    assert_eq!(foreign_listeners(&folder), Vec::<String>::new(), "something listens outside of 127.0.0.1");

    must(&stack(&folder, "down"));
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new(), "something still runs");
    drop(down);
}

/// The README's walk-throughs, as printed.
#[test]
fn readme_works_as_printed() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-readme-{}", std::process::id()));
    let _down = Down(&folder);
    must(&stack(&folder, "up"));
    let readme = std::fs::read_to_string(paths::repository().join("README.md")).expect("the README");
    let (begin, end) = (readme.find("### A.").expect("walk-through A"), readme.find("## The API").expect("the API"));
    let scripts: Vec<&str> = readme[begin..end]
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect();
    assert_eq!(scripts.len(), 3, "walk-throughs A, B and C");
    let run = |script: &str| {
        let script = format!("set -eu -o pipefail\nset -a; . {}/stack.env; set +a\n{script}", folder.display());
        must(&Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().expect("bash runs"))
    };

    let missed = run(scripts[0]);
    assert!(missed.contains(r#""status": "ringing""#) && missed.contains(r#""status": "disconnected""#), "{missed}");
    let answered = run(scripts[1]);
    for line in
        ["ringing connected: False conversation: -1 s", "connected connected: True", "disconnected connected: True"]
    {
        assert!(answered.contains(line), "{answered}");
    }
    let joined = run(scripts[2]);
    for line in ["50 connected with +32472591687", "+32472591687 connected with 50"] {
        assert!(joined.contains(line), "{joined}");
    }
}

/// Listening sockets of this stack's processes that are not bound to 127.0.0.1, as /proc shows them.
fn foreign_listeners(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for pid in processes_of(folder) {
        let sockets = sockets_of(&pid);
        for table in ["tcp", "tcp6"] {
            let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let listens = fields.get(3) == Some(&"0A");
                let own = fields.get(9).is_some_and(|inode| sockets.iter().any(|socket| socket == inode));
                let local = fields.get(1).is_some_and(|address| address.starts_with("0100007F:"));
                if listens && own && !local {
                    found.push(format!("{pid}: {line}"));
                }
            }
        }
    }
    found
}

/// Processes that name the stack's folder in their command line or environment.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.parse::<u32>().is_ok());
    pids.filter(|pid| {
        ["cmdline", "environ"].iter().any(|file| {
            std::fs::read(format!("/proc/{pid}/{file}"))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&name))
        })
    })
    .collect()
}

fn sockets_of(pid: &str) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}
