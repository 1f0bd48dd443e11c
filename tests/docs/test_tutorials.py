"""The commands of the tutorials, run as they stand there, on few structures."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from ase import Atoms
from ase.data import chemical_symbols
from ase.db import connect
from ase.io import write
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.errors import MftscreenError
from mftscreen.structures import check_structure

ROOT = Path(__file__).parents[2]
ELSEWHERE = (
    *("pip ", "sbatch ", "tail ", "mftscreen rank pool.db"),
    "mftscreen rank pool.extxyz.gz -p dielectric --then",
)
"""What needs a network, a cluster or another model."""
DONE, SOME_FAILED = 0, 3
N_CRYSTALS, N_CANDIDATES = 48, 8
FEWER = {"--clusters 10": "--clusters 4", "examples/candidates.db": "candidates.db"}


def _crystals(n: int) -> list[Atoms]:
    """Return small ones of the example that nothing is wrong with."""
    found: list[Atoms] = []
    for row in connect(ROOT / "examples" / "candidates.db").select():
        atoms = row.toatoms()
        with suppress(MftscreenError):
            check_structure(atoms, chemical_symbols)
            if len(atoms) < 9 and len(found) < n:
                found.append(atoms)
    return found


def _write_candidates() -> None:
    write("candidates.db", _crystals(N_CANDIDATES))


def _write_pool_and_study() -> None:
    write("pool.extxyz.gz", _crystals(N_CANDIDATES))
    _run("mftscreen recipes copy paper/smoke/table_4 other")
    _run("(cd other; python make_data.py)")


def _write_own_data() -> None:
    """Put labelled CIF files into the folder, and edit the configuration there."""
    folder = Path("my")
    (folder / "cifs").mkdir()
    lines = ["file,id,gap"]
    for number, atoms in enumerate(_crystals(N_CRYSTALS)):
        name = f"cifs/mp-{number}.cif"
        write(folder / name, atoms)
        lines.append(f"{name},mp-{number},{atoms.get_volume() / len(atoms):.3f}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    _edit(folder / "config.yaml")


def _edit(path: Path, **changes: object) -> None:
    document = yaml.safe_load(path.read_text())
    settings = {"label": "volume per atom", "unit": "A^3", "bias": "global"}
    document["properties"] = {"gap": settings}
    path.write_text(yaml.safe_dump(document | changes))


def _copy_own_data() -> None:
    for name in ("data.csv", "split.json"):
        shutil.copy(Path("my", name), "mft")
    shutil.copytree("my/cifs", "mft/cifs")
    training = {"steps": 12, "batch_size": 32, "save_every": 6}
    _edit(Path("mft/config.yaml"), training=training)


@dataclass(frozen=True)
class Tutorial:
    """What a reader does beside the commands, and what is smaller here.

    Attributes
    ----------
    before : callable
        Done first.
    after : mapping of str to callable
        Beginning of a command to what is done after it.
    smaller : mapping of str to str
        Text of commands to what takes its place.
    makes : tuple of str
        Files and folders that are there in the end.
    """

    before: Callable[[], None] = _write_candidates
    after: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    smaller: Mapping[str, str] = field(default_factory=dict)
    makes: tuple[str, ...] = ()


TUTORIALS = {
    "start/first-ranking": Tutorial(makes=("first.html", "best.csv")),
    "tutorials/own-data": Tutorial(
        after={"mftscreen recipes copy": _write_own_data},
        makes=("my/split.json", "my/run/model.mft", "my/ranking.html"),
    ),
    "tutorials/kernel-or-mft": Tutorial(
        after={"mftscreen recipes copy": _copy_own_data},
        smaller={
            "--compare kernel,ft,lp,mft --folds 3": "--compare ft,mft --folds 0,",
            "FOLD": "0",
            "-o drift.html": "-o drift.html --n-samples 20 --n-repeats 1",
        },
        makes=("mft/cmp/compare.csv", "drift.html"),
    ),
    "tutorials/relax": Tutorial(makes=("relaxed.db",)),
    "tutorials/trust": Tutorial(makes=("flagged.csv", "safe.csv")),
    "tutorials/molecules": Tutorial(makes=("gaps.csv",)),
    "tutorials/slurm": Tutorial(
        before=_write_pool_and_study,
        smaller={
            "$SLURM_CPUS_PER_TASK": "2",
            "study.yaml": "other/table_4.yaml",
            # only then is there something to be shown
            "-o runs/study --dry-run": "-o runs/study --shard 1/13 --threads 1",
            "-o runs/smoke": "-o runs/smoke --shard 1/13 --threads 1",
        },
        makes=("runs/pool", "runs/study", "runs/smoke"),
    ),
}


def _commands(page: str) -> list[str]:
    """Return the lines that a reader types, in their order."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [
        line
        for block in blocks
        for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    ]
    typed = [line.split("  #")[0].strip() for line in lines]
    return [x for x in typed if x.startswith(("mftscreen ", "printf ", "("))]


def _run(line: str) -> None:
    if not line.startswith("mftscreen "):
        subprocess.run(["bash", "-ec", line], check=True, timeout=100)
        return
    done = CliRunner().invoke(main, shlex.split(line)[1:])
    assert done.exit_code in (DONE, SOME_FAILED), f"{line}\n{done.output}"


def _walk(page: str) -> None:
    tutorial = TUTORIALS[page]
    tutorial.before()
    for line in _commands(page):
        if line.startswith(ELSEWHERE):
            continue
        for text, smaller in {**FEWER, **tutorial.smaller}.items():
            line = line.replace(text, smaller)
        _run(line)
        for beginning, act in tutorial.after.items():
            if line.startswith(beginning):
                act()
    for name in tutorial.makes:
        assert Path(name).exists(), name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_every_tutorial_is_walked() -> None:
    pages = {f"tutorials/{path.stem}" for path in (ROOT / "docs/tutorials").glob("*")}
    assert pages <= TUTORIALS.keys()
    for page, tutorial in TUTORIALS.items():
        typed = "\n".join(_commands(page))
        assert typed
        assert all(text in typed for text in (*tutorial.after, *tutorial.smaller))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in TUTORIALS if page != "tutorials/kernel-or-mft"]
)
@pytest.mark.usefixtures("folder")
def test_tutorials_run(page: str) -> None:
    _walk(page)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_tutorial_on_strategies_goes_on_with_the_data_of_the_first() -> None:
    _write_candidates()
    for line in _commands("tutorials/own-data")[:3]:
        _run(line.replace("--clusters 10", "--clusters 4"))
        if line.startswith("mftscreen recipes copy"):
            _write_own_data()
    _walk("tutorials/kernel-or-mft")
