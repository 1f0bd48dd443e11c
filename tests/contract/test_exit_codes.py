"""The same kind of error has the same exit code, whatever the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from click.testing import CliRunner

from mftscreen.cli import EXIT_CODES, main

BAD = "junk.db junk.cif junk.extxyz junk.npz junk.yaml junk.mft junk.json junk.pt"


@pytest.fixture(scope="module")
def folder(
    tiny_model: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Candidates, rows, models, a screening, an empty folder, and files of nothing."""
    folder = tmp_path_factory.mktemp("codes")
    crystals = [bulk("MgO", "rocksalt", a=4.1 + 0.01 * k) for k in range(6)]
    with connect(folder / "pool.db") as database:
        database.write(crystals[0])
        database.write(bulk("Pb"))  # which the model does not know
    for k, atoms in enumerate(crystals):
        atoms.info["gap"] = float(k)
    write(folder / "rows.extxyz", crystals)
    crystals[0].info["gap"] = float("nan")
    write(folder / "lacking.extxyz", [*crystals, bulk("Pb")])
    (folder / "gap.mft").symlink_to(tiny_model)
    (folder / "heads.pt").symlink_to(checkpoint)
    (folder / "empty").mkdir()
    for name in BAD.split():
        (folder / name).write_text("this is: [ nothing")
    rank = ["rank", str(folder / "pool.db"), "-m", str(tiny_model), "-q"]
    assert (
        CliRunner().invoke(main, [*rank, "--run", str(folder / "run")]).exit_code == 3
    )
    return folder


LINES = {
    "missing file": (
        1,
        """
        rank none.db -p gap
        rank pool.db -p gap -m none.mft
        rank pool.db -p gap -m gap.mft --then none.mft
        predict none.cif
        predict pool.db none.cif -m gap.mft
        predict pool.db -m none.mft
        results show none
        results query none 'rank > 1'
        results export none out.csv
        report none
        ood fit none.extxyz -o out.npz
        ood score none.db -m gap.mft
        ood score pool.db -r none.npz
        ood explain none.db --id 1 -m gap.mft
        ood map none.npz -o out.html
        recipes validate none.yaml
        finetune none.yaml
        study run none.yaml
        study show none
        diagnose none.mft --against heads.pt --data a=pool.db
        diagnose gap.mft --against none.pt --data a=pool.db
        diagnose gap.mft --against heads.pt --data a=none.db
        diagnose gap.mft --against heads.pt --data a --split none.json --fold 1
        data describe none.extxyz -p gap
        data convert none.extxyz out.db
        split none.extxyz --column gap --method random
        models show none.mft
        models export none.mft -o out.pt
        models import none.pt -o out.mft
        """,
    ),
    "bad file": (
        1,
        """
        rank junk.db -p gap
        rank pool.db -p gap -m junk.mft
        predict pool.db -m junk.mft
        results show empty
        report empty
        ood fit junk.extxyz -o out.npz
        ood score junk.db -m gap.mft
        ood score pool.db -r junk.npz
        ood map junk.npz -o out.html
        recipes validate junk.yaml
        finetune junk.yaml
        study run junk.yaml
        study show empty
        diagnose junk.mft --against heads.pt --data a=pool.db
        diagnose gap.mft --against heads.pt --data a --split junk.json --fold 1
        data describe junk.extxyz -p gap
        data convert junk.extxyz out.db
        split junk.extxyz --column gap --method random
        models show junk.mft
        models export junk.mft -o out.pt
        models import junk.pt -o out.mft
        """,
    ),
    "folder in place of a file, or a file in place of a folder": (
        1,
        """
        rank pool.db -m gap.mft -o empty
        rank pool.db -m gap.mft --run junk.db
        results show junk.db
        report junk.db
        report run -o empty
        ood fit rows.extxyz -o empty
        recipes validate empty
        finetune empty
        study run empty
        study show junk.db
        data describe empty -p gap
        split empty --column gap --method random
        models show empty
        models import empty -o out.mft
        """,
    ),
    "output that cannot be written": (
        1,
        """
        rank pool.db -m gap.mft -o none/out.csv
        rank pool.db -m gap.mft -o out.xyz
        predict pool.db -m gap.mft -o out.xyz
        results query run 'rank > 0' -o out.xyz
        results export run out.xyz
        report run -o out.pdf
        ood fit rows.extxyz -o out.pdf
        ood score rows.extxyz -m gap.mft -o out.pdf
        ood map rows.extxyz -o out.pdf
        diagnose gap.mft --against heads.pt --data a=pool.db -o out.pdf
        data convert rows.extxyz out.pdf -p gap
        split rows.extxyz --column gap --method random -o none/out.json
        models export gap.mft -o out.pdf
        models import heads.pt --energy-head oxides -o out.pdf
        """,
    ),
    "unknown name": (
        1,
        """
        rank pool.db -p gap -m zzz
        rank pool.db -m gap.mft -p zzz
        rank pool.db -m gap.mft -g zzz:max
        predict pool.db -m zzz
        predict pool.db -m gap.mft -p zzz
        predict pool.db -m gap.mft --energy-head zzz
        results show run -g zzz:max
        results query run 'zzz > 1'
        results export run out.csv --carry zzz
        ood score pool.db -m zzz
        ood score pool.db -m gap.mft -p zzz
        ood explain rows.extxyz -m gap.mft --id zzz
        recipes show zzz
        recipes copy zzz out
        diagnose zzz --against heads.pt --data a=pool.db
        data describe rows.extxyz -p zzz
        data convert rows.extxyz out.db -p zzz
        data download zzz
        split rows.extxyz --column zzz --method random
        models show zzz
        models download zzz
        models export zzz -o out.pt
        models export gap.mft --head zzz -o out.pt
        explain zzz
        """,
    ),
    "wrong usage": (
        2,
        """
        zzz
        rank
        predict
        predict pool.db --zzz
        results zzz
        ood fit rows.extxyz
        ood score pool.db -m gap.mft -r reference.npz
        recipes show
        finetune
        study run
        diagnose
        data describe rows.extxyz
        split rows.extxyz --column gap --method random --clusters 3
        models show
        rank pool.db -p gap -m gap.mft --keep 5
        rank pool.db -p gap -g gap:max
        """,
    ),
    "bad value of an option": (
        2,
        """
        rank pool.db -m gap.mft --alpha 2
        rank pool.db -m gap.mft --by zzz
        rank pool.db -m gap.mft -g gap:best
        rank pool.db -m gap.mft -j 0
        rank pool.db -m gap.mft --exclude-elements Xx
        rank pool.db -m gap.mft --then heads.pt --keep x%
        rank pool.db -m gap.mft --relax fire --relaxer zzz
        predict pool.db -m gap.mft --device zzz
        predict http://host/pool.cif -m gap.mft
        results show run -g gap:best
        results show run --alpha nan
        report run -g gap:best
        ood score pool.db -m gap.mft --alpha 0
        ood map rows.extxyz -o out.html --method zzz
        finetune junk.yaml --strategy zzz
        finetune junk.yaml --compare zzz
        study run junk.yaml --shard 3/2
        study show empty --only a=b
        diagnose gap.mft --seed -1
        diagnose gap.mft --pair C-Xy
        data convert rows.extxyz out.db --to zzz
        split rows.extxyz --column gap --method zzz
        models import heads.pt -o out.mft --unit gap
        """,
    ),
    "option that is given twice": (
        2,
        """
        rank pool.db -m gap.mft -p gap -p gap
        rank pool.db -m gap.mft --ood label --ood demote
        predict pool.db -m gap.mft -m heads.pt
        results show run --alpha 0.1 --alpha 0.2
        report run -o a.html -o b.html
        ood score rows.extxyz -m gap.mft -m gap.mft
        finetune junk.yaml -o a -o b
        study run junk.yaml -o a -o b
        study show empty --csv a --csv b
        diagnose gap.mft --seed 1 --seed 2
        data describe rows.extxyz -p a -p b
        data convert rows.extxyz out.db -p a -p b
        split rows.extxyz --column a --column gap --method random
        models export gap.mft --head a --head b -o out.pt
        models import heads.pt -o a.mft -o b.mft
        """,
    ),
    "rows that failed": (
        3,
        """
        rank pool.db -m gap.mft
        predict pool.db -m gap.mft
        predict junk.cif -m gap.mft
        results show run
        results query run "status != 'ok'"
        results export run out.csv
        report run -o out.html --map none
        data describe lacking.extxyz -p gap
        """,
    ),
    "all that was asked for": (
        0,
        """
        rank rows.extxyz -m gap.mft
        predict rows.extxyz -m gap.mft
        results query run "status == 'ok'"
        recipes list
        models list
        models show gap.mft
        explain
        """,
    ),
}


def _cases() -> Iterator[tuple[int, str]]:
    for code, lines in LINES.values():
        for line in lines.strip().splitlines():
            yield code, line.strip()


@pytest.mark.parametrize(("code", "line"), list(_cases()))
def test_exit_code(
    folder: Path, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, shlex.split(line))
    assert done.exit_code == code, done.stderr
    assert isinstance(done.exception, SystemExit | None)  # no traceback
    for left in folder.glob("out*"):
        left.unlink()


def _leaves(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from _leaves(below, (*path, name))


LEAVES = dict(_leaves(main))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_that_is_interrupted_says_so(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LEAVES[path], "parse_args", lambda *_: [])
    monkeypatch.setattr(LEAVES[path], "invoke", interrupted)
    done = CliRunner().invoke(main, path)
    assert done.exit_code == 130
    assert "Interrupted" in done.stderr


def test_every_command_is_in_the_table() -> None:
    lines = [line.split() for _, line in _cases()]
    without_errors = {("recipes", "list"), ("models", "list")}
    for path in LEAVES.keys() - without_errors:
        assert any(tuple(line[: len(path)]) == path for line in lines), path


def test_all_codes_are_explained_in_the_help() -> None:
    text = " ".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    sentence = text.partition("Exit codes: ")[2].partition(". ")[0]
    codes = [int(word) for word in sentence.split() if word.isdecimal()]
    assert codes == list(EXIT_CODES)
    used = {code for code, _ in LINES.values()}
    assert used | {130} == EXIT_CODES.keys()
