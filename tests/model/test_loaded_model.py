"""What a model in memory predicts with kernels and with neural heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen import load_model
from mftscreen.errors import ModelFileError, UnknownHeadError
from mftscreen.model.files.bundle import (
    ModelCard,
    PropertyHead,
    read_bundle,
    write_bundle,
)
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.readouts.kernel import KernelCard, KernelReadout
from mftscreen.model.readouts.pooling import pool
from mftscreen.properties import PropertySpec
from mftscreen.transforms import Transform


@pytest.fixture
def kernel_model(checkpoint: Path, tmp_path: Path) -> Path:
    """A file whose property ``gap`` has a neural head and a kernel."""
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    width = 2 * network.width
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
        spec=PropertySpec(name="gap", label="band gap", unit="eV"),
        head="gap", readout=card, elements=["O", "Mg"], n_train=3,
        train_range=(0.0, 1.0), training_set="made up", training_hash="0",
    )  # fmt: skip
    path = tmp_path / "kernel.mft"
    model = ModelCard(
        name="kernel", strategy="ft", energy_head="oxides", properties={"gap": head}
    )
    arrays = readout.to_arrays("gap")
    write_bundle(path, model, checkpoint.read_bytes(), readouts=arrays)
    return path


def test_a_kernel_predicts_in_place_of_the_neural_head(
    kernel_model: Path, mixed_structures: list[Atoms]
) -> None:
    model = load_model(kernel_model)
    predictions = model.evaluate(mixed_structures, properties=["gap"])
    descriptors = model.evaluate(mixed_structures, descriptors=True)
    pooled = np.array([pool(each.descriptors) for each in descriptors])
    values = model.readouts["gap"].predict(pooled, mixed_structures)
    for each, value in zip(predictions, values, strict=True):
        assert each.properties["gap"] == pytest.approx(value, rel=1e-12)
        assert each.errors == each.around == {}
        assert each.descriptors is None
    (alone,) = model.evaluate(mixed_structures[:1], properties=["gap"])
    assert alone.properties["gap"] == pytest.approx(values[0], abs=1e-6)


def test_a_kernel_stands_beside_energies(
    kernel_model: Path, mixed_structures: list[Atoms]
) -> None:
    model = load_model(kernel_model)
    both = model.evaluate(mixed_structures, energy=True, properties=["gap"])
    alone = model.evaluate(mixed_structures, properties=["gap"])
    energies = model.evaluate(mixed_structures, energy=True)
    for one, two, three in zip(both, alone, energies, strict=True):
        assert one.properties["gap"] == pytest.approx(two.properties["gap"], abs=1e-6)
        np.testing.assert_allclose(one.forces, three.forces, atol=1e-12)


def test_the_neural_head_can_be_asked_for(
    kernel_model: Path, tiny_model: Path, mixed_structures: list[Atoms]
) -> None:
    neural = load_model(kernel_model, neural=True)
    expected = load_model(tiny_model).evaluate(mixed_structures, properties=["gap"])
    found = neural.evaluate(mixed_structures, properties=["gap"])
    assert [p.properties for p in found] == [p.properties for p in expected]
    assert neural.sha256 != load_model(kernel_model).sha256


def test_a_kernel_without_a_neural_head_is_all_there_is(
    kernel_model: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(kernel_model)
    card = bundle.card.model_dump()
    card["properties"]["gap"]["head"] = None
    path = tmp_path / "bare.mft"
    write_bundle(
        path,
        ModelCard.model_validate(card),
        bundle.checkpoint,
        readouts=bundle.readouts,
    )
    assert load_model(path).evaluate(
        [bulk("MgO", "rocksalt", a=4.2)], properties=["gap"]
    )
    with pytest.raises(UnknownHeadError, match="no neural head for gap"):
        load_model(path, neural=True)


def test_a_kernel_whose_arrays_are_missing_is_refused(
    kernel_model: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(kernel_model)
    path = tmp_path / "cut.mft"
    write_bundle(path, bundle.card, bundle.checkpoint)
    with pytest.raises(ModelFileError, match=r"cut\.mft.*center is missing"):
        load_model(path)
