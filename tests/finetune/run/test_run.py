"""Real, very short trainings with deepmd-kit's own trainer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from click.testing import CliRunner

from mftscreen import Predictor, load_model
from mftscreen.cli import main
from mftscreen.errors import (
    ConfigError,
    DataError,
    ModelError,
    TrainingError,
    UnknownHeadError,
)
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.task.task import load_task
from mftscreen.finetune.trainer.balance import Combination
from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.ood.reference.reference_set import reference_arrays
from mftscreen.testing import check_model
from mftscreen.trust.intervals import IntervalCalibration

pytestmark = pytest.mark.slow


def _descriptor(path: Path, head: str) -> dict[str, torch.Tensor]:
    prefix = f"model.{head}.atomic_model.descriptor."
    return {
        key.removeprefix(prefix): value
        for key, value in read_state(read_bundle(path).checkpoint).items()
        # the statistics' length is padding, which follows the data
        if key.startswith(prefix) and not key.endswith((".mean", ".stddev"))
    }


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


def test_pretrained_force_field_works(pretrained: Path) -> None:
    model = load_model(pretrained)
    assert model.has_energy
    assert model.card.force_field["first"]["validation"]["force_mae"] > 0
    check_model(model, [bulk("MgO", "rocksalt", a=4.3), bulk("Si", cubic=True)])


def test_a_pretraining_ends_with_its_errors(folder: Path, pretrained: Path) -> None:
    arguments = [folder / "pretrained.yaml", "-o", pretrained.parent, "--resume", "-q"]
    done = CliRunner().invoke(main, ["finetune", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    force_field = read_bundle(pretrained).card.force_field
    assert force_field.keys() == {"first", "second"}
    lines = done.stdout.splitlines()
    for heading, validation, (head, found) in zip(
        lines[::2], lines[1::2], force_field.items(), strict=False
    ):
        title = f"{head}, MAE n force, eV/Å energy, eV/atom"
        assert " ".join(heading.split()) == title
        errors = found["validation"]
        numbers = [f"{errors[key]:.4g}" for key in ("n", "force_mae", "energy_mae")]
        assert validation.split() == ["validation", *numbers]
    assert lines[4:] == [str(pretrained)]


AUXILIARY = {"head": "first", "data": ["crystals.extxyz"], "batch_size": 16}


def test_mft_keeps_the_force_field_and_changes_the_descriptor(
    tune: Callable[..., Path], pretrained: Path
) -> None:
    path = tune("mft", "mft", pretrained=str(pretrained), auxiliary=AUXILIARY)
    model = load_model(path)
    assert model.has_energy
    assert set(model.properties) == {"softness"}
    head = model.card.properties["softness"]
    assert set(head.metrics) == {"validation", "held out"}
    assert head.metrics["held out"]["mae"] > 0
    assert head.elements == ["O", "Mg", "Si"]
    assert reference_arrays(model.reference, "softness")["shape"][0] == head.n_train
    assert not _equal(_descriptor(path, "softness"), _descriptor(pretrained, "first"))
    check_model(model, [bulk("MgO", "rocksalt", a=4.3), bulk("Si", cubic=True)])


def test_lp_leaves_the_descriptor_and_ft_changes_it(
    tune: Callable[..., Path], pretrained: Path, fine_tuned: Path
) -> None:
    before = _descriptor(pretrained, "first")
    probed = tune("lp", "lp", pretrained=str(pretrained))
    for path, frozen in ((probed, True), (fine_tuned, False)):
        assert _equal(_descriptor(path, "softness"), before) == frozen
        assert not load_model(path).has_energy
        curve = json.loads(path.with_name("validation.json").read_text())
        assert all((row["drift"] < 1e-6) == frozen for row in curve.values())


def test_scratch_needs_nothing_pretrained(from_scratch: Path) -> None:
    assert load_model(from_scratch).properties["softness"].intensive


def test_missing_auxiliary_head_is_named(
    tune: Callable[..., Path], pretrained: Path
) -> None:
    auxiliary = {**AUXILIARY, "head": "third"}
    with pytest.raises(ModelError, match=r"no head 'third'; the heads are: first, sec"):
        tune("wrong-head", "mft", pretrained=str(pretrained), auxiliary=auxiliary)


def test_no_head_can_have_a_name_that_torch_uses(tune: Callable[..., Path]) -> None:
    properties = {"values": {"column": "softness"}}
    with pytest.raises(ConfigError, match="no head can be called 'values'"):
        tune("reserved", "scratch", properties=properties)


def test_bad_label_is_named_before_training(
    folder: Path, tune: Callable[..., Path]
) -> None:
    atoms = bulk("Si")
    atoms.info = {"name": "bad-row", "softness": float("nan")}
    write(folder / "bad.extxyz", [bulk("Si"), atoms])
    with pytest.raises(DataError, match="2 rows cannot be used") as caught:
        tune("bad-label", "scratch", data={"train": ["bad.extxyz"]})
    assert "row bad.extxyz#0: no finite label 'softness'" in str(caught.value)
    assert "row bad-row: no finite label 'softness'" in str(caught.value)


TWO = {"softness": {"label": "softness"}, "gap": {"label": "band gap"}}


def test_property_without_labels_is_named_before_training(
    tune: Callable[..., Path],
) -> None:
    with pytest.raises(DataError, match="'gap'"):
        tune("no-label", "scratch", properties=TWO)


def test_property_with_too_few_labels_to_validate_says_what_to_do(
    folder: Path, tune: Callable[..., Path]
) -> None:
    labelled, *others = read(folder / "crystals.extxyz", ":")
    labelled.info["gap"] = 1.0
    write(folder / "rare.extxyz", [labelled, *others])
    data = {"train": ["rare.extxyz"]}
    with pytest.raises(DataError, match=r"no validation row .* in data\.validation"):
        tune("rare-label", "scratch", properties=TWO, data=data)


def test_trainer_failure_shows_the_log(
    folder: Path, tune: Callable[..., Path], from_scratch: Path
) -> None:
    # the trainer cannot write there
    (folder / "fails" / "gradients.jsonl").mkdir(parents=True)
    with pytest.raises(TrainingError, match=r"log: .*train\.log"):
        tune("fails", "scratch")


@pytest.mark.parametrize("name", ["config.yaml", "data", "input.json"])
def test_a_folder_with_files_of_somebody_is_left_alone(
    folder: Path, tune: Callable[..., Path], name: str
) -> None:
    own = folder / f"own-{name}" / name
    if name == "data":
        own = own / "softness" / "train" / "labels.extxyz"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(ConfigError, match=f"has {name}, and no data.sha256"):
        tune(f"own-{name}", "scratch")
    assert own.read_text() == "mine"


def test_changed_data_are_noticed(
    folder: Path, from_scratch: Path, tmp_path: Path
) -> None:
    """As data that change are: of the same configuration, in the same place."""
    run = shutil.copytree(from_scratch.parent, tmp_path / "run")
    for name in ("crystals.extxyz", "test.extxyz"):
        shutil.copy(folder / name, tmp_path)
    text = (folder / "scratch.yaml").read_text()
    (tmp_path / "scratch.yaml").write_text(text)
    written = run / "config.yaml"
    written.write_text(written.read_text().replace(str(folder), str(tmp_path)))
    config = load_config(tmp_path / "scratch.yaml")
    assert run_training(config, run, resume=True) == run / "model.mft"
    shutil.copy(folder / "test.extxyz", tmp_path / "crystals.extxyz")
    with pytest.raises(ConfigError, match="have changed since"):
        run_training(config, run, resume=True)


def test_resume_refuses_another_configuration(folder: Path, fine_tuned: Path) -> None:
    config = load_config(folder / "ft.yaml")
    training = config.training.model_copy(update={"steps": 13})
    changed = config.model_copy(update={"training": training})
    with pytest.raises(ConfigError, match="differs"):
        run_training(changed, fine_tuned.parent, resume=True)


def test_resume_fills_in_what_has_a_default(
    folder: Path, fine_tuned: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(fine_tuned.parent, tmp_path / "run")
    written = run / "config.yaml"
    settings = yaml.safe_load(written.read_text())
    del settings["training"]["optimizer"]
    written.write_text(yaml.safe_dump(settings))  # with its keys in another order
    config = load_config(folder / "ft.yaml")
    assert run_training(config, run, resume=True) == run / "model.mft"


def test_pretraining_has_no_collapse_report(folder: Path, pretrained: Path) -> None:
    config = load_config(folder / "pretrained.yaml")
    with pytest.raises(ConfigError, match="no collapse report"):
        run_training(config, folder / "none", collapse_against="mft-mini-crystals")


def test_every_property_has_a_head_of_its_own(
    model_file: Path, clusters: list[Atoms]
) -> None:
    model = load_model(model_file)
    assert {n: s.head for n, s in model.properties.items()} == {
        "gap": "intensive", "modulus": "intensive", "alpha": "extensive",
        "extent": "r2", "mu": "dipole_norm",
    }  # fmt: skip
    (prediction,) = model.evaluate(clusters[:1], properties=list(model.properties))
    assert len(set(prediction.properties.values())) == 5


def test_rows_without_a_label_are_left_out_of_that_head_only(
    bundle: Bundle, clusters: list[Atoms]
) -> None:
    counts = {
        name: head.n_train + int(head.metrics["validation"]["n"])
        for name, head in bundle.card.properties.items()
    }
    assert counts.pop("gap") == sum("gap" in atoms.info for atoms in clusters[:40])
    assert set(counts.values()) == {40}
    calibrated = IntervalCalibration.from_arrays(bundle.calibration, "gap")
    assert not {f"cluster-{n}" for n in range(0, 40, 3)} & set(calibrated.ids)


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


def test_properties_share_batches_if_they_have_labels_of_the_same_rows(
    model_file: Path,
) -> None:
    shared = Combination.read(model_file.parent).shared
    assert {frozenset(group) for group in shared} == {
        frozenset({"gap"}),  # some rows have none
        frozenset({"modulus", "alpha", "extent", "mu"}),
    }
    document = json.loads((model_file.parent / "input.json").read_text())
    shares = document["training"]["model_prob"]
    assert shares["gap"] == 0.2
    assert sorted(shares.values()) == [0.0, 0.0, 0.0, 0.2, 0.8]


def test_transforms_are_undone_everywhere(
    model_file: Path, bundle: Bundle, clusters: list[Atoms]
) -> None:
    gap = bundle.card.properties["gap"]
    targets = bundle.calibration["gap/training_targets"]
    assert gap.spec.transform.mean == pytest.approx(targets.mean(), rel=1e-6)
    assert gap.spec.transform.std == pytest.approx(targets.std(), rel=1e-4)
    tests = clusters[40:]
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


def test_criterion_is_the_mean_share_of_the_dummys_error(bundle: Bundle) -> None:
    validation = bundle.card.provenance["validation"]
    shares = []
    for name, head in bundle.card.properties.items():
        metrics = head.metrics["validation"]
        assert validation[f"{name}/mae"] == pytest.approx(metrics["mae"])
        shares.append(metrics["mae"] / metrics["mae_of_training_mean"])
    assert validation["criterion"] == pytest.approx(np.mean(shares))


def test_known_weights_of_the_spatial_extent_are_found(bundle: Bundle) -> None:
    metrics = bundle.card.properties["extent"].metrics["held out"]
    assert metrics["mae"] < 0.05 * metrics["mae_of_training_mean"]


def test_bias_is_that_of_eq_17(bundle: Bundle, folder: Path) -> None:
    """Against the linear system of Eq. 17, solved here from the training rows."""
    state = read_state(bundle.checkpoint)
    type_map = model_parameters(state)["alpha"]["type_map"]
    task = load_task(load_config(folder / "several.yaml"))
    for name in ("alpha", "gap"):
        rows = task.targets([name], "train")
        symbols = [list(row.atoms.symbols) for row in rows]
        counts = np.array([[s.count(z) for z in type_map] for s in symbols], float)
        targets = np.array([row.labels[name].item() for row in rows])
        right = targets * counts.sum(axis=1) if name == "gap" else targets
        expected = np.linalg.lstsq(counts, right)[0]
        found = state[f"model.{name}.atomic_model.out_bias"][0, :, 0]
        np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-6)


def test_heads_share_a_descriptor_that_has_changed(
    model_file: Path, bundle: Bundle, pretrained: Path
) -> None:
    first, *others = (_descriptor(model_file, name) for name in bundle.card.properties)
    assert others
    assert all(_equal(first, other) for other in others)
    assert not _equal(first, _descriptor(pretrained, "first"))


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
