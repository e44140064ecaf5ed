//! The agent as an administrator gets it: the packages in a folder that stands for a system, and what they ask of that system.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use easyconnect_tests::paths;
use goblin::elf::Elf;

/// Debian 11 has glibc 2.31, and so has Ubuntu 20.04.
const GLIBC: &str = "2.31";
const CONFIG: &str = "etc/easyconnect-agent/agent.toml";
const UNIT: &str = "usr/lib/systemd/system/easyconnect-agent.service";

/// Runs a program to its end, which has to be a good one, and returns what it wrote.
#[track_caller]
fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[expect(clippy::print_stderr, reason = "the test runner shows it")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// A folder that ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("easyconnect-test-{}", shared::ids::CommandId::random());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.write(path, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("an executable");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `make package` makes of the agent.
struct Packages {
    folder: Folder,
    deb: PathBuf,
    rpm: PathBuf,
    tarball: PathBuf,
}

impl Packages {
    fn make() -> Self {
        let folder = Folder::new();
        must(
            Command::new(paths::python())
                .arg(paths::repository().join("infra/package.py"))
                .args(["--agent-only", "--fast", "--arch", std::env::consts::ARCH, "--out"])
                .arg(&folder.0),
        );
        let made = |ending: &str| {
            let mut files = fs::read_dir(&folder.0).expect("a folder").map(|entry| entry.expect("an entry").path());
            files.find(|file| file.to_string_lossy().ends_with(ending)).unwrap_or_else(|| panic!("no {ending}"))
        };
        let (deb, rpm, tarball) = (made(".deb"), made(".rpm"), made(".tar.xz"));
        Self { folder, deb, rpm, tarball }
    }

    /// The next version, whose example of a configuration has another first line.
    fn next_version(&self) -> PathBuf {
        let unpacked = self.folder.join("unpacked");
        must(Command::new("dpkg-deb").arg("--raw-extract").args([&self.deb, &unpacked]));
        let edit = |file: &str, from: &str, to: &str| {
            let text = fs::read_to_string(unpacked.join(file)).expect("a file");
            let edited = text.replacen(from, to, 1);
            assert_ne!(edited, text, "{file}");
            fs::write(unpacked.join(file), edited).expect("the file is written");
        };
        edit("DEBIAN/control", "Version: ", "Version: 99.");
        edit(CONFIG, "# Configuration", "# New configuration");
        let deb = self.folder.join("next.deb");
        must(Command::new("dpkg-deb").args(["-Zgzip", "-z1", "--root-owner-group", "--build"]).args([&unpacked, &deb]));
        deb
    }

    fn field(&self, name: &str) -> String {
        must(Command::new("dpkg-deb").arg("--field").arg(&self.deb).arg(name)).trim().to_owned()
    }
}

/// A folder with dpkg's database in it, and programs that write down what systemd would be told.
struct System(Folder);

impl System {
    fn new(systemd: u32) -> Self {
        let folder = Folder::new();
        folder.write("var/lib/dpkg/status", "");
        folder.write("etc/group", "root:x:0:\n");
        let log = folder.write("told", "");
        let told = format!("echo \"${{0##*/}} $*\" >> {log:?}");
        folder.script(
            "fakes/systemctl",
            &format!("[ \"$1\" != --version ] || exec echo 'systemd {systemd} (x)'\n{told}"),
        );
        Self(folder)
    }

    fn path_variable(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        // dpkg wants what lies in the last two folders.
        format!("{}:{path}:/usr/sbin:/sbin", self.0.join("fakes").display())
    }

    fn dpkg(&self, arguments: &[&OsStr]) -> String {
        let root = format!("--root={}", self.0.0.display());
        must(
            Command::new("dpkg")
                .args([&root, "--log=/dev/null", "--force-script-chrootless", "--force-depends", "--force-confdef"])
                .arg("--force-confold")
                .args(arguments)
                .env("PATH", self.path_variable())
                .env("LC_ALL", "C"),
        )
    }

    /// Runs a maintainer script as on a system whose first process is systemd.
    fn run(&self, script: &str, arguments: &[&str]) {
        let text = self.0.read(&format!("var/lib/dpkg/info/easyconnect-agent.{script}"));
        let running = self.0.join("run/systemd/system");
        fs::create_dir_all(&running).expect("a folder");
        let text = text.replace("/run/systemd/system", &running.to_string_lossy());
        self.0.write("script", &text);
        must(
            Command::new("sh")
                .arg(self.0.join("script"))
                .args(arguments)
                .env("PATH", self.path_variable())
                .env("DPKG_ROOT", &self.0.0)
                .env("DPKG_MAINTSCRIPT_PACKAGE", "easyconnect-agent"),
        );
    }

    /// What systemd was told since the last look.
    fn told(&self) -> String {
        let told = self.0.read("told");
        self.0.write("told", "");
        told
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// Mode and group of a file, `640 agent` for example.
    fn rights(&self, path: &str) -> String {
        let file = fs::metadata(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let groups = self.0.read("etc/group");
        let group = groups.lines().find(|line| line.split(':').nth(2) == Some(&file.gid().to_string()));
        let group = group.and_then(|line| line.split(':').next()).unwrap_or("?");
        format!("{:o} {group}", file.mode() & 0o7777)
    }
}

#[test]
fn program_needs_no_newer_system_than_it_says() {
    let bytes = fs::read(paths::binary("easyconnect-agent")).expect("the program");
    let elf = Elf::parse(&bytes).expect("an ELF file");
    let known = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1"];
    let unknown: Vec<_> =
        elf.libraries.iter().filter(|library| !known.contains(library) && !library.starts_with("ld-linux")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");

    let number =
        |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().expect("a number")).collect() };
    let mut seen = 0;
    for library in elf.verneed.expect("versions of symbols").iter() {
        for version in library.iter() {
            let name = elf.dynstrtab.get_at(version.vna_name).expect("a name");
            let Some(version) = name.strip_prefix("GLIBC_") else {
                assert!(name.starts_with("GCC_"), "{name}");
                continue;
            };
            assert!(number(version) <= number(GLIBC), "{name} is newer than {GLIBC}");
            seen += 1;
        }
    }
    assert!(seen > 5, "symbols of the C library");
}

#[test]
fn unit_is_understood_and_hardened() {
    if !is_installed("systemd-analyze") {
        return skipped("systemd-analyze is not installed");
    }
    let folder = Folder::new();
    let program = paths::binary("easyconnect-agent");
    for name in ["easyconnect-agent.service", "easyconnect-agent@.service"] {
        let unit = packaged(name).replace("/usr/bin/easyconnect-agent", &program.to_string_lossy());
        let file = folder.write(&name.replace('@', "@branch"), &unit);
        must(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file));
        // Tenths of a point; a service that dials out cannot have less than 0.9.
        must(Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=12"]).arg(&file));
    }
}

fn packaged(name: &str) -> String {
    fs::read_to_string(paths::repository().join("agent/packaging").join(name)).expect("a packaged file")
}

/// Several agents on one machine have files of their own, and nothing else about them is another.
#[test]
fn instances_differ_in_their_files_alone() {
    let instance = packaged("easyconnect-agent@.service");
    let alone = packaged("easyconnect-agent.service");
    let expected = alone
        .replace("EasyConnect agent,", "EasyConnect agent %i,")
        .replace("/etc/easyconnect-agent/", "/etc/easyconnect-agent/%i/")
        .replace("StateDirectory=easyconnect-agent", "StateDirectory=easyconnect-agent/%i");
    assert_eq!(instance, expected);
}

/// One test, because making the packages takes longer than looking at them.
#[test]
fn packages_are_complete_and_treat_a_system_well() {
    let packages = Packages::make();
    tarball_holds_the_same_program_and_all_that_belongs_to_it(&packages);
    if !is_installed("dpkg") || !is_root() {
        return skipped("dpkg installs files of several owners, so this needs Debian and root");
    }
    package_is_installed_upgraded_removed_and_purged(&packages);
    service_waits_for_its_configuration_and_is_started_again_by_an_upgrade(&packages);
    if !is_installed("rpm") {
        return skipped("rpm is not installed");
    }
    rpm_holds_the_same(&packages);
}

fn package_is_installed_upgraded_removed_and_purged(packages: &Packages) {
    let depends = packages.field("Depends");
    assert!(depends.contains(&format!("libc6 (>= {GLIBC})")), "{depends}");

    let system = System::new(252);
    let install = OsStr::new("--install");
    system.dpkg(&[install, packages.deb.as_os_str()]);
    assert_eq!(system.rights("usr/bin/easyconnect-agent"), "755 root");
    assert_eq!(system.rights(UNIT), "644 root");
    assert_eq!(system.rights(CONFIG), "640 easyconnect-agent");
    assert_eq!(system.rights("etc/easyconnect-agent/pbx-password"), "600 root");
    assert_eq!(system.rights("etc/easyconnect-agent/aws-credentials"), "600 root");
    let example = system.0.read("usr/share/doc/easyconnect-agent/examples/agent.toml");
    assert_eq!(example, system.0.read(CONFIG), "a copy for who has changed the other one");
    let users = system.0.read("etc/passwd");
    assert!(users.contains("/var/lib/easyconnect-agent:/usr/sbin/nologin"), "{users}");
    let version = must(Command::new(system.0.join("usr/bin/easyconnect-agent")).arg("--version"));
    assert_eq!(packages.field("Version"), format!("{}-1", version.trim().replace("easyconnect-agent ", "")));

    // What nobody has changed is replaced, and stays readable for the agent.
    let next = packages.next_version();
    system.dpkg(&[install, next.as_os_str()]);
    assert!(system.0.read(CONFIG).starts_with("# New configuration"));
    assert_eq!(system.rights(CONFIG), "640 easyconnect-agent");

    // What the administrator has written stays.
    system.dpkg(&[OsStr::new("--purge"), OsStr::new("easyconnect-agent")]);
    system.dpkg(&[install, packages.deb.as_os_str()]);
    system.0.write(CONFIG, "# mine\n");
    system.0.write("etc/easyconnect-agent/pbx-password", "hush-hush\n");
    system.0.write("var/lib/easyconnect-agent/outbox", "events");
    system.dpkg(&[install, next.as_os_str()]);
    assert_eq!(system.0.read(CONFIG), "# mine\n");
    assert_eq!(system.rights(CONFIG), "640 easyconnect-agent");
    assert!(system.0.read(&format!("{CONFIG}.dpkg-dist")).starts_with("# New configuration"));
    assert_eq!(system.0.read("etc/easyconnect-agent/pbx-password"), "hush-hush\n");

    // A secret that lies there encrypted does not get an empty one beside it.
    system.0.write("etc/easyconnect-agent/aws-credentials.cred", "encrypted");
    fs::remove_file(system.0.join("etc/easyconnect-agent/aws-credentials")).expect("the plain file");
    system.dpkg(&[install, next.as_os_str()]);
    assert!(!system.has("etc/easyconnect-agent/aws-credentials"));
    // What the README puts there for IAM Roles Anywhere.
    system.0.write("etc/easyconnect-agent/agent.key", "key");
    system.0.write("etc/easyconnect-agent/agent.pem", "certificate");
    // An agent for another PBX.
    for file in ["agent.toml", "pbx-password", "aws-credentials"] {
        system.0.write(&format!("etc/easyconnect-agent/branch/{file}"), "of the branch");
    }

    system.dpkg(&[OsStr::new("--remove"), OsStr::new("easyconnect-agent")]);
    assert!(!system.has("usr/bin/easyconnect-agent") && !system.has(UNIT));
    assert!(system.has(CONFIG) && system.has("etc/easyconnect-agent/pbx-password"));
    assert!(system.has("var/lib/easyconnect-agent/outbox"), "events are not lost by a removal");

    system.dpkg(&[OsStr::new("--purge"), OsStr::new("easyconnect-agent")]);
    assert!(!system.has("etc/easyconnect-agent") && !system.has("var/lib/easyconnect-agent"));
    assert!(!system.has("usr/share/easyconnect-agent") && !system.has("usr/share/doc/easyconnect-agent"));
}

fn service_waits_for_its_configuration_and_is_started_again_by_an_upgrade(packages: &Packages) {
    let system = System::new(245);
    system.dpkg(&[OsStr::new("--install"), packages.deb.as_os_str()]);
    // This systemd hands no credentials over, so the agent has to read the secrets itself.
    assert_eq!(system.rights("etc/easyconnect-agent/pbx-password"), "640 easyconnect-agent");
    assert_eq!(system.rights("etc/easyconnect-agent/aws-credentials"), "640 easyconnect-agent");
    system.told();

    system.run("postinst", &["configure", ""]);
    assert_eq!(system.told(), "systemctl --system daemon-reload\n");
    let enabled = "etc/systemd/system/multi-user.target.wants/easyconnect-agent.service";
    assert!(
        fs::symlink_metadata(system.0.join(enabled)).is_err(),
        "a new installation does not start at the next boot"
    );

    system.run("postinst", &["configure", "0.0.1-1"]);
    let restarted = "systemctl --system daemon-reload\nsystemctl try-restart easyconnect-agent.service easyconnect-agent@*.service\n";
    let stopped = "systemctl stop easyconnect-agent.service easyconnect-agent@*.service\n";
    assert_eq!(system.told(), restarted);

    system.run("prerm", &["upgrade", "99"]);
    assert_eq!(system.told(), "", "an upgrade does not stop the agent before the new one is there");
    system.run("prerm", &["remove"]);
    assert_eq!(system.told(), stopped);

    // The same scripts, as RPM calls them: with the number of versions that are there.
    system.run("postinst", &["1"]);
    assert_eq!(system.told(), "systemctl --system daemon-reload\n");
    system.run("postinst", &["2"]);
    assert_eq!(system.told(), restarted);
    system.run("prerm", &["1"]);
    assert_eq!(system.told(), "");
    system.run("prerm", &["0"]);
    assert_eq!(system.told(), stopped);
    fs::create_dir_all(system.0.join("etc/systemd/system/multi-user.target.wants")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", system.0.join(enabled)).expect("a link");
    system.run("postrm", &["0"]);
    assert!(fs::symlink_metadata(system.0.join(enabled)).is_err(), "a unit that is gone is not started");
}

/// What RPM makes of it without the scripts, which run in a system of their own.
fn rpm_holds_the_same(packages: &Packages) {
    let query = |what: &str| must(Command::new("rpm").args(["--query", what, "--package"]).arg(&packages.rpm));
    let listed = must(Command::new("dpkg-deb").arg("--contents").arg(&packages.deb));
    let of_deb: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.strip_prefix('.'))
        .filter(|path| !path.ends_with('/'))
        .collect();
    let of_rpm = query("--list");
    let mut of_rpm: Vec<&str> = of_rpm.lines().collect();
    of_rpm.sort_unstable();
    assert_eq!(of_rpm, of_deb);
    assert_eq!(query("--configfiles").trim(), format!("/{CONFIG}"));
    let needed = query("--requires");
    assert!(needed.contains(&format!("glibc >= {GLIBC}")), "{needed}");
    let scripts = query("--scripts");
    let user = packaged("easyconnect-agent.sysusers");
    let user = user.lines().find(|line| line.starts_with("u ")).expect("a user");
    assert!(scripts.contains(user), "RPM needs the user before the file that says which one");
    assert!(scripts.contains("postinstall scriptlet") && scripts.contains("preuninstall scriptlet"), "{scripts}");

    let system = Folder::new();
    let root = format!("--root={}", system.0.display());
    must(Command::new("rpm").args([&root, "--nodeps", "--noscripts", "--install"]).arg(&packages.rpm));
    let program = fs::read(system.join("usr/bin/easyconnect-agent")).expect("the program");
    assert!(program == fs::read(paths::binary("easyconnect-agent")).expect("the program"));
}

fn tarball_holds_the_same_program_and_all_that_belongs_to_it(packages: &Packages) {
    must(
        Command::new("tar")
            .args(["--strip-components=1", "-xJf"])
            .arg(&packages.tarball)
            .arg("-C")
            .arg(&packages.folder.0),
    );
    let program = fs::read(packages.folder.join("easyconnect-agent")).expect("the program");
    assert!(program == fs::read(paths::binary("easyconnect-agent")).expect("the program"));
    for file in [
        "README.md",
        "agent.toml",
        "aws-credentials",
        "easyconnect-agent.service",
        "easyconnect-agent@.service",
        "easyconnect-agent.sysusers",
        "compose.yaml",
    ] {
        assert!(!packages.folder.read(file).is_empty());
    }
    assert!(packages.folder.join("LICENSE").is_file());
    // What the container is made of lies beside its file, so that it needs no network but for its base.
    let container = packages.folder.read("Containerfile");
    for line in container.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let mut words = line.split(' ').filter(|word| !word.starts_with("--")).collect::<Vec<_>>();
        words.pop();
        assert!(!words.is_empty() && words.iter().all(|file| packages.folder.join(file).exists()), "{line}");
    }
    assert!(!container.contains("\nRUN"), "a step that runs something may need a network");
}
