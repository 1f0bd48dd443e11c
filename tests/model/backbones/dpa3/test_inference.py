from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.model.backbones.dpa3 import layers
from mftscreen.model.backbones.dpa3.budget import DynamicBudget
from mftscreen.model.backbones.dpa3.inference import DPA3Inference, supports
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.batch import to_tensors
from mftscreen.model.network.graph import build_flat_graph, build_graph

TYPE_MAP = ["H", "C", "O", "Mg"]
INDEX = {symbol: number for number, symbol in enumerate(TYPE_MAP)}
E_CUTOFF, A_CUTOFF = 4.5, 3.0

REPFLOW = {
    "n_dim": 12, "e_dim": 10, "a_dim": 8, "nlayers": 3, "axis_neuron": 3,
    "e_rcut": E_CUTOFF, "e_rcut_smth": 4.0, "e_sel": 120,
    "a_rcut": A_CUTOFF, "a_rcut_smth": 2.7, "a_sel": 40, "sel_reduce_factor": 5.0,
    "a_compress_rate": 1, "a_compress_e_rate": 1, "a_compress_use_split": True,
    "smooth_edge_update": True, "edge_init_use_dist": True, "use_exp_switch": True,
    "use_dynamic_sel": True, "update_residual": 0.5, "update_residual_init": "const",
}  # fmt: skip


def build_descriptor(
    activation: str = "silut:3.0", precision: str = "float32", **repflow: Any
) -> Any:
    """Return deepmd-kit's DPA3 itself, not accelerated, with random residuals."""
    from deepmd.pt.model.descriptor.dpa3 import DescrptDPA3

    descriptor = DescrptDPA3(
        len(TYPE_MAP),
        repflow={**REPFLOW, **repflow},
        activation_function=activation,
        precision=precision,
        seed=1,
        type_map=TYPE_MAP,
    )
    generator = torch.Generator().manual_seed(2)
    for name, parameter in descriptor.named_parameters():
        if "residual" in name:
            parameter.data = torch.rand(
                parameter.shape, generator=generator, dtype=parameter.dtype
            )
    return descriptor.eval().requires_grad_(requires_grad=False)


def evaluate_deepmd(descriptor: Any, structures: list[Atoms]) -> torch.Tensor:
    graph = build_graph(structures, INDEX, E_CUTOFF, A_CUTOFF)
    batch = to_tensors(graph, torch.device("cpu"))
    with DynamicBudget.of(descriptor).fit(graph), torch.no_grad():
        nodes, *_ = descriptor(
            batch.coordinates, batch.types, batch.neighbors, mapping=batch.owners
        )
    return nodes[batch.real]


@pytest.fixture(scope="module")
def batch() -> list[Atoms]:
    """Molecules, isolated atoms, one-atom cells, dense and disordered crystals."""
    rng = np.random.default_rng(0)
    disordered = bulk("MgO", "rocksalt", a=4.2, cubic=True) * (2, 1, 1)
    disordered.rattle(0.2, rng=rng)
    wire = Atoms("C2", positions=[[5, 5, 0.1], [5.2, 5, 1.4]], cell=[10, 10, 2.7])
    wire.pbc = (False, False, True)
    # further from each other than any cutoff
    apart = Atoms("MgO", positions=[[0, 0, 0], [20, 0, 0]])
    # neighbours by edges, but by no angle
    loose = Atoms("H3", positions=[[0, 0, 0], [3.6, 0, 0], [0, 4.2, 0]])
    return [
        Atoms("H"), bulk("Mg"), disordered, molecule("H2O"), bulk("C", a=3.2), wire,
        apart, loose, molecule("C6H6"), Atoms("O", cell=[9, 9, 9], pbc=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "silu"},
        {"nlayers": 1},
        {"nlayers": 2},
        {"nlayers": 4},
        {"use_exp_switch": False},
        {"edge_init_use_dist": False},
        {"a_compress_rate": 0},
        {"a_compress_use_split": False, "a_compress_e_rate": 2},
        {"optim_update": False},
    ],
    ids=str,
)
def test_equals_deepmd(batch: list[Atoms], options: dict[str, Any]) -> None:
    descriptor = build_descriptor(**options)
    assert supports(descriptor)
    expected = evaluate_deepmd(descriptor, batch)
    graph = build_flat_graph(batch, INDEX, E_CUTOFF, A_CUTOFF)
    found = DPA3Inference(descriptor)(graph)
    assert found.dtype == expected.dtype == torch.float64
    assert found.shape == (sum(map(len, batch)), REPFLOW["n_dim"])
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6 * scale)


def test_both_branches_of_the_activation_are_met(batch: list[Atoms]) -> None:
    graph = build_flat_graph(batch, INDEX, E_CUTOFF, A_CUTOFF)
    with_branch = DPA3Inference(build_descriptor("silut:1.0"))(graph)
    without = DPA3Inference(build_descriptor("silu"))(graph)
    assert (with_branch - without).abs().max() > 1e-2


def test_statistics_of_each_element_are_used(batch: list[Atoms]) -> None:
    descriptor = build_descriptor(edge_init_use_dist=False)
    generator = torch.Generator().manual_seed(3)
    shape = (len(TYPE_MAP), 1, 4)
    for buffer, shift in (
        (descriptor.repflows.mean, 0.0),
        (descriptor.repflows.stddev, 0.5),
    ):
        buffer.copy_(torch.rand(shape, generator=generator) + shift)
    graph = build_flat_graph(batch, INDEX, E_CUTOFF, A_CUTOFF)
    expected = evaluate_deepmd(descriptor, batch)
    found = DPA3Inference(descriptor)(graph)
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6 * scale)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_do_not_change_the_result(
    monkeypatch: pytest.MonkeyPatch, batch: list[Atoms], n_threads: int
) -> None:
    monkeypatch.setattr(layers, "WORK_PER_THREAD", 50)
    inference = DPA3Inference(build_descriptor())
    # of the last graph, which has one atom, some threads get nothing
    graphs = [
        build_flat_graph(part, INDEX, E_CUTOFF, A_CUTOFF) for part in (batch, batch[:1])
    ]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = [inference(graph) for graph in graphs]
        torch.set_num_threads(n_threads)
        found = [inference(graph) for graph in graphs]
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float64"},
        {"activation": "tanh"},
        {"use_dynamic_sel": False},
        {"update_angle": False},
        {"update_style": "res_avg"},
        {"sequential_update": True},
        {"n_multi_edge_message": 2},
    ],
    ids=str,
)
def test_other_descriptors_are_not_supported(options: dict[str, Any]) -> None:
    assert not supports(build_descriptor(**options))


def test_a_network_in_float64_is_left_to_deepmd(checkpoint: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    calls = []
    for model in network._models.values():
        model.descriptor.register_forward_hook(lambda *_: calls.append(1))
    network.evaluate([bulk("Si")], property_heads=["gap"])
    assert len(calls) == 1


def test_the_shipped_model_takes_the_fast_path_unless_it_is_differentiated(
    mixed_structures: list[Atoms],
) -> None:
    from mftscreen import load_model

    network = load_model("mft-mini", device="cpu").network
    calls = []
    for model in network._models.values():
        model.descriptor.register_forward_hook(lambda *_: calls.append(1))
    (energy,) = network.energy_heads()
    head = network.property_heads()[0]
    fast = network.evaluate(
        mixed_structures, property_heads=[head], energy_head=energy, derivatives=False,
        descriptors=True,
    )  # fmt: skip
    assert not calls
    slow = network.evaluate(
        mixed_structures, property_heads=[head], energy_head=energy, descriptors=True
    )
    assert len(calls) == 1
    for ours, theirs, atoms in zip(fast, slow, mixed_structures, strict=True):
        assert ours.heads[head] == pytest.approx(theirs.heads[head], rel=1e-5)
        assert ours.energy == pytest.approx(theirs.energy, rel=1e-5)
        assert ours.descriptors.shape == theirs.descriptors.shape
        assert ours.descriptors.dtype == theirs.descriptors.dtype == np.float64
        np.testing.assert_allclose(ours.descriptors, theirs.descriptors, atol=5e-5)
        assert len(ours.descriptors) == len(atoms)
