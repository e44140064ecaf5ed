"""The zip of a function, byte for byte the same for the same binary."""

import filecmp
import io
import platform
import shutil
import zipfile
from pathlib import Path

from steps import StepFailed


def architecture() -> str:
    """This machine's name among the values of the template's parameter `Architecture`."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def find_binary(bin_dir: Path, name: str) -> Path:
    """Where cargo-lambda puts a binary; a plain file of that name is taken, too."""
    for candidate in (bin_dir / name / "bootstrap", bin_dir / name):
        if candidate.is_file():
            return candidate
    raise StepFailed(f"{bin_dir / name / 'bootstrap'} is missing.", hint="make build")


def private_copy(binary: Path, folder: Path, name: str) -> Path:
    """A copy to run. A program that runs cannot be overwritten, and the next build has to write its own."""
    copy = folder / name
    if not (copy.exists() and filecmp.cmp(binary, copy, shallow=False)):
        draft = copy.with_suffix(".new")
        shutil.copy2(binary, draft)
        draft.replace(copy)
    return copy


def function_zip(binary: bytes, level: int) -> bytes:
    """What Lambda wants: the program, executable, under the name `bootstrap`."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, binary, zipfile.ZIP_DEFLATED, level)
    return package.getvalue()
