"""The checks find a kind of backbones that breaks a rule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from deepmd.pt.model.descriptor.dpa3 import DescrptDPA3

from mftscreen.model.backbones.dpa3 import DPA3
from mftscreen.model.files.checkpoint import keep_heads
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork, Evaluation
from mftscreen.testing import backbones, check_backbone

build_models, save_state = backbones.build_models, backbones.save_state
evaluate = DeepmdNetwork.evaluate


@pytest.fixture(scope="module")
def path(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DPA3 with one energy head."""
    path = tmp_path_factory.mktemp("backbones") / "one.pt"
    path.write_bytes(
        save_state(keep_heads(read_state(checkpoint), {"oxides": "oxides"}))
    )
    return path


@pytest.mark.slow
def test_a_sound_backbone_passes(path: Path) -> None:
    check_backbone(path)


@pytest.mark.slow
def test_a_kind_that_refuses_another_order_of_elements_passes(
    dpa4_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "dpa4.pt"
    heads = {"oxides": "oxides"}
    path.write_bytes(save_state(keep_heads(read_state(dpa4_checkpoint), heads)))
    check_backbone(path)


@pytest.mark.slow
def test_models_are_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = DPA3.features

    def moved(self: DPA3, descriptor: Any, batch: Any, conditions: Any) -> Any:
        nodes, vectors = features(self, descriptor, batch, conditions)
        heights = batch.coordinates[:, : nodes.shape[1], :1]
        return nodes + 0.1 * heights, vectors

    monkeypatch.setattr(DPA3, "features", moved)
    monkeypatch.setattr(DPA3, "inference", lambda *_: None)
    with pytest.raises(AssertionError, match="supercell: energy is"):
        check_backbone(path)


def _features(
    change: Callable[[Sequence[Atoms], Atoms], Any],
) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what adds something to features that are found without gradients."""

    def changed(
        self: DeepmdNetwork, structures: Sequence[Atoms], **options: Any
    ) -> list[Evaluation]:
        found = evaluate(self, structures, **options)
        if options.get("derivatives", True):
            return found
        return [
            replace(one, descriptors=one.descriptors + 1e-3 * change(structures, atoms))
            for atoms, one in zip(structures, found, strict=True)
        ]

    return lambda patch: patch.setattr(DeepmdNetwork, "evaluate", changed)


def _weights(patch: pytest.MonkeyPatch) -> None:
    fit_state = DPA3.fit_state

    def scale(self: DPA3, state: Any, parameters: Any) -> Any:
        return {
            name: value * 1.01 if name.endswith("node_self_mlp.matrix") else value
            for name, value in fit_state(self, state, parameters).items()
        }

    patch.setattr(DPA3, "fit_state", scale)


def _file(patch: pytest.MonkeyPatch) -> None:
    def rounded(state: Any) -> bytes:
        return save_state({
            name: value.half().to(value.dtype) if torch.is_tensor(value)
            and value.is_floating_point() else value
            for name, value in state.items()
        })  # fmt: skip

    patch.setattr(backbones, "save_state", rounded)


def _elements(patch: pytest.MonkeyPatch) -> None:
    def forget(self: DescrptDPA3, type_map: list[str], *_: Any, **__: Any) -> None:
        self.type_map = type_map

    patch.setattr(DescrptDPA3, "change_type_map", forget)


def _built(change: Callable[[Any], None], *, frozen: bool) -> Any:
    """Return what changes models that are built to be trained, or the others."""

    def build(*arguments: Any, **options: Any) -> Any:
        models = build_models(*arguments, **options)
        if options.get("frozen", True) is frozen:
            for model in models.values():
                change(model)
        return models

    return lambda patch: patch.setattr(backbones, "build_models", build)


def _detach(model: Any) -> None:
    descriptor = model.get_descriptor()
    # weights of its own, which nothing moves
    descriptor.forward = copy.deepcopy(descriptor).forward


class _Wrong(torch.autograd.Function):
    """The features themselves, with a gradient that is right, but not its own."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        return features.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient + 100 * (gradient - gradient.detach())


def _second_derivative(model: Any) -> None:
    descriptor = model.get_descriptor()
    forward = descriptor.forward

    def wrong(*arguments: Any, **options: Any) -> Any:
        features, *others = forward(*arguments, **options)
        return _Wrong.apply(features), *others

    descriptor.forward = wrong


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "leaving out gradients changes features": _features(lambda *_: 1),
    "a batch changes features": _features(lambda all_, _: len(all_) == 1),
    "rotation changes features": _features(lambda _, one: one.cell[0, 1] != 0),
    "padding changes energy": _weights,
    "a file changes energy": _file,
    "the order of elements changes energy": _elements,
    "there is no gradient of the energy": _built(_detach, frozen=True),
    "the gradient of the force .* along it the slope": _built(
        _second_derivative, frozen=True
    ),
    "a frozen descriptor would learn": _built(
        lambda model: model.requires_grad_(True), frozen=False
    ),
    "heads are frozen, too": _built(
        lambda model: model.requires_grad_(False), frozen=False
    ),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_broken_rule_is_named(
    message: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "check_model", lambda *_, **__: None)
    FAULTS[message](monkeypatch)
    with pytest.raises(AssertionError, match=message):
        check_backbone(path)
