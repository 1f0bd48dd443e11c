"""The benchmark of a funnel, on a few crystals."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner

from mftscreen.model.files.bundle import read_bundle, write_bundle

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_all_of_the_top_of_the_same_network_is_found(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = importlib.import_module("funnel")
    bundle = read_bundle(tiny_model)
    slow, pool = tmp_path / "slow.mft", tmp_path / "pool.extxyz"
    card = bundle.card.model_copy(update={"name": "slow"})
    write_bundle(slow, card, bundle.checkpoint, bundle.reference)
    write(pool, [bulk("MgO", "rocksalt", a=4.0 + 0.02 * k) for k in range(30)])
    models = ["--slow", str(slow), "--fast", str(tiny_model), "-g", "gap:max"]
    sizes = ["-n", "20", "--keep", "10%", "--keep", "5", "--top", "2", "--top", "10"]
    done = CliRunner().invoke(
        benchmark.main, [str(pool), *models, *sizes], catch_exceptions=False
    )
    first, _, *lines = done.stdout.splitlines()
    assert first.startswith("20 structures; slow model on all: 1 ")
    assert first.endswith("rank correlation 1.00")
    cells = [line.replace("%", "").split() for line in lines]
    # two of twenty, and five: all of the best two, and half of the best ten
    assert [[c[0], c[1], *c[3:]] for c in cells] == [
        ["10", "2", "100", "20"], ["5", "5", "100", "50"],
    ]  # fmt: skip
