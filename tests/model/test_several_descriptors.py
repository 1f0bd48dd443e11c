"""Model files whose kernels read the descriptors of several networks side by side."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen import MFTCalculator, Predictor, load_model
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.errors import ModelFileError, UnknownElementError, UnknownHeadError
from mftscreen.model.exchange import export_model
from mftscreen.model.files.bundle import (
    DescriptorCard,
    ModelCard,
    PropertyHead,
    read_bundle,
    write_bundle,
)
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state
from mftscreen.model.loading import load_state
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import side_by_side
from mftscreen.model.readouts.kernel import KernelCard, KernelReadout
from mftscreen.model.readouts.pooling import join_pooled, pool
from mftscreen.properties import PropertySpec
from mftscreen.testing import check_model
from mftscreen.transforms import Transform


@pytest.fixture(scope="module")
def write_both(
    checkpoint: Path, sevennet_backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return what writes a model on DPA3 with four heads and 7net, or another one."""

    def write_both(second: bytes | None = None) -> Path:
        files = (checkpoint, sevennet_backbone)
        networks = [DeepmdNetwork.from_checkpoint(path) for path in files]
        width = 2 * side_by_side(networks).width
        rng = np.random.default_rng(0)
        card = KernelCard(
            method="ridge", pooling="mean_spread", gamma=0.1, offset=1.0,
            transform=Transform(), n_landmarks=3,
        )  # fmt: skip
        landmarks = rng.normal(size=(3, width)).astype(np.float16).astype(float)
        readout = KernelReadout(
            card, np.zeros(width), np.ones(width), landmarks, rng.normal(size=3)
        )
        head = PropertyHead(
            spec=PropertySpec(name="hardness", label="hardness", unit="GPa"),
            head=None, readout=card, elements=["O", "Mg"], n_train=3,
            train_range=(0.0, 1.0), training_set="made up", training_hash="0",
        )  # fmt: skip
        model = ModelCard(
            name="both", strategy="kernel", energy_head="oxides",
            properties={"hardness": head},
            descriptors=[DescriptorCard(name=n, sha256="0") for n in ("dpa", "7net")],
        )  # fmt: skip
        path = tmp_path_factory.mktemp("both") / "both.mft"
        first, other = (file.read_bytes() for file in files)
        write_bundle(
            path,
            model,
            first,
            readouts=readout.to_arrays("hardness"),
            further=[other if second is None else second],
        )
        return path

    return write_both


@pytest.fixture(scope="module")
def both(write_both: Callable[..., Path]) -> Path:
    return write_both()


def test_the_kernel_reads_all_of_them(
    both: Path,
    checkpoint: Path,
    sevennet_backbone: Path,
    mixed_structures: list[Atoms],
) -> None:
    model = load_model(both)
    found = model.evaluate(mixed_structures, properties=["hardness"])
    networks = map(DeepmdNetwork.from_checkpoint, (checkpoint, sevennet_backbone))
    pooled = join_pooled(
        [
            np.array([pool(row.descriptors) for row in rows])
            for rows in (
                n.evaluate(mixed_structures, descriptors=True) for n in networks
            )
        ]
    )
    expected = model.readouts["hardness"].predict(pooled, mixed_structures)
    values = [each.properties["hardness"] for each in found]
    np.testing.assert_allclose(values, expected[:, 0], atol=1e-6)


def test_it_keeps_the_contract_of_models(
    both: Path, mixed_structures: list[Atoms]
) -> None:
    check_model(load_model(both), mixed_structures[:3])


def test_the_force_field_is_that_of_the_first(both: Path, checkpoint: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    atoms.rattle(0.05)
    forces = [
        MFTCalculator(model, energy_head="oxides").get_forces(atoms)
        for model in (both, checkpoint)
    ]
    np.testing.assert_array_equal(*forces)


def test_calculators_go_to_other_processes(both: Path) -> None:
    calculator = MFTCalculator(both, check_domain=False)
    again = pickle.loads(pickle.dumps(calculator))
    atoms = bulk("MgO", "rocksalt", a=4.2)
    one, other = (c.get_property("hardness", atoms) for c in (calculator, again))
    assert one == pytest.approx(other, rel=1e-9)
    assert again.get_descriptors(atoms).shape == (2, again.model.network.width)


def test_what_one_of_them_does_not_know_is_a_row_with_a_reason(
    write_both: Callable[..., Path], sevennet_backbone: Path
) -> None:
    state = read_state(sevennet_backbone)
    for head in model_parameters(state).values():
        head["type_map"] = ["H", "O", "Mg", "Si", "Fe", "As"]  # no Ga
    model = load_model(write_both(save_state(state)))
    crystals = [bulk("GaAs", "zincblende", a=5.6), bulk("MgO", "rocksalt", a=4.2)]
    unknown, known = Predictor(model)(crystals)
    assert (unknown.status, known.status) == ("unknown_element", "ok")
    assert "Ga, which the model does not know" in unknown.reason
    with pytest.raises(UnknownElementError, match="Ga"):
        MFTCalculator(model).get_property("hardness", crystals[0])


def test_elements_of_the_training_set_are_known_to_all(
    write_both: Callable[..., Path], sevennet_backbone: Path
) -> None:
    state = read_state(sevennet_backbone)
    for head in model_parameters(state).values():
        head["type_map"] = ["H", "O", "Ni", "Si", "Fe", "As"]  # no Mg
    with pytest.raises(ModelFileError, match="trained on Mg, which"):
        load_model(write_both(save_state(state)))


def _changed(state: dict[str, Any], **changes: Any) -> bytes:
    state = {**state, "_extra_state": copy.deepcopy(state["_extra_state"])}
    for head in model_parameters(state).values():
        head["descriptor"] |= changes
    return save_state(state)


class _Malicious:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


def test_every_network_is_looked_at_before_any_is_built(
    write_both: Callable[..., Path],
    checkpoint: Path,
    sevennet_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = read_state(sevennet_backbone)
    hostile = {
        r"descriptor\.type: 'frozen' is not one of": _changed(state, type="frozen"),
        "its weights would take at least": _changed(state, channels=[900, 900, 900]),
        "may not have this parameter": _changed(state, file="/etc/passwd"),
        "PyTorch checkpoint": pickle.dumps({"model": _Malicious()}, protocol=2),
        "torch.save has written": b"weights",
        "has 4 heads, of which one": checkpoint.read_bytes(),
    }
    paths = {reason: write_both(content) for reason, content in hostile.items()}
    monkeypatch.setattr(DeepmdNetwork, "__init__", None)
    for reason, path in paths.items():
        with pytest.raises(ModelFileError, match=f"descriptor-2.pt.*{reason}"):
            load_model(path)
    assert "executed" not in capsys.readouterr().out


def test_arrays_for_fewer_descriptors_are_refused(both: Path, tmp_path: Path) -> None:
    bundle = read_bundle(both)
    first = bundle.card.descriptors[:1]
    card = bundle.card.model_copy(update={"descriptors": first})
    path = tmp_path / "narrow.mft"
    write_bundle(path, card, bundle.checkpoint, readouts=bundle.readouts)
    with pytest.raises(ModelFileError, match="hardness is damaged: center is float64"):
        load_model(path)


def test_who_needs_a_single_network_gets_the_first_and_hears_of_it(
    both: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, _ = load_state(both)
    expected = read_state(checkpoint)
    assert model_parameters(state) == model_parameters(expected)
    assert "descriptors of dpa, 7net side by side; only that of dpa" in caplog.text
    caplog.clear()
    # as for 'mftscreen diagnose'
    assert load_network(both).network.type_map == load_model(both).type_map
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert export_model(both, tmp_path / "x.pt") == "oxides"
    with pytest.raises(UnknownHeadError, match="predicted by a kernel"):
        export_model(both, tmp_path / "y.pt", "hardness")
    with pytest.raises(UnknownHeadError, match="no neural head for hardness"):
        load_model(both, neural=True)
