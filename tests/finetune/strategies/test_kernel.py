"""``strategy: kernel`` from a configuration to a model that predicts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from click.testing import CliRunner

from mftscreen import MFTCalculator, load_model, rank
from mftscreen.cli import main
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.read import as_config, load_config
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


def test_other_tests_are_measured(
    write_config: Callable[..., Path], pretrained: Path, folder: Path, tmp_path: Path
) -> None:
    rows = read(folder / "test.extxyz", ":")
    write(tmp_path / "test.extxyz", rows)
    data = {
        "train": ["crystals.extxyz"],
        "test": {"new": str(tmp_path / "test.extxyz")},
    }
    path = write_config(
        "measured", "kernel", training=None, pretrained=str(pretrained), data=data
    )
    config, errors = load_config(path), []
    for _ in range(2):
        model = run_training(config, tmp_path / "run", resume=True)
        metrics = read_bundle(model).card.properties["softness"].metrics
        errors.append(metrics["new"]["mae"])
        for atoms in rows:
            atoms.info["softness"] += 10.0
        write(tmp_path / "test.extxyz", rows)
    assert errors[1] > errors[0] + 5.0


@pytest.fixture(scope="module")
def several(pretrained: Path, sevennet_file: Path) -> list[str]:
    """Two models of different kinds."""
    return [str(pretrained), str(sevennet_file)]


@pytest.fixture(scope="module")
def both(tune: Callable[..., Path], several: list[str]) -> Path:
    """A model with the descriptors of both."""
    return tune("side-by-side", "kernel", training=None, pretrained=several)


def test_one_file_has_several_descriptors(
    both: Path, kernel: Path, several: list[str], folder: Path
) -> None:
    bundle = read_bundle(both)
    found, citation = bundle.card.descriptors[1], "somebody"
    assert [own.name for own in bundle.card.descriptors] == ["pretrained", "7net-small"]
    assert (found.licence, found.citation) == ("MIT", citation)
    assert list(bundle.further) == ["descriptor-2.pt"]
    assert bundle.card.provenance["config"]["pretrained"] == [
        Path(name).name for name in several
    ]
    shown = CliRunner().invoke(main, ["models", "show", str(both)]).stdout
    assert "7net-small" in shown
    assert citation in shown
    alone = read_bundle(kernel)
    assert bundle.checkpoint == alone.checkpoint
    assert [own.name for own in alone.card.descriptors] == ["pretrained"]
    model = load_model(both)
    check_model(model, read(folder / "test.extxyz", ":3"))
    assert model.network.width > load_model(kernel).network.width


def test_the_file_predicts_what_the_fit_did(both: Path, folder: Path) -> None:
    arguments = ["predict", str(folder / "test.extxyz"), "-m", str(both)]
    result = CliRunner().invoke(main, arguments)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    with (both.parent / "predictions.csv").open() as stream:
        fitted = [row for row in csv.DictReader(stream) if row["part"] == "held out"]
    assert len(rows) == len(fitted) == 10
    for row, expected in zip(rows, fitted, strict=True):
        assert float(row["softness"]) == pytest.approx(
            float(expected["prediction"]), rel=1e-5
        )


def test_it_is_screened_with_alone_and_in_an_ensemble(
    both: Path, kernel: Path, folder: Path
) -> None:
    crystals = read(folder / "test.extxyz", ":4")
    candidates = [*crystals, bulk("Fe")]
    models: Any = ([both], [kernel], [both, kernel])
    found = [
        rank(candidates, goals="softness", models=own, check_domain=False).rows
        for own in models
    ]
    values = [
        {row.id: row.values["softness"] for row in rows if row.status == "ok"}
        for rows in found
    ]
    for key, value in values[2].items():
        mean = (values[0][key] + values[1][key]) / 2
        assert value == pytest.approx(mean, rel=1e-6)
    assert [len(own) for own in values] == [4, 4, 4]
    for row in (row for row in found[0] if row.status == "ok"):
        assert row.errors["softness"] > 0
        assert row.around["softness"].distance > 0
    (failed,) = (row for row in found[0] if row.status != "ok")
    assert "Fe, which the model does not know" in failed.reason


def test_the_force_field_of_the_first_goes_with_torch_sim(
    both: Path, pretrained: Path, folder: Path
) -> None:
    torch_sim = pytest.importorskip("torch_sim", reason="needs torch-sim")
    from mftscreen.torch_sim import TorchSimModel

    crystals = read(folder / "test.extxyz", ":3")
    energies = []
    for path in (both, pretrained):
        model = TorchSimModel(path)
        state = torch_sim.initialize_state(crystals, model.device, model.dtype)
        energies.append(model(state)["energy"].numpy())
    np.testing.assert_array_equal(*energies)


def test_a_run_goes_on_with_the_same_models_only(
    both: Path, write_config: Callable[..., Path], several: list[str]
) -> None:
    path = write_config("side-by-side", "kernel", training=None, pretrained=several)
    assert run_training(load_config(path), both.parent, resume=True) == both
    digests = both.with_name("pretrained.sha256")
    before = digests.read_text()
    first, second = before.split()
    digests.write_text(f"{first}\n{'0' * len(second)}")
    with pytest.raises(ConfigError, match="from another pretrained model"):
        run_training(load_config(path), both.parent, resume=True)
    digests.write_text(before)


def test_rows_have_elements_that_all_models_know(
    tmp_path: Path, several: list[str], write_config: Callable[..., Path]
) -> None:
    rows = [bulk("MgO", "rocksalt", a=4.2), Atoms("Ga", cell=[3] * 3, pbc=True)]
    for atoms in rows:
        atoms.info["softness"] = 1.0
    document = {
        "strategy": "kernel", "name": "unknown", "pretrained": several,
        "properties": {"softness": {}}, "data": {"train": rows},
    }  # fmt: skip
    with pytest.raises(DataError, match="Ga, which the model does not know"):
        run_training(as_config(document), tmp_path / "run")


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
