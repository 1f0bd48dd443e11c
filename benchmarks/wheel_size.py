"""Size of the package's wheel, and what in it weighs most.

Usage: python benchmarks/wheel_size.py

Builds the wheel of the checkout that this script lies in with ``pip wheel --no-deps``
in a temporary folder; pip fetches the build backend.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import click

PROJECT = Path(__file__).resolve().parent.parent
MEGABYTE = 1e6


def build_wheel(folder: Path) -> Path:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "-q",
            "-w",
            folder,
            PROJECT,
        ],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@click.command()
@click.option("-n", "count", default=5, show_default=True, help="Files to list.")
def main(count: int) -> None:
    """Print the size of the wheel and of its largest files, compressed."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            files = archive.infolist()
        click.echo(
            f"{wheel.name}: {wheel.stat().st_size / MEGABYTE:.2f} MB, "
            f"{len(files)} files"
        )
    for file in sorted(files, key=lambda file: -file.compress_size)[:count]:
        click.echo(f"  {file.compress_size / MEGABYTE:5.2f} MB {file.filename}")


if __name__ == "__main__":
    main()
