"""The read-out that a training ends with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ase.io import read

from mftscreen import load_model
from mftscreen.model.files.bundle import read_bundle

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("readout", ["kernel", "best"])
def test_a_trained_model_can_have_a_kernel(
    tune: Callable[..., Path],
    pretrained: Path,
    fine_tuned: Path,
    folder: Path,
    readout: str,
) -> None:
    path = tune(f"ft-{readout}", "ft", pretrained=str(pretrained), readout=readout)
    head = read_bundle(path).card.properties["softness"]
    neural = read_bundle(fine_tuned).card.properties["softness"]
    assert head.head == "softness"
    if readout == "kernel":
        assert head.readout is not None
    else:
        errors = head.metrics["validation"]["mae"], neural.metrics["validation"]["mae"]
        assert errors[0] <= errors[1]
    if head.readout is None:
        return
    # validation rows chose the settings, and were predicted without them
    assert head.readout.metrics["n"] == head.metrics["validation"]["n"]
    atoms = read(folder / "test.extxyz", ":")
    found = load_model(path, neural=True).evaluate(atoms, properties=["softness"])
    expected = load_model(fine_tuned).evaluate(atoms, properties=["softness"])
    for one, two in zip(found, expected, strict=True):
        assert one.properties["softness"] == pytest.approx(two.properties["softness"])
