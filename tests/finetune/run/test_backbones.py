"""Every strategy on a backbone of another kind than DPA3. Real, tiny trainings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.io import read

from mftscreen import load_model
from mftscreen.errors import UnsupportedByBackboneError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.run.select import Selection
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state

TRAINING = {"steps": 6, "save_every": 3, "batch_size": 16}
AUXILIARY = {"head": "Default", "data": ["crystals.extxyz"], "batch_size": 16}
SELF_REPLAY = {
    "head": "Default", "self_replay": {"per_structure": 1}, "batch_size": 16,
    "combine": "joint", "lambda_reg": "auto", "loss": {"kind": "mae"},
}  # fmt: skip
SMALL = {
    "rcut": 4.0, "lmax": 1, "n_blocks": 2, "ffn_so3_grid": False, "grid_branch": 0,
    "so3_readout": "none", "message_node_so3": False,
}  # fmt: skip
SIZES = {
    "dpa4": {"type": "dpa4", "channels": 8, "n_radial": 6, "mixing_layers": 1, **SMALL},
    "sevennet": {
        "type": "sevennet", "cutoff": 4.0, "cutoff_on": None, "channels": [8, 4],
        "n_layers": 2, "radial_neurons": [8], "output_layers": [1],
    },
}  # fmt: skip
STRATEGIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ft": ("ft", {}),
    "lp": ("lp", {}),
    "mft": ("mft", {"auxiliary": AUXILIARY}),
    "self-replay": (
        "mft",
        {"auxiliary": SELF_REPLAY, "training": {**TRAINING, "layer_decay": 0.8}},
    ),
    "kernel": ("kernel", {"training": None}),
}


@pytest.fixture(scope="module")
def dpa4_backbone(
    build_dpa4: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("backbones") / "dpa4.pt"
    path.write_bytes(build_dpa4(**SMALL))
    return path


def _descriptor(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights of the first head's descriptor."""
    head = next(iter(model_parameters(state)))
    prefix = f"model.{head}.atomic_model.descriptor."
    found = {
        k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)
    }
    assert found
    return found


def _check_model(path: Path, folder: Path) -> None:
    """Check that a model file predicts what its strategy has trained."""
    model = load_model(path)
    atoms = read(folder / "test.extxyz", 0)
    names = list(model.properties)
    (found,) = model.evaluate([atoms], energy=model.has_energy, properties=names)
    assert names == ["softness"] or model.has_energy
    assert np.isfinite([found.properties[name] for name in names]).all()
    if model.has_energy:
        assert np.isfinite(found.forces).all()


@pytest.fixture(autouse=True)
def every_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the checkpoints that are neither the best nor the last."""
    monkeypatch.setattr(Selection, "_delete_superseded", lambda self: None)


@pytest.fixture
def backbone_of(dpa4_backbone: Path, sevennet_backbone: Path) -> Callable[[str], Path]:
    return {"dpa4": dpa4_backbone, "sevennet": sevennet_backbone}.__getitem__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("dpa4", name) for name in STRATEGIES),
        *(("sevennet", name) for name in ("ft", "lp", "self-replay")),
    ],
)
def test_each_strategy_fine_tunes_it(
    kind: str,
    name: str,
    tune: Callable[..., Path],
    folder: Path,
    backbone_of: Callable[[str], Path],
) -> None:
    backbone = backbone_of(kind)
    strategy, settings = STRATEGIES[name]
    settings = {"training": TRAINING, "pretrained": str(backbone), **settings}
    path = tune(f"{kind}-{name}", strategy, **settings)
    before = _descriptor(read_state(backbone))
    state = read_state(read_bundle(path).checkpoint)
    after = _descriptor(state)
    assert after.keys() == before.keys()
    same = {key for key in before if torch.equal(before[key], after[key])}
    trained = {key for key in before if before[key].is_floating_point()} - same
    assert bool(trained) == (name not in ("lp", "kernel"))
    # the order of elements is the pretrained one, whatever the data have
    pretrained = model_parameters(read_state(backbone))["Default"]
    origin = pretrained.get("info", {})
    assert bool(origin) == (kind == "sevennet")
    for head in model_parameters(state).values():
        assert list(head["type_map"]) == list(pretrained["type_map"])
        assert head.get("info", {}) == origin
    assert read_bundle(path).card.provenance.get("pretrained", {}) == origin
    _check_model(path, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "strategy"),
    [("dpa4", "scratch"), ("dpa4", "pretrain"), ("sevennet", "pretrain")],
)
def test_it_is_trained_from_random_weights(
    kind: str, strategy: str, tune: Callable[..., Path], folder: Path
) -> None:
    settings: dict[str, Any] = {"descriptor": SIZES[kind], "training": TRAINING}
    if strategy == "pretrain":
        branches = {name: {"data": ["crystals.extxyz"]} for name in ("first", "second")}
        settings |= {"branches": branches, "energy_head": "second"}
    path = tune(f"{kind}-{strategy}", strategy, **settings)
    (head, *_) = model_parameters(read_state(read_bundle(path).checkpoint)).values()
    assert head["descriptor"]["type"] == kind
    _check_model(path, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpa4", "sevennet"])
def test_it_resumes_as_if_it_had_never_stopped(
    kind: str,
    tune: Callable[..., Path],
    folder: Path,
    backbone_of: Callable[[str], Path],
) -> None:
    settings = {"training": TRAINING, "pretrained": str(backbone_of(kind))}
    whole = tune(f"{kind}-ft", "ft", **settings).parent
    half = folder / f"{kind}-half"
    shutil.copytree(whole, half)
    for name in ("model.mft", "model.ckpt-6.pt", "model.ckpt.pt", "train.log"):
        (half / name).unlink()
    config = load_config(folder / f"{kind}-ft.yaml")
    run_training(config, half, resume=True, threads=1)
    assert "Resuming from model.ckpt-3.pt" in (half / "train.log").read_text()
    ends = [read_state(run / "model.ckpt-6.pt") for run in (whole, half)]
    for key, value in ends[0].items():
        if key != "_extra_state":
            assert torch.equal(value, ends[1][key]), key


@pytest.mark.parametrize("kind", ["dpa4", "sevennet"])
def test_vectors_that_a_head_reads_are_refused_by_name(
    kind: str,
    write_config: Callable[..., Path],
    folder: Path,
    backbone_of: Callable[[str], Path],
) -> None:
    dipole = {"column": "softness", "head": "dipole_norm"}
    settings = {"properties": {"mu": dipole}, "pretrained": str(backbone_of(kind))}
    config = load_config(write_config(f"{kind}-dipole", "ft", **settings))
    with pytest.raises(
        UnsupportedByBackboneError, match=rf"{kind}.*vectors.*properties\.mu\.head"
    ):
        run_training(config, folder / f"{kind}-dipole")
    assert not (folder / f"{kind}-dipole").exists()
