from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk

from mftscreen.model.backbones.dpa3.budget import fit_state
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 2])
def test_resized_budget_gives_the_same_energies_in_deepmd(
    checkpoint: Path, tmp_path: Path, factor: float
) -> None:
    from deepmd.infer import DeepPot

    state = read_state(checkpoint)
    descriptor = model_parameters(state)["oxides"]["descriptor"]
    repflow = {
        key: value * factor if key == "sel_reduce_factor" else int(value * factor)
        for key, value in descriptor["repflow"].items()
        if key in ("e_sel", "a_sel", "sel_reduce_factor")
    }
    resized = tmp_path / "resized.pt"
    smaller = fit_state(state, {"repflow": repflow})
    resized.write_bytes(save_state(smaller))
    assert model_parameters(state)["oxides"]["descriptor"]["repflow"]["e_sel"] == 60
    atoms = bulk("MgO", "rocksalt", a=5.4)
    arguments = atoms.positions.reshape(1, -1), atoms.cell.array.reshape(1, -1), [2, 1]
    energies = [
        DeepPot(str(path), head="oxides", no_jit=True).eval(*arguments)[0].item()
        for path in (checkpoint, resized)
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)
