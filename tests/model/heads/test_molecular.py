"""Heads for molecules, on small untrained networks, and through stock deepmd-kit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from mftscreen import MFTCalculator, Predictor, load_model
from mftscreen.errors import PeriodicityError
from mftscreen.head_forms import HEAD_FORMS
from mftscreen.model.backbones import _architectures, plugins
from mftscreen.model.network.backend import DeepmdNetwork


def test_values_do_not_depend_on_place_orientation_and_order(
    molecules: list[Atoms], kind: str, values: Callable[[str, list[Atoms]], list[float]]
) -> None:
    rng = np.random.default_rng(0)
    moved = []
    for atoms in molecules:
        copied = atoms[rng.permutation(len(atoms))]
        turn = Rotation.random(rng=rng).as_matrix()
        copied.positions = -copied.positions @ turn.T + rng.normal(size=3)
        moved.append(copied)
    before = values(kind, molecules)
    assert np.ptp(before) > 1e-3
    np.testing.assert_allclose(values(kind, moved), before, rtol=1e-9, atol=1e-12)


def test_batch_equals_single(
    molecules: list[Atoms], kind: str, values: Callable[[str, list[Atoms]], list[float]]
) -> None:
    single = [values(kind, [atoms])[0] for atoms in molecules]
    batch = values(kind, molecules)
    np.testing.assert_allclose(batch, single, rtol=1e-10, atol=1e-14)


def test_other_heads_are_as_without_them(
    network: DeepmdNetwork,
    kinds: list[str],
    molecules: list[Atoms],
    values: Callable[[str, list[Atoms]], list[float]],
) -> None:
    alone = values("gap", molecules)
    together = network.evaluate(molecules, property_heads=["gap", *kinds])
    found = [result.heads["gap"].item() for result in together]
    np.testing.assert_allclose(found, alone, rtol=1e-12)
    assert len({round(v.item(), 9) for v in together[0].heads.values()}) == 1 + len(
        kinds
    )


@pytest.mark.slow
def test_stock_deepmd_in_its_own_process_gives_the_same(
    network: DeepmdNetwork,
    molecular: Path,
    kinds: list[str],
    molecules: list[Atoms],
    values: Callable[[str, list[Atoms]], list[float]],
) -> None:
    code = """
import json, sys
import numpy as np
import torch
from deepmd.infer.deep_property import DeepProperty
from deepmd.pt.model.descriptor import BaseDescriptor
from deepmd.pt.model.task import Fitting
path, kinds, molecules = json.loads(sys.argv[1])
found = {kind: [] for kind in kinds}
found["refused"] = []
found["plugins"] = [*BaseDescriptor.get_plugins(), *Fitting.get_plugins()]
for kind in kinds:
    model = DeepProperty(path, head=kind)
    # optimising what was scripted takes longer than all else
    with torch.jit.optimized_execution(False):
        for coordinates, types in molecules:
            value = model.eval(np.array(coordinates).reshape(1, -1), None, types)[0]
            found[kind].append(value.item())
        try:
            model.eval(np.zeros((1, 3)), np.eye(3).reshape(1, 9) * 4, [0])
        except torch.jit.Error as error:
            found["refused"].append(str(error))
print(json.dumps(found))
"""
    packed = [
        (a.positions.tolist(), [network.type_map.index(s) for s in a.symbols])
        for a in molecules
    ]
    argument = json.dumps([str(molecular), kinds, packed])
    process = subprocess.run(
        [sys.executable, "-c", code, argument],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(process.stdout.splitlines()[-1])
    for kind in kinds:
        expected = values(kind, molecules)
        np.testing.assert_allclose(found[kind], expected, rtol=1e-9, atol=1e-14)
    # an entry point has led deepmd-kit to all that it does not have itself
    of_plugins = {kind.kind for kind in _architectures() if kind.plugin is not None}
    assert len(of_plugins) == len(plugins())
    assert "sevennet" in of_plugins <= set(found["plugins"])
    assert {form.fitting for form in HEAD_FORMS.values()} <= set(found["plugins"])
    assert len(found["refused"]) == len(kinds)
    assert all("cannot evaluate a periodic cell" in m for m in found["refused"])


@pytest.mark.slow
def test_virtual_atoms_of_deepmd_change_nothing(
    molecular: Path, kinds: list[str]
) -> None:
    from deepmd.infer.deep_property import DeepProperty

    water = molecule("H2O")
    padded = np.vstack([water.positions, [[9.0, 9.0, 9.0]]])
    types = np.array([[1, 0, 0]])
    for kind in kinds:
        model = DeepProperty(str(molecular), head=kind, no_jit=True)
        plain, virtual = (
            model.eval(x.reshape(1, -1), None, t, mixed_type=True)[0].item()
            for x, t in ((water.positions, types), (padded, np.array([[1, 0, 0, -1]])))
        )
        assert virtual == pytest.approx(plain, rel=1e-12)


def test_periodic_structures_are_refused(molecular: Path, kind: str) -> None:
    model = load_model(molecular, property_heads=[kind, "gap"])
    slab = molecule("H2O", vacuum=5.0)
    slab.pbc = (True, False, False)
    with pytest.raises(PeriodicityError, match=kind):
        MFTCalculator(model).get_property(kind, slab)
    assert np.isfinite(MFTCalculator(model).get_property("gap", slab))
    rows = list(Predictor(model)([molecule("H2O"), slab]))
    assert [row.status for row in rows] == ["ok", "ok"]
    assert rows[1].properties.keys() == {"gap"}
    assert "property of molecules" in rows[1].refused[kind]
    (row,) = Predictor(model, properties=[kind])([slab])
    assert row.status == "unsupported_pbc"
    assert "property of molecules" in row.reason


def test_trained_head_keeps_its_scales(
    network: DeepmdNetwork, samples: Callable[[str, list[float]], list[dict]]
) -> None:
    model = network._models["r2"]
    before = model.out_bias.clone()
    labelled = samples("r2", [1.0, 2.0])
    model.change_out_bias(labelled, bias_adjust_mode="change-by-statistic")
    assert torch.equal(model.out_bias, before)
