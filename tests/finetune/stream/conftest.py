"""Labelled frames of several sizes in a file, and a stream of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mftscreen.finetune.stream.limits import FrameLimits
from mftscreen.finetune.stream.spec import Side, Stream, open_stream

KINDS = (("MgO", "rocksalt", 4.2, False), ("Si", "diamond", 5.4, True))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def labelled() -> Callable[..., Atoms]:
    """Return what makes a frame: its number is the energy."""

    def labelled(number: int, **changed: Any) -> Atoms:
        symbols, structure, a, cubic = KINDS[number % 2]
        atoms = bulk(symbols, structure, a=a, cubic=cubic)
        forces = np.random.default_rng(number).normal(size=(len(atoms), 3))
        results = {"energy": float(number), "forces": forces, **changed}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["material"] = f"m{number // 4}"
        return atoms

    return labelled


@pytest.fixture
def stream_of(tmp_path: Path) -> Callable[..., Stream]:
    """Return what makes a stream of some frames."""

    def stream_of(frames: list[Atoms], **settings: Any) -> Stream:
        write(tmp_path / "frames.extxyz", frames)
        limits = {
            "elements": ("Mg", "O", "Si"),
            "max_atoms": None,
            "max_force": None,
            "formulas": (),
            "cutoffs": (4.0, 3.0),
        }
        limits |= {key: settings.pop(key) for key in limits.keys() & settings.keys()}
        side = Side(settings.pop("held_out", 0.2), 3, settings.pop("group", None))
        path = tmp_path / "frames.extxyz"
        return open_stream([path], FrameLimits(**limits), side, **settings)

    return stream_of
