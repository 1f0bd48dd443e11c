"""What a kind of descriptors can do, and what one can that has no module here."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import load_model
from mftscreen.errors import ModelError, ModelFileError, UnsupportedByBackboneError
from mftscreen.finetune.trainer.layer_groups import layer_groups
from mftscreen.model import backbones
from mftscreen.model.backbones import find_architecture, pretrained_models
from mftscreen.model.backbones.dpa1 import DPA1Parameters
from mftscreen.model.backbones.seam import Architecture, EdgeCutoffs
from mftscreen.model.files.allowed import check_parameters
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork

SE_ATTEN: dict[str, Any] = {
    "type": "se_atten", "sel": 60, "rcut": 4.0, "rcut_smth": 3.0, "neuron": [4, 8],
    "axis_neuron": 2, "attn_layer": 0, "smooth_type_embedding": True, "seed": 1,
}  # fmt: skip
STRUCTURES = [bulk("MgO", "rocksalt", a=4.21), molecule("H2O")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a descriptor that has no module in mftscreen."""
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    parameters = {
        "type_map": ["H", "O", "Mg"],
        "descriptor": dict(SE_ATTEN),
        "fitting_net": {"type": "ener", "neuron": [4], "seed": 1},
    }
    wrapper = ModelWrapper(get_model(parameters), model_params=parameters)
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    path = tmp_path_factory.mktemp("other") / "other.pt"
    path.write_bytes(buffer.getvalue())
    return path


def test_unknown_kind_is_evaluated_as_deepmd_does(path: Path) -> None:
    from deepmd.infer import DeepPot

    model = load_model(path)
    oracle = DeepPot(str(path), no_jit=True)
    for atoms, found in zip(
        STRUCTURES, model.evaluate(STRUCTURES, energy=True), strict=True
    ):
        types = [oracle.get_type_map().index(symbol) for symbol in atoms.symbols]
        cell = np.asarray(atoms.cell).reshape(1, -1) if atoms.pbc.all() else None
        energy, forces, _ = oracle.eval(atoms.positions.reshape(1, -1), cell, types)
        assert found.energy == pytest.approx(energy.item(), rel=1e-10)
        np.testing.assert_allclose(found.forces, forces[0], atol=1e-10)


def test_what_a_kind_cannot_do_is_refused_by_name(path: Path) -> None:
    architecture = find_architecture(SE_ATTEN)
    with pytest.raises(UnsupportedByBackboneError, match="training from scratch") as no:
        architecture.size(SE_ATTEN)
    assert (no.value.kind, no.value.feature) == ("se_atten", "training from scratch")
    assert isinstance(no.value, ModelError)
    network = DeepmdNetwork.from_checkpoint(path)
    with pytest.raises(UnsupportedByBackboneError, match=r"se_atten.*edge features"):
        network.edge_cutoffs()
    with pytest.raises(UnsupportedByBackboneError, match=r"se_atten.*edge features"):
        network.edge_features(STRUCTURES)


def test_unknown_kind_is_fine_tuned_as_it_is(path: Path) -> None:
    state = read_state(path)
    architecture = find_architecture(SE_ATTEN)
    fitted = architecture.fit_parameters(SE_ATTEN, (60, 30))
    assert fitted == SE_ATTEN
    fitted["trainable"] = False
    assert "trainable" not in SE_ATTEN
    assert architecture.fit_state(state, fitted) == state
    names = [name for name in state if name != "_extra_state"]
    weights = [(name, torch.nn.Parameter(torch.zeros(1))) for name in names]
    heads, *below = layer_groups(weights, 0.5, architecture.layer)
    assert heads["layer_scale"] == 1.0
    assert len(heads["params"]) == sum(".descriptor." not in name for name in names)
    assert all(group["layer_scale"] < 1 for group in below)
    assert sum(len(group["params"]) for group in (heads, *below)) == len(names)


def test_dpa3_that_cuts_neighbors_off_shows_no_edges(checkpoint: Path) -> None:
    descriptor = DeepmdNetwork.from_checkpoint(checkpoint).descriptor
    architecture = find_architecture({"type": "dpa3"})
    assert architecture.neighbor_budget(descriptor).fixed is None
    descriptor.repflows.use_dynamic_sel = False
    assert architecture.neighbor_budget(descriptor).fixed == 60
    with pytest.raises(UnsupportedByBackboneError, match=r"dpa3.*use_dynamic_sel"):
        architecture.edge_cutoffs(descriptor)


def test_every_size_makes_a_descriptor_of_its_kind(checkpoint: Path) -> None:
    parameters = model_parameters(read_state(checkpoint))["gap"]["descriptor"]
    architecture = find_architecture(parameters)
    size = architecture.size(parameters)
    again = size.parameters((50, 10), seed=1)
    assert type(find_architecture(again)) is type(architecture)
    assert size.cutoffs == architecture.cutoffs(parameters) == EdgeCutoffs(4.5, 3.0)


class _Known(Architecture):
    """What would be the module of a new kind."""

    kind = "se_atten"
    allowed = DPA1Parameters
    pretrained = {"Small-1K": {"crystals": "Default"}}  # noqa: RUF012

    def inference(self, descriptor: Any) -> Any:
        width = descriptor.get_dim_out()
        return lambda graph: torch.full((graph.n_atoms, width), 0.5).double()

    def edge_cutoffs(self, descriptor: Any) -> EdgeCutoffs:
        return EdgeCutoffs(float(descriptor.get_rcut()), 2.0)

    def edge_features(
        self, descriptor: Any, structures: Any, type_index: Any, device: Any
    ) -> Any:
        return [np.full((len(atoms), 1), type_index["O"]) for atoms in structures]

    def layer(self, weight: str) -> int:
        return 7


class _Entry:
    """An entry point of another package."""

    def __init__(self, name: str, loaded: Any) -> None:
        self.name, self._loaded = name, loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Give what installs packages with entry points for backbones."""

    def install(**entries: Any) -> None:
        found = [_Entry(name, loaded) for name, loaded in entries.items()]
        monkeypatch.setattr(backbones, "entry_points", lambda group: found)
        backbones._architectures.cache_clear()

    yield install
    backbones._architectures.cache_clear()


class _Second(Architecture):
    """The kind of another package once more."""

    kind = "known"


class _First(_Second):
    aliases = ("also_known",)


class _Nameless(Architecture):
    pass


class _Usurper(Architecture):
    """A new kind that would put its weights in the place of others."""

    kind = "usurper"
    converted = {"7net-0": {"crystals": "Default"}}  # noqa: RUF012


class _Downloads(Architecture):
    kind = "downloads"
    pretrained = {"DPA-3.1-3M": {"crystals": "Default"}}  # noqa: RUF012


def test_what_is_no_new_kind_is_left_out(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install(
        broken=ImportError("no torch"), other=int, nameless=_Nameless,
        taken=backbones.DPA3, usurper=_Usurper, downloads=_Downloads,
    )  # fmt: skip
    assert backbones._architectures() == backbones._ARCHITECTURES
    assert backbones.converted_models()["7net-0"] is backbones.SevenNet
    assert pretrained_models()["DPA-3.1-3M"]["crystals"] != "Default"
    module, models = "mftscreen.model.backbones", backbones.DPA3.pretrained
    assert caplog.messages == [
        "backbone broken cannot be loaded: no torch",
        "backbone other cannot be loaded: it is no kind of Architecture",
        "backbone nameless cannot be loaded: it is no kind of Architecture",
        f"backbone taken is left out: {', '.join(sorted(models))}, dpa3 is in use by "
        f"{module}.dpa3.DPA3",
        f"backbone usurper is left out: 7net-0 is in use by {module}.sevennet.SevenNet",
        f"backbone downloads is left out: DPA-3.1-3M is in use by {module}.dpa3.DPA3",
    ]


def test_of_two_packages_with_one_kind_the_first_counts(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install(one=_First, two=_Second)
    for name in ("known", "also_known"):
        assert type(find_architecture({"type": name})) is _First
    assert caplog.messages == [
        f"backbone two is left out: known is in use by {__name__}._First"
    ]


class _OwnNet(Architecture):
    kind = "se_atten"
    energy_nets = ("own_ener", "ener")
    allowed = DPA1Parameters


def test_energy_net_that_no_file_may_have_is_refused_by_name(
    path: Path, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "_ARCHITECTURES", (backbones.DPA3,))
    install(own=_OwnNet)
    heads = model_parameters(read_state(path))
    check_parameters(heads)
    heads["Default"]["fitting_net"]["type"] = "own_ener"
    with pytest.raises(ModelFileError, match=r"'own_ener' is not one of .*, ener$"):
        check_parameters(heads)


def test_a_new_kind_is_a_class_and_an_entry_point(
    path: Path, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = DeepmdNetwork.from_checkpoint(path).evaluate(STRUCTURES, descriptors=True)
    # DPA-1 has the same type
    monkeypatch.setattr(backbones, "_ARCHITECTURES", (backbones.DPA3,))
    install(known=_Known)
    assert pretrained_models()["Small-1K"] == {"crystals": "Default"}
    assert find_architecture(SE_ATTEN).layer("model.descriptor.x") == 7
    network = DeepmdNetwork.from_checkpoint(path)
    assert network.edge_cutoffs() == EdgeCutoffs(4.0, 2.0)
    assert [rows.tolist() for rows in network.edge_features([Atoms("O2")])] == [
        [[1], [1]]
    ]
    fast = network.evaluate(STRUCTURES, energy_head="Default", derivatives=False)
    (row, _) = network.evaluate(STRUCTURES, descriptors=True)
    assert (row.descriptors == 0.5).all()
    # gradients are deepmd-kit's own
    slow = network.evaluate(STRUCTURES, energy_head="Default", descriptors=True)
    np.testing.assert_array_equal(slow[0].descriptors, before[0].descriptors)
    assert abs(fast[0].energy - slow[0].energy) > 1e-6
