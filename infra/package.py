"""Makes dist/: one zip per function, and the agent as a Debian package and as a tarball. `make package` builds before it calls this."""

import argparse
import io
import subprocess
import sys
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "infra" / "local"))

from artifacts import find_binary, function_zip  # noqa: E402
from steps import StepFailed, explain  # noqa: E402

FUNCTIONS = ("api", "fanout", "deliver")
BINARIES = REPOSITORY / "target" / "lambda"
CARGO_DEB = REPOSITORY / ".venv" / "bin" / "cargo-deb"


def version() -> str:
    """The one version of the workspace."""
    lines = (REPOSITORY / "Cargo.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def agent_tarball(name: str, preset: int) -> bytes:
    """The program and what is packaged with it. Times and owners are fixed, so equal content gives an equal file."""
    agent = REPOSITORY / "agent"
    files = [(find_binary(BINARIES, "easyconnect-agent"), "easyconnect-agent", 0o755), (agent / "README.md", "README.md", 0o644)]
    files += [(path, path.name, 0o644) for path in sorted((agent / "packaging").glob("*")) if path.is_file()]
    files += [(path, path.name, 0o644) for path in sorted(REPOSITORY.glob("LICENSE*"))]
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:xz", preset=preset) as archive:
        for path, member, mode in files:
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return package.getvalue()


def agent_deb(arch: str, folder: Path, fast: bool) -> Path:
    """The Debian package as agent/Cargo.toml describes it, of the program that is already built."""
    if not CARGO_DEB.exists():
        raise StepFailed(f"{CARGO_DEB} is missing.", hint="make package")
    options = ["--manifest-path", REPOSITORY / "agent" / "Cargo.toml", "--target", f"{arch}-unknown-linux-gnu", "--output", f"{folder}/"]
    # Its one warning is that the program does not come from a build of its own.
    command = [CARGO_DEB, "--no-build", "--no-strip", "--quiet", *(["--fast"] if fast else []), *options]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", required=True, help="processor the binaries are built for")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist")
    parser.add_argument("--agent-only", action="store_true", help="leave out the functions")
    parser.add_argument("--fast", action="store_true", help="compress little")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    name = f"easyconnect-agent-{version()}-{arguments.arch}"
    packages = {f"{name}.tar.xz": agent_tarball(name, preset=0 if arguments.fast else 6)}
    if not arguments.agent_only:
        for function in FUNCTIONS:
            binary = find_binary(BINARIES, function).read_bytes()
            packages[f"{function}-{arguments.arch}.zip"] = function_zip(binary, level=9)
    for file, content in packages.items():
        (arguments.out / file).write_bytes(content)
    for file in (*(arguments.out / file for file in packages), agent_deb(arguments.arch, arguments.out, arguments.fast)):
        print(f"  {file}  {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except StepFailed as failure:
        sys.exit(explain(failure))
