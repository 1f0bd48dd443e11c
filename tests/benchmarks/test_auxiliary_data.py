"""The files of the benchmark of auxiliary data, and one of its runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mftscreen.data.frames import Frames

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_files_of_all_formats_hold_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = importlib.import_module("auxiliary_data")
    monkeypatch.setattr(benchmark, "N_MADE", 4)
    frames = benchmark.make_frames()
    for name, (suffix, write) in benchmark.FORMATS.items():
        path = tmp_path / f"{name}{suffix}"
        write(frames, 12, path)
        found = Frames([path])
        assert len(found) == 12
        for number in range(12):
            atoms, given = found.read(number).structure, frames[number % 4]
            np.testing.assert_allclose(atoms.positions, given.positions, atol=1e-7)
            for key in ("energy", "forces", "stress"):
                value, expected = atoms.calc.results[key], given.calc.results[key]
                np.testing.assert_allclose(value, expected, atol=1e-7)


@pytest.mark.slow
def test_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = importlib.import_module("auxiliary_data")
    sizes = ["-n", "500", "--format", "npy", "--steps", "4", "--folder", str(tmp_path)]
    done = CliRunner().invoke(benchmark.main, sizes, catch_exceptions=False)
    cells = done.stdout.splitlines()[-1].split()
    assert cells[:2] == ["npy", "500"]
    # MiB of two processes with torch, and not more than a machine has
    assert 400 < float(cells[2]) < 20_000
    assert float(cells[3]) == 1
    assert float(cells[4]) > 1
