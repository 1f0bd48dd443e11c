"""``strategy: kernel`` from a configuration to a model that predicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from mftscreen import MFTCalculator, load_model
from mftscreen.errors import ConfigError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.reading import read_state
from mftscreen.testing import check_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(tune: Callable[..., Path], pretrained: Path) -> Path:
    return tune("kernel", "kernel", training=None, pretrained=str(pretrained))


def test_the_card_says_what_was_fitted_to_all_rows(kernel: Path) -> None:
    card = read_bundle(kernel).card
    head = card.properties["softness"]
    assert (card.strategy, head.head, head.bias) == ("kernel", None, None)
    assert head.n_train == 30
    assert head.readout is not None
    assert head.readout.metrics["mae"] == head.metrics["validation"]["mae"]
    assert head.metrics["validation"]["n"] == 30
    assert head.metrics["held out"]["n"] == 10
    assert head.metrics["held out"]["mae_of_training_mean"] > 0


def test_test_errors_are_those_of_its_predictions(kernel: Path, folder: Path) -> None:
    model = load_model(kernel)
    atoms = read(folder / "test.extxyz", ":")
    predicted = model.evaluate(atoms, properties=["softness"])
    errors = [
        abs(each.properties["softness"] - float(a.info["softness"]))
        for each, a in zip(predicted, atoms, strict=True)
    ]
    metrics = read_bundle(kernel).card.properties["softness"].metrics["held out"]
    assert np.mean(errors) == pytest.approx(metrics["mae"], abs=1e-5)
    assert all(each.errors["softness"] > 0 for each in predicted)


def test_the_force_field_is_the_pretrained_one(
    kernel: Path, pretrained: Path, folder: Path
) -> None:
    atoms = read(folder / "test.extxyz", "0")
    forces = []
    for path in (kernel, pretrained):
        atoms.calc = MFTCalculator(path)
        forces.append(atoms.get_forces())
    np.testing.assert_array_equal(*forces)
    before, after = (
        read_state(read_bundle(p).checkpoint) for p in (pretrained, kernel)
    )
    assert all((after[k] == before[k]).all() for k in after if k != "_extra_state")


def test_it_keeps_the_contract_of_models(kernel: Path, folder: Path) -> None:
    check_model(load_model(kernel), read(folder / "test.extxyz", ":3"))


def test_a_run_is_not_overwritten_and_can_be_repeated(
    kernel: Path, write_config: Callable[..., Path], pretrained: Path
) -> None:
    path = write_config("kernel", "kernel", training=None, pretrained=str(pretrained))
    config = load_config(path)
    with pytest.raises(ConfigError, match="already holds a run"):
        run_training(config, kernel.parent)
    before = json.loads(read_bundle(kernel).card.model_dump_json())
    run_training(config, kernel.parent, resume=True)
    after = json.loads(read_bundle(kernel).card.model_dump_json())
    for card in (before, after):
        del card["properties"]["softness"]["readout"]["seconds"]
    assert after == before


def test_it_is_derived_from_mft(
    write_config: Callable[..., Path], pretrained: Path
) -> None:
    from mftscreen.finetune.config.derive import derive_config

    auxiliary = {"head": "first", "data": ["crystals.extxyz"]}
    path = write_config(
        "as-mft", "mft", pretrained=str(pretrained), auxiliary=auxiliary
    )
    derived = derive_config(load_config(path), "kernel")
    assert derived.strategy == "kernel"
    assert not derived.plan.trains
    assert derived.plan.pretrained == str(pretrained)


def test_keys_of_trainings_are_refused(
    write_config: Callable[..., Path], pretrained: Path
) -> None:
    path = write_config("steps", "kernel", pretrained=str(pretrained))
    with pytest.raises(ConfigError, match="training"):
        load_config(path)
