//! Clients that openapi-generator makes of the files. Those that make a call are in `tests/e2e/tools.rs`.

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// A folder for one test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("easyconnect-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{printed}", output.status);
}

/// Types and functions that Go files of one package declare twice. Methods belong to their type and may.
fn declared_twice(sources: &[String]) -> Vec<&str> {
    let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
    for line in sources.iter().flat_map(|source| source.lines()) {
        let declared = line.strip_prefix("func ").or_else(|| line.strip_prefix("type ")).unwrap_or_default();
        let end = declared.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(declared.len());
        let name = &declared[..end];
        if !name.is_empty() && !seen.insert(name) {
            twice.push(name);
        }
    }
    twice
}

fn go_files(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("the client").map(|file| file.expect("a file").path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "go"));
    files.map(|file| std::fs::read_to_string(file).expect("a source")).collect()
}

/// The compiler would say the same, and does where there is one.
#[test]
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn the_go_client_declares_everything_once() {
    let generator = paths::repository().join(".venv/bin/openapi-generator-cli");
    if !generator.is_file() {
        println!("skipped: openapi-generator is not installed; it needs Python 3.11 and `make test`");
        return;
    }
    let go = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    if !go {
        println!("skipped: there is no Go, so the client is generated and searched, but not compiled");
    }
    for file in ["api.json", "makers.json"] {
        let client = Folder::new();
        let mut generate = Command::new(&generator);
        generate.args(["generate", "--generator-name", "go", "--additional-properties", "packageName=easyconnect"]);
        generate.args(["--global-property", "apiTests=false,modelTests=false"]);
        run(generate.arg("--input-spec").arg(folder().join(file)).arg("--output").arg(&client.0));
        let sources = go_files(&client.0);
        assert!(sources.len() > 30, "only {} files of {file}", sources.len());
        assert_eq!(declared_twice(&sources), [""; 0], "{file}");
        if go {
            run(Command::new("go").args(["build", "./..."]).env("GOFLAGS", "-mod=mod").current_dir(&client.0));
        }
    }
}

#[test]
fn what_is_declared_twice_is_found() {
    let key =
        "type ApiKey struct {\n}\n\nfunc NewApiKey(id string) *ApiKey {\n}\n\nfunc (o *ApiKey) GetId() string {\n}\n";
    let made = "type NewApiKey struct {\n}\n\nfunc (o *NewApiKey) GetId() string {\n}\n";
    assert_eq!(declared_twice(&[key.to_owned(), made.to_owned()]), ["NewApiKey"]);
    assert_eq!(declared_twice(&[key.to_owned()]), [""; 0]);
}
