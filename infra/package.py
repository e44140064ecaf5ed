"""Makes dist/: one zip per function, and the agent as a Debian package, as an RPM and as a tarball, for each processor that can be built for.

`make package` has built for this machine's own processor before it calls this. For others the agent is built here, with zig as its linker,
where Rust's standard library for them is installed; the functions are for Lambda alone and are made for one.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "infra" / "local"))

from artifacts import find_binary, function_zip  # noqa: E402
from steps import StepFailed, explain  # noqa: E402

AGENT = REPOSITORY / "agent"
FUNCTIONS = ("api", "fanout", "deliver")
BINARIES = REPOSITORY / "target" / "lambda"
TOOLS = REPOSITORY / ".venv" / "bin"
# Of Debian 11, the oldest system that the agent is made for.
GLIBC = "2.31"


@dataclass(frozen=True)
class Processor:
    """A processor by its names: Rust's for the target, nfpm's for a package."""

    rust: str
    nfpm: str


PROCESSORS = {
    "x86_64": Processor("x86_64-unknown-linux-gnu", "amd64"),
    "aarch64": Processor("aarch64-unknown-linux-gnu", "arm64"),
    "armv7l": Processor("armv7-unknown-linux-gnueabihf", "arm7"),
}


def version() -> str:
    """The one version of the workspace."""
    lines = (REPOSITORY / "Cargo.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def has_standard_library(processor: Processor) -> bool:
    """Whether Rust can build for it; the rest of a cross build is zig's."""
    command = ["rustc", "--print", "target-libdir", "--target", processor.rust]
    folder = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY).stdout.strip()
    return Path(folder).is_dir()


def cross_built_agent(processor: Processor) -> Path:
    """The agent's program for another processor than this machine's."""
    target = f"{processor.rust}.{GLIBC}"
    environment = os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    command = ["cargo", "zigbuild", "--release", "--locked", "--package", "easyconnect-agent", "--target", target]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=environment)
    return REPOSITORY / "target" / processor.rust / "release" / "easyconnect-agent"


def tarball(name: str, program: Path, preset: int) -> bytes:
    """The program and what is packaged with it. Times and owners are fixed, so equal content gives an equal file."""
    files = [(program, "easyconnect-agent", 0o755), (AGENT / "README.md", "README.md", 0o644)]
    packaging = sorted(path for path in (AGENT / "packaging").iterdir() if path.suffix != ".sh" and path.name != "nfpm.yaml")
    files += [(path, path.name, 0o644) for path in packaging]
    files += [(path, path.name, 0o644) for path in sorted(REPOSITORY.glob("LICENSE*"))]
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:xz", preset=preset) as archive:
        # What the container begins with: a folder that belongs to the agent's user.
        empty = tarfile.TarInfo(f"{name}/state")
        empty.type, empty.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(empty)
        for path, member, mode in files:
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return package.getvalue()


def system_package(kind: str, program: Path, processor: Processor, folder: Path) -> Path:
    """The Debian package or the RPM, as agent/packaging/nfpm.yaml describes them."""
    environment = os.environ | {"VERSION": version(), "NFPM_ARCH": processor.nfpm, "PROGRAM": str(program), "SOURCE_DATE_EPOCH": "0"}
    command = [TOOLS / "nfpm", "package", "--config", "packaging/nfpm.yaml", "--packager", kind, "--target", f"{folder}/"]
    made = subprocess.run(command, check=False, cwd=AGENT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode != 0:
        raise StepFailed(f"nfpm cannot make the {kind}: {made.stdout.strip()}")
    return Path(made.stdout.split("created package:")[1].strip())


def agent_packages(arch: str, program: Path, folder: Path, fast: bool) -> list[Path]:
    """The agent for one processor, in three forms."""
    name = f"easyconnect-agent-{version()}-{arch}"
    file = folder / f"{name}.tar.xz"
    file.write_bytes(tarball(name, program, preset=0 if fast else 6))
    return [file, *(system_package(kind, program, PROCESSORS[arch], folder) for kind in ("deb", "rpm"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", required=True, help="processor of this machine, which everything is built for")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist")
    parser.add_argument("--agent-only", action="store_true", help="leave out the functions")
    parser.add_argument("--cross", action="store_true", help="also make the agent for other processors, as far as it can be built for them")
    parser.add_argument("--fast", action="store_true", help="compress little")
    arguments = parser.parse_args()

    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    files = []
    if not arguments.agent_only:
        for function in FUNCTIONS:
            file = out / f"{function}-{arguments.arch}.zip"
            file.write_bytes(function_zip(find_binary(BINARIES, function).read_bytes(), level=9))
            files.append(file)
    files += agent_packages(arguments.arch, find_binary(BINARIES, "easyconnect-agent"), out, arguments.fast)
    missing = []
    for arch, processor in PROCESSORS.items() if arguments.cross else ():
        if arch == arguments.arch:
            continue
        if has_standard_library(processor):
            files += agent_packages(arch, cross_built_agent(processor), out, arguments.fast)
        else:
            missing.append(f"  {arch} is left out: Rust's standard library for it is missing; rustup target add {processor.rust}")
    for file in files:
        print(f"  {file}  {file.stat().st_size / 1e6:.1f} MB")
    print(*missing, sep="\n", end="\n" if missing else "")


if __name__ == "__main__":
    try:
        main()
    except StepFailed as failure:
        sys.exit(explain(failure))
