"""Every command that writes a file says what it has written, unless it is quiet."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from click.testing import CliRunner

from mftscreen.cli import main


@pytest.fixture(scope="module")
def folder(
    tiny_model: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Candidates, labelled rows, models, a reference set and a screening."""
    folder = tmp_path_factory.mktemp("written")
    salts = [bulk("NaCl", "rocksalt", a=5.0 + 0.01 * k) for k in range(30)]
    for k, atoms in enumerate(salts):
        atoms.info["gap"] = float(k)
    write(folder / "rows.extxyz", salts)
    write(folder / "mixed.extxyz", [*salts[10:15], bulk("Si")])
    with connect(folder / "pool.db") as database:
        for k in range(3):
            database.write(bulk("MgO", "rocksalt", a=4.1 + 0.1 * k, cubic=True))
    (folder / "gap.mft").symlink_to(tiny_model)
    (folder / "tiny.pt").symlink_to(checkpoint)
    rank = ["rank", str(folder / "pool.db"), "-m", str(tiny_model), "-q"]
    assert (
        CliRunner().invoke(main, [*rank, "--run", str(folder / "run")]).exit_code == 0
    )
    fit = ["ood", "fit", str(folder / "rows.extxyz"), "-q"]
    done = CliRunner().invoke(main, [*fit, "-o", str(folder / "reference.npz")])
    assert done.exit_code == 0
    return folder


LINES = {
    "rank pool.db -m gap.mft -o OUT.csv": "3 rows",
    "results query run 'rank < 3' -o OUT.jsonl": "2 rows",
    "results export run OUT.db": "3 rows",
    "report run -o OUT.html --map none": "a report of 3 candidates",
    "predict pool.db -m gap.mft -o OUT.csv": "3 rows",
    "ood fit rows.extxyz -o OUT.npz": "30 reference structures",
    "ood score rows.extxyz -r reference.npz -o OUT.csv": "30 rows",
    "ood score mixed.extxyz -r reference.npz --ood exclude -o OUT.csv": "5 rows",
    "ood map reference.npz --method pca -o OUT.html": "a map of 30 points",
    "data convert rows.extxyz OUT.db -p gap": "30 rows",
    "split rows.extxyz --column gap --method random -o OUT.json": "5 folds of 30 rows",
    "models export gap.mft --head oxides -o OUT.pt": "head oxides of gap.mft",
    "models import tiny.pt --energy-head oxides -o OUT.mft": "a model of energy",
    "diagnose gap.mft --against tiny.pt --data a=pool.db --n-samples 5 --n-repeats 1 "
    "--json OUT.json": "the numbers of 1 model",
}


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(("line", "what"), LINES.items())
def test_what_is_written_is_said_once(
    folder: Path,
    line: str,
    what: str,
    quiet: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    arguments = shlex.split(line.replace("OUT", str(tmp_path / "out")))
    done = CliRunner().invoke(main, [*arguments, *(["-q"] if quiet else [])])
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.glob("out.*")
    said = [text for text in done.stderr.splitlines() if text.startswith("wrote ")]
    if quiet:
        assert not said
        return
    assert len(said) == 1
    assert said[0].startswith(f"wrote {what}")
    assert said[0].endswith(f" to {path}")


def _with_output(command: click.Command) -> list[click.Command]:
    """Return a command and those below it, as far as they write a file."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        below = (
            command.get_command(context, n) for n in command.list_commands(context)
        )
        return [found for each in below if each for found in _with_output(each)]
    files = [
        parameter
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
        and parameter.name in ("output", "json_path", "csv")
        and not parameter.type.dir_okay
    ]
    return [command] if files else []


def test_every_command_that_writes_a_file_can_be_quiet() -> None:
    writing = _with_output(main)
    assert len(writing) > 10
    for command in writing:
        assert "quiet" in {parameter.name for parameter in command.params}, command.name
