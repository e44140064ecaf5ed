"""Makes dist/: one zip per function, and the agent's tarball. `make package` builds first and then calls this."""

import argparse
import io
import sys
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "infra" / "local"))

from artifacts import find_binary, function_zip  # noqa: E402

FUNCTIONS = ("api", "fanout", "deliver")


def version() -> str:
    """The one version of the workspace."""
    lines = (REPOSITORY / "Cargo.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def agent_tarball(binary: Path, name: str) -> bytes:
    """The program and what is packaged with it. Times and owners are fixed, so equal content gives an equal file."""
    files = [(binary, "easyconnect-agent", 0o755)]
    files += [(path, path.name, 0o644) for path in sorted((REPOSITORY / "agent" / "packaging").glob("*")) if path.is_file()]
    files += [(path, path.name, 0o644) for path in sorted(REPOSITORY.glob("LICENSE*"))]
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:xz") as archive:
        for path, member, mode in files:
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return package.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", required=True, help="processor the binaries are built for")
    parser.add_argument("--bin-dir", type=Path, default=REPOSITORY / "target" / "lambda")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    packages = {
        f"{name}-{arguments.arch}.zip": function_zip(find_binary(arguments.bin_dir, name).read_bytes(), level=9) for name in FUNCTIONS
    }
    name = f"easyconnect-agent-{version()}-{arguments.arch}"
    packages[f"{name}.tar.xz"] = agent_tarball(find_binary(arguments.bin_dir, "easyconnect-agent"), name)
    for file, content in packages.items():
        (arguments.out / file).write_bytes(content)
        print(f"  {arguments.out / file}  {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
