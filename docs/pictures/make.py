r"""Make the pictures of the documentation.

    python docs/pictures/make.py                     # report and map of the examples
    # what two trainings did, too: arguments of 'mftscreen diagnose', such as
    python docs/pictures/make.py FT=RUN MFT=RUN --data train=fold0/train.extxyz \
        --data test=fold0/id.extxyz --n-samples 200 --n-repeats 1 --n-environments 8

Needs Chromium (``playwright install chromium``, or one on the path). Everything else is
made anew from ``examples/candidates.db`` and the shipped model. Those on trust and
learning curves are of ``benchmarks/trust.py`` and ``benchmarks/learning_curves.py``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
CANDIDATES = HERE.parent.parent / "examples" / "candidates.db"
DONE, SOME_FAILED = 0, 3


def main() -> None:
    """Write the PNG files beside this script."""
    with TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            # software WebGL; root, as in a container, has no sandbox
            args=["--no-sandbox", "--use-angle=swiftshader"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        run("rank", CANDIDATES, "-p", "dielectric", "--ood", "demote",
            "--run", folder / "run", "-o", folder / "all.csv", "-q")  # fmt: skip
        run("report", folder / "run", "-o", folder / "report.html")
        shoot(page, folder / "report.html", "report.png")
        run("ood", "map", CANDIDATES, "-o", HERE / "map.png", "-q")
        if arguments := sys.argv[1:]:
            run("diagnose", *arguments, "-o", HERE / "collapse.png", "-q")
        browser.close()


def run(*arguments: Any) -> None:
    """Run a command of mftscreen."""
    done = subprocess.run(["mftscreen", *map(str, arguments)], check=False)
    if done.returncode not in (DONE, SOME_FAILED):
        sys.exit(done.returncode)


def shoot(page: Any, path: Path, name: str) -> None:
    """Take a picture of a page as it is seen first."""
    page.goto(path.as_uri())
    page.wait_for_timeout(2000)  # plots are drawn after the page has been loaded
    page.screenshot(path=HERE / name)


if __name__ == "__main__":
    main()
