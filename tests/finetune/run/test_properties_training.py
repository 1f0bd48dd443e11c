"""Short real trainings of several properties with all kinds of heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from mftscreen import Predictor, load_model
from mftscreen.errors import ConfigError, UnknownHeadError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.task.task import load_task
from mftscreen.finetune.trainer.balance import Combination
from mftscreen.intervals import IntervalCalibration
from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state

WEIGHTS = {"O": 2.0, "Si": 5.0, "Mg": 9.0}
CHARGES = {"O": -1.0, "Si": 2.0, "Mg": 0.5}
PROPERTIES = {
    "gap": {"label": "gap", "unit": "eV", "transform": "standardise"},
    "modulus": {"label": "modulus", "unit": "GPa", "transform": "log10"},
    "alpha": {"label": "polarizability", "head": "extensive", "loss": "mse"},
    "extent": {"label": "spatial extent", "unit": "Å^2", "head": "r2"},
    "mu": {"label": "dipole moment", "head": "dipole_norm"},
}


def _cluster(number: int) -> Atoms:
    """Return a cluster with labels by closed forms; every third has no gap."""
    rng = np.random.default_rng(number)
    symbols = rng.choice(list(WEIGHTS), size=3 + number % 2)
    corners = np.array([[0, 0, 0], [1.8, 0, 0], [0, 1.8, 0], [0, 0, 1.8]])
    positions = corners[: len(symbols)] + rng.normal(scale=0.1, size=(len(symbols), 3))
    atoms = Atoms("".join(symbols), positions)
    relative = positions - atoms.get_center_of_mass()
    weights, charges = (np.array([w[s] for s in symbols]) for w in (WEIGHTS, CHARGES))
    size = atoms.get_all_distances().mean()  # what the elements alone do not tell
    atoms.info = {
        "name": f"cluster-{number}",
        "modulus": 10.0 ** float(charges.mean() + 0.1 * size),
        "alpha": float(weights.sum() + size),
        "extent": float(weights @ (relative**2).sum(axis=1) + 0.1 * size),
        "mu": float(np.linalg.norm(charges @ relative)),
    }
    if number % 3:
        atoms.info["gap"] = 100.0 + float(weights.mean() + size)
    return atoms


@pytest.fixture(scope="module")
def clusters(folder: Path) -> list[Atoms]:
    clusters = [_cluster(number) for number in range(48)]
    write(folder / "clusters.extxyz", clusters[:40])
    write(folder / "clusters-test.extxyz", clusters[40:])
    return clusters


@pytest.fixture(scope="module")
def settings(clusters: list[Atoms]) -> dict[str, object]:
    return {
        "properties": {
            name: {**settings, "neurons": [8, 8]}
            for name, settings in PROPERTIES.items()
        },
        "data": {
            "train": ["clusters.extxyz"],
            "test": {"held out": "clusters-test.extxyz"},
            "validation_fraction": 0.2,
        },
    }


@pytest.fixture(scope="module")
def model_file(
    tune: Callable[..., Path], pretrained: Path, settings: dict[str, object]
) -> Path:
    training = {"steps": 40, "save_every": 20, "batch_size": 16}
    return tune(
        "several", "ft", pretrained=str(pretrained), training=training, **settings
    )


@pytest.fixture(scope="module")
def bundle(model_file: Path) -> Bundle:
    return read_bundle(model_file)


@pytest.mark.slow
def test_every_property_has_a_head_of_its_own(
    model_file: Path, clusters: list[Atoms]
) -> None:
    model = load_model(model_file)
    assert {n: s.head for n, s in model.properties.items()} == {
        "gap": "intensive", "modulus": "intensive", "alpha": "extensive",
        "extent": "r2", "mu": "dipole_norm",
    }  # fmt: skip
    (prediction,) = model.evaluate(clusters[:1], properties=list(PROPERTIES))
    assert len(set(prediction.properties.values())) == len(PROPERTIES)


@pytest.mark.slow
def test_rows_without_a_label_are_left_out_of_that_head_only(bundle: Bundle) -> None:
    counts = {
        name: head.n_train + int(head.metrics["validation"]["n"])
        for name, head in bundle.card.properties.items()
    }
    assert counts.pop("gap") == sum(1 for number in range(40) if number % 3)
    assert set(counts.values()) == {40}
    calibrated = IntervalCalibration.from_arrays(bundle.calibration, "gap")
    assert not {f"cluster-{n}" for n in range(0, 40, 3)} & set(calibrated.ids)


@pytest.mark.slow
def test_training_targets_and_residuals_are_in_the_unit_of_the_property(
    bundle: Bundle, clusters: list[Atoms]
) -> None:
    for name, head in bundle.card.properties.items():
        targets = bundle.calibration[f"{name}/training_targets"]
        assert targets.dtype == np.float32
        assert len(targets) == head.n_train
        low, high = head.train_range
        assert (targets.min(), targets.max()) == pytest.approx((low, high), rel=1e-6)
        labels = {a.info["name"]: a.info.get(name) for a in clusters}
        rows = IntervalCalibration.from_arrays(bundle.calibration, name)
        expected = [labels[row] for row in rows.ids]
        assert rows.predictions + rows.residuals == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_properties_share_batches_if_they_have_labels_of_the_same_rows(
    model_file: Path,
) -> None:
    shared = Combination.read(model_file.parent).shared
    assert {frozenset(group) for group in shared} == {
        frozenset({"gap"}),  # some rows have none
        frozenset(PROPERTIES) - {"gap"},
    }
    document = json.loads((model_file.parent / "input.json").read_text())
    shares = document["training"]["model_prob"]
    assert shares["gap"] == 0.2
    assert sorted(shares.values()) == [0.0, 0.0, 0.0, 0.2, 0.8]


@pytest.mark.slow
def test_transforms_are_undone_everywhere(model_file: Path, bundle: Bundle) -> None:
    gap = bundle.card.properties["gap"]
    targets = bundle.calibration["gap/training_targets"]
    assert gap.spec.transform.mean == pytest.approx(targets.mean(), rel=1e-6)
    assert gap.spec.transform.std == pytest.approx(targets.std(), rel=1e-4)
    tests = [_cluster(number) for number in range(40, 48)]
    rows = list(Predictor(model_file)(tests))
    # before it is undone a standardised gap is about 0 and a log of a modulus may be
    # negative; labels are above 100 and positive
    assert all(row.properties["gap"] > 90 for row in rows)
    assert all(row.properties["modulus"] > 0 for row in rows)
    for name, head in bundle.card.properties.items():
        errors = [
            abs(row.properties[name] - atoms.info[name])
            for row, atoms in zip(rows, tests, strict=True)
            if name in atoms.info
        ]
        metrics = head.metrics["held out"]
        assert metrics["mae"] == pytest.approx(np.mean(errors), rel=1e-4)


@pytest.mark.slow
def test_criterion_is_the_mean_share_of_the_dummys_error(bundle: Bundle) -> None:
    validation = bundle.card.provenance["validation"]
    shares = []
    for name, head in bundle.card.properties.items():
        metrics = head.metrics["validation"]
        assert validation[f"{name}/mae"] == pytest.approx(metrics["mae"])
        shares.append(metrics["mae"] / metrics["mae_of_training_mean"])
    assert validation["criterion"] == pytest.approx(np.mean(shares))


@pytest.mark.slow
def test_known_weights_of_the_spatial_extent_are_found(bundle: Bundle) -> None:
    metrics = bundle.card.properties["extent"].metrics["held out"]
    assert metrics["mae"] < 0.05 * metrics["mae_of_training_mean"]


@pytest.mark.slow
def test_bias_is_that_of_eq_17(bundle: Bundle, folder: Path) -> None:
    """Against the linear system of Eq. 17, solved here from the training rows."""
    state = read_state(bundle.checkpoint)
    type_map = model_parameters(state)["alpha"]["type_map"]
    task = load_task(load_config(folder / "several.yaml"))
    for name in ("alpha", "gap"):
        rows = task.targets([name], "train")
        symbols = [list(row.atoms.symbols) for row in rows]
        counts = np.array([[s.count(z) for z in type_map] for s in symbols], float)
        targets = np.array([float(row.labels[name]) for row in rows])
        right = targets * counts.sum(axis=1) if name == "gap" else targets
        expected = np.linalg.lstsq(counts, right)[0]
        found = state[f"model.{name}.atomic_model.out_bias"][0, :, 0]
        np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-6)


def _descriptor(state: dict[str, torch.Tensor], head: str) -> dict[str, torch.Tensor]:
    prefix = f"model.{head}.atomic_model.descriptor."
    return {
        key.removeprefix(prefix): value
        for key, value in state.items()
        # the statistics' length is padding, which follows the data
        if key.startswith(prefix) and not key.endswith((".mean", ".stddev"))
    }


@pytest.mark.slow
def test_heads_share_a_descriptor_that_has_changed(
    bundle: Bundle, pretrained: Path
) -> None:
    state = read_state(bundle.checkpoint)
    before = _descriptor(read_state(read_bundle(pretrained).checkpoint), "first")
    first, *others = (_descriptor(state, name) for name in PROPERTIES)
    for other in others:
        assert all(torch.equal(first[key], other[key]) for key in before)
    assert not all(torch.equal(first[key], before[key]) for key in before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "head"), [(True, True), (True, False), (False, False)]
)
def test_weights_start_as_in_eq_12_and_its_ablations(
    tune: Callable[..., Path], pretrained: Path, backbone: bool, head: bool
) -> None:
    path = tune(
        f"transfer-{backbone}-{head}",
        "mft",
        pretrained=str(pretrained),
        # more heads than the one-hot of data sets is long
        properties={
            name: {"label": name, "neurons": [8, 8], "column": "softness"}
            for name in ("a", "b")
        },
        auxiliary={
            "head": "second",  # not the first of its heads
            "data": ["crystals.extxyz"],
            "batch_size": 16,
            "combine": "joint",
        },
        transfer_head=head,
        transfer_backbone=backbone,
        training={
            "steps": 1, "save_every": 1, "batch_size": 16,
            # the weights stay where they start
            "learning_rate": [1e-9, 1e-9],
            # the seed of the pretraining would draw the same weights
            "seed": 5,
        },
    )  # fmt: skip
    state = read_state(read_bundle(path).checkpoint)
    before = read_state(read_bundle(pretrained).checkpoint)
    for part, transferred in (("descriptor", backbone), ("fitting_net", head)):
        prefix = f"model.second.atomic_model.{part}."
        keys = [k for k in before if k.startswith(prefix) and k.endswith(".matrix")]
        # random heads have a longer one-hot, which their first weights read last
        difference = max(
            float((state[k][: len(before[k])] - before[k]).abs().max()) for k in keys
        )
        assert difference < 1e-6 if transferred else difference > 0.1


@pytest.mark.slow
def test_a_training_goes_on_with_the_heads_of_its_properties(
    tune: Callable[..., Path], pretrained: Path
) -> None:
    properties = {
        name: {"label": name, "neurons": [8, 8], "column": column}
        for name, column in (("a", "softness"), ("b", "bulkiness"))
    }
    auxiliary = {"head": "second", "data": ["crystals.extxyz"], "batch_size": 16}
    common = {"properties": properties, "auxiliary": auxiliary}
    first = tune("goes-on-1", "mft", pretrained=str(pretrained), **common)
    # more heads than the one-hot of data sets is long
    assert len(model_parameters(read_state(read_bundle(first).checkpoint))) == 3
    training = {"steps": 1, "save_every": 1, "batch_size": 16, "seed": 5}
    training["learning_rate"] = [1e-9, 1e-9]  # the weights stay where they start
    common |= {"training": training, "pretrained": str(first)}
    second = tune("goes-on-2", "mft", transfer_properties=True, **common)
    before, after = (read_state(read_bundle(p).checkpoint) for p in (first, second))
    assert before.keys() == after.keys()
    for key in before.keys() - {"_extra_state"}:
        torch.testing.assert_close(after[key], before[key], atol=1e-6, rtol=0)
    with pytest.raises(UnknownHeadError, match="transfer_properties: c"):
        tune(
            "goes-on-3", "mft", transfer_properties=True,
            **common | {"properties": {"c": properties["a"]}},
        )  # fmt: skip
    other = {"a": properties["a"] | {"neurons": [8, 9]}, "b": properties["b"]}
    with pytest.raises(
        ConfigError, match=r"a.neurons: .* neuron \[8, 8\], not \[8, 9\]"
    ):
        tune(
            "goes-on-4", "mft", transfer_properties=True,
            **common | {"properties": other},
        )  # fmt: skip
    other = {"a": properties["a"] | {"unit": "eV"}, "b": properties["b"]}
    with pytest.raises(ConfigError, match=r"a.unit: the head .* has 1, not eV"):
        tune(
            "goes-on-5", "mft", transfer_properties=True,
            **common | {"properties": other},
        )  # fmt: skip


@pytest.mark.slow
def test_card_says_which_bias_was_used(
    folder: Path, write_config: Callable[..., Path]
) -> None:
    atoms = Atoms("Cl2", [[0, 0, 0], [0, 0, 2.0]], info={"softness": 0.5, "name": "n"})
    write(folder / "new.extxyz", [atoms])
    data = {"train": ["crystals.extxyz"], "test": {"new": "new.extxyz"}}
    config = load_config(write_config("unseen", "scratch", data=data))
    path = run_training(config, folder / "unseen", threads=1)
    card = read_bundle(path).card
    assert config.properties["softness"].bias == "per_element"
    assert card.properties["softness"].bias == "global"
    assert card.provenance["config"]["properties"]["softness"]["bias"] == "global"
    # which did not change what the run is resumed with
    assert run_training(config, folder / "unseen", resume=True, threads=1) == path
