"""Real, very short trainings with deepmd-kit's own trainer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from ase.build import bulk
from ase.io import read, write
from click.testing import CliRunner

from mftscreen import load_model
from mftscreen.cli import main
from mftscreen.errors import ConfigError, DataError, ModelError, TrainingError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.reading import read_state
from mftscreen.ood.reference.reference_set import reference_arrays
from mftscreen.testing import check_model

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
    descriptor = yaml.safe_load((folder / "scratch.yaml").read_text())["descriptor"]
    with pytest.raises(TrainingError, match=r"log: .*train\.log"):
        tune("fails", "scratch", descriptor={**descriptor, "angle_cutoff": 9.0})


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
