"""The benchmark of what a model says of its own errors, on a few crystals."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_predictions_are_drawn_beside_labels(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = importlib.import_module("trust")
    rows, plots = tmp_path / "rows.extxyz", tmp_path / "new" / "plots"
    crystals = [bulk("MgO", "rocksalt", a=4.0 + 0.01 * k) for k in range(40)]
    for k, atoms in enumerate(crystals):
        atoms.info["known"] = 0.1 * k
    write(rows, crystals)
    arguments = [str(tiny_model), str(rows), "--column", "known", "--plots", str(plots)]
    done = CliRunner().invoke(benchmark.main, arguments, catch_exceptions=False)
    row = done.stdout.splitlines()[1].split()
    assert row[:3] == ["gap", "40", "40"]  # the model has no intervals
    assert (plots / "trust_gap.png").read_bytes().startswith(b"\x89PNG")
