from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from mftscreen.model.backbones.dpa3.budget import by_turns
from mftscreen.model.backbones.seam import Architecture
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.features import DescriptorPass
from mftscreen.model.network.graph import FlatGraph


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(checkpoint)


def test_one_descriptor_pass_serves_all_heads(checkpoint: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    calls = []
    for model in network._models.values():
        model.descriptor.register_forward_hook(lambda *_: calls.append(1))
    network.evaluate(
        [bulk("MgO", "rocksalt", a=4.2)],
        energy_head="oxides",
        property_heads=["gap", "alpha"],
        descriptors=True,
    )
    assert len(calls) == 1


def test_descriptors_have_one_row_per_atom(
    network: DeepmdNetwork, mixed_structures: list[Atoms]
) -> None:
    results = network.evaluate(mixed_structures, descriptors=True)
    shapes = [result.descriptors.shape for result in results]
    assert shapes == [(len(atoms), 8) for atoms in mixed_structures]


def test_descriptors_alone_evaluate_no_head(
    network: DeepmdNetwork, mixed_structures: list[Atoms]
) -> None:
    alone = network.evaluate(mixed_structures, descriptors=True)
    with_head = network.evaluate(
        mixed_structures, property_heads=["alpha"], descriptors=True
    )
    for one, other in zip(alone, with_head, strict=True):
        assert one.heads == {}
        np.testing.assert_array_equal(one.descriptors, other.descriptors)


def test_padding_does_not_outlive_a_batch(checkpoint: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    repflows = network._models["gap"].descriptor.repflows
    before = repflows.a_sel, repflows.mean.shape
    network.evaluate([bulk("Si")], property_heads=["gap"])
    assert (repflows.a_sel, repflows.mean.shape) == before


def test_types_are_where_the_features_are(network: DeepmdNetwork) -> None:
    elsewhere = torch.device("meta")  # as a GPU is

    class Fast(Architecture):
        def inference(self, _: torch.nn.Module) -> Callable[[FlatGraph], torch.Tensor]:
            return lambda graph: torch.empty(graph.n_atoms, 8, device=elsewhere)

    one_pass = DescriptorPass(network._models["gap"], Fast(), {"Si": 3}, elsewhere)
    found = one_pass([bulk("Si")])
    assert found.types.device == found.nodes.device == elsewhere
    assert found.types.shape == (2,)


def test_threads_that_share_a_model_do_not_disturb_each_other(
    network: DeepmdNetwork,
) -> None:
    structures = [
        bulk("MgO", "rocksalt", a=a, cubic=True) * n
        for a, n in ((4.2, (1, 1, 1)), (6.5, (1, 1, 2)), (3.6, (1, 1, 1)))
    ]

    def forces(atoms: Atoms) -> np.ndarray:
        (found,) = network.evaluate([atoms], energy_head="oxides")
        return found.forces

    alone = [forces(atoms) for atoms in structures]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(forces, structures * 20))
    for k, found in enumerate(together):
        np.testing.assert_allclose(found, alone[k % 3], atol=1e-5)


def test_the_origin_does_not_matter(network: DeepmdNetwork) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    atoms.rattle(0.05, seed=0)
    moved = atoms.copy()
    moved.positions += 5000.0
    one, other = network.evaluate([atoms, moved], energy_head="oxides")
    np.testing.assert_allclose(other.forces, one.forces, atol=1e-7)
    np.testing.assert_allclose(other.virial, one.virial, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads(
    network: DeepmdNetwork,
) -> None:
    repflows = network._models["gap"].descriptor.repflows
    with ThreadPoolExecutor(1) as threads, by_turns(repflows):
        # in another thread, as the lock is one that its own thread may take again
        child = threads.submit(_fork_and_lock, repflows).result(30)
    assert child == 0


def _fork_and_lock(repflows: torch.nn.Module) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        process = os.fork()
    if not process:
        signal.alarm(10)
        with by_turns(repflows):
            os._exit(0)
    return os.waitpid(process, 0)[1]
