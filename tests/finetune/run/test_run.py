"""Real, very short trainings with deepmd-kit's own trainer."""

from __future__ import annotations

import json
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


DESCRIPTOR = {
    "n_layers": 2, "n_dim": 8, "e_dim": 6, "a_dim": 4,
    "edge_cutoff": 4.0, "angle_cutoff": 3.0,
}  # fmt: skip


def _config(folder: Path, name: str, document: dict) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, **document}))
    return path


def _downstream(strategy: str, **extra: object) -> dict:
    return {
        "strategy": strategy,
        "properties": {"softness": {"label": "softness", "neurons": [8, 8]}},
        "data": {"train": ["crystals.extxyz"], "test": {"held out": "test.extxyz"}},
        "training": {"steps": 12, "save_every": 6, "batch_size": 16},
        **extra,
    }


def _run(folder: Path, name: str, document: dict) -> Path:
    config = _config(folder, name, document)
    return run_training(load_config(config), folder / name, threads=1)


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
    folder: Path, pretrained: Path
) -> None:
    document = _downstream("mft", pretrained=str(pretrained), auxiliary=AUXILIARY)
    path = _run(folder, "mft", document)
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
    folder: Path, pretrained: Path
) -> None:
    before = _descriptor(pretrained, "first")
    for strategy, frozen in (("lp", True), ("ft", False)):
        document = _downstream(strategy, pretrained=str(pretrained))
        path = _run(folder, strategy, document)
        assert _equal(_descriptor(path, "softness"), before) == frozen
        assert not load_model(path).has_energy
        curve = json.loads((folder / strategy / "validation.json").read_text())
        assert all((row["drift"] < 1e-6) == frozen for row in curve.values())


def test_scratch_needs_nothing_pretrained(folder: Path) -> None:
    path = _run(folder, "scratch", _downstream("scratch", descriptor=DESCRIPTOR))
    assert load_model(path).properties["softness"].intensive


def test_missing_auxiliary_head_is_named(folder: Path, pretrained: Path) -> None:
    document = _downstream(
        "mft", pretrained=str(pretrained), auxiliary={**AUXILIARY, "head": "third"}
    )
    with pytest.raises(ModelError, match=r"no head 'third'; the heads are: first, sec"):
        _run(folder, "wrong-head", document)


def test_no_head_can_have_a_name_that_torch_uses(folder: Path) -> None:
    properties = {"values": {"column": "softness"}}
    with pytest.raises(ConfigError, match="no head can be called 'values'"):
        _run(folder, "reserved", _downstream("scratch", properties=properties))


def test_bad_label_is_named_before_training(folder: Path) -> None:
    atoms = bulk("Si")
    atoms.info = {"name": "bad-row", "softness": float("nan")}
    write(folder / "bad.extxyz", [bulk("Si"), atoms])
    document = _downstream("scratch", data={"train": ["bad.extxyz"]})
    with pytest.raises(DataError, match="2 rows cannot be used") as caught:
        _run(folder, "bad-label", document)
    assert "row bad.extxyz#0: no finite label 'softness'" in str(caught.value)
    assert "row bad-row: no finite label 'softness'" in str(caught.value)


def test_property_without_labels_is_named_before_training(folder: Path) -> None:
    properties = {"softness": {"label": "softness"}, "gap": {"label": "band gap"}}
    document = _downstream("scratch", properties=properties)
    with pytest.raises(DataError, match="'gap'"):
        _run(folder, "no-label", document)


def test_property_with_too_few_labels_to_validate_says_what_to_do(
    folder: Path,
) -> None:
    labelled, *others = read(folder / "crystals.extxyz", ":")
    labelled.info["gap"] = 1.0
    write(folder / "rare.extxyz", [labelled, *others])
    document = _downstream(
        "scratch",
        properties={"softness": {"label": "softness"}, "gap": {"label": "band gap"}},
        data={"train": ["rare.extxyz"]},
    )
    with pytest.raises(DataError, match=r"no validation row .* in data\.validation"):
        _run(folder, "rare-label", document)


def test_trainer_failure_shows_the_log(folder: Path) -> None:
    document = _downstream("scratch", descriptor={**DESCRIPTOR, "angle_cutoff": 9.0})
    with pytest.raises(TrainingError, match=r"log: .*train\.log"):
        _run(folder, "fails", document)


def test_changed_data_are_noticed(folder: Path) -> None:
    document = _downstream("scratch", descriptor=DESCRIPTOR)
    document["data"]["train"] = ["copy.extxyz"]
    (folder / "copy.extxyz").write_text((folder / "crystals.extxyz").read_text())
    _run(folder, "copied", document)
    (folder / "copy.extxyz").write_text((folder / "test.extxyz").read_text())
    with pytest.raises(ConfigError, match="have changed since"):
        run_training(
            load_config(folder / "copied.yaml"), folder / "copied", resume=True
        )


def test_resume_refuses_another_configuration(folder: Path, pretrained: Path) -> None:
    document = _downstream("ft", pretrained=str(pretrained))
    _run(folder, "changed", document)
    document["training"]["steps"] = 13
    config = load_config(_config(folder, "changed", document))
    with pytest.raises(ConfigError, match="differs"):
        run_training(config, folder / "changed", resume=True)


def test_resume_fills_in_what_has_a_default(folder: Path, pretrained: Path) -> None:
    document = _downstream("ft", pretrained=str(pretrained))
    path = _run(folder, "older", document)
    written = folder / "older" / "config.yaml"
    settings = yaml.safe_load(written.read_text())
    del settings["training"]["optimizer"]
    written.write_text(yaml.safe_dump(settings))  # with its keys in another order
    config = load_config(_config(folder, "older", document))
    assert run_training(config, folder / "older", resume=True) == path


def test_pretraining_has_no_collapse_report(folder: Path) -> None:
    document = {
        "strategy": "pretrain",
        "branches": {"first": {"data": ["crystals.extxyz"]}},
        "energy_head": "first",
        "training": {"steps": 1},
    }
    config = load_config(_config(folder, "none", document))
    with pytest.raises(ConfigError, match="no collapse report"):
        run_training(config, folder / "none", collapse_against="mft-mini-crystals")
