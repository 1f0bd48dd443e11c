from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
from ase.build import bulk

from mftscreen.cli.shared.reference_sets import open_chosen, warn_if_too_small
from mftscreen.errors import UnknownPropertyError
from mftscreen.ood.reference.reference_set import fit_reference, open_reference

CONTEXT = click.Context(click.Command("score"))


def test_the_training_set_of_the_only_property_is_taken(tiny_model: Path) -> None:
    taken = open_chosen(CONTEXT, None, str(tiny_model), None)
    assert list(taken.ids) == [str(k) for k in range(20)]
    with pytest.raises(UnknownPropertyError, match="not predict alpha, only: gap"):
        open_chosen(CONTEXT, None, str(tiny_model), "alpha")


@pytest.mark.parametrize(("model", "name"), [("mft-mini", None), (None, "gap")])
def test_a_file_and_a_model_are_one_too_many(
    tmp_path: Path, model: str | None, name: str | None
) -> None:
    with pytest.raises(click.UsageError, match="choose one of --reference and --model"):
        open_chosen(CONTEXT, tmp_path / "reference.npz", model, name)


@pytest.mark.parametrize(("alpha", "is_told"), [(0.05, True), (0.1, False)])
def test_few_structures_flag_nothing(
    alpha: float, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    crystals = [bulk("MgO", "rocksalt", a=a) for a in np.linspace(4.0, 4.3, 12)]
    arrays = fit_reference(zip(map(str, range(12)), crystals, strict=True))[
        0
    ].to_arrays()
    warn_if_too_small(open_reference(arrays, ["Mg", "O"]), alpha)
    message = capsys.readouterr().err
    assert ("the smallest is 1/13" in message) == is_told
