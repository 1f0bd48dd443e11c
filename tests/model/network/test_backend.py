from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import ModelError, ModelFileError, UnknownHeadError
from mftscreen.model.network.backend import DeepmdNetwork


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(checkpoint)


def _deepmd_arguments(network: DeepmdNetwork, atoms: Atoms) -> tuple:
    cell = np.asarray(atoms.cell).reshape(1, -1) if atoms.pbc.all() else None
    types = [network.type_map.index(symbol) for symbol in atoms.symbols]
    return atoms.positions.reshape(1, -1), cell, types


def test_heads_are_described(network: DeepmdNetwork) -> None:
    assert network.energy_heads() == ["alloys", "oxides"]
    assert network.property_heads() == ["gap", "alpha"]
    assert network.heads["gap"].form.name == "intensive"
    assert network.heads["alpha"].form.name == "extensive"


def test_energy_forces_virial_equal_deepmd(
    network: DeepmdNetwork, checkpoint: Path, mixed_structures: list[Atoms]
) -> None:
    from deepmd.infer import DeepPot

    oracle = DeepPot(str(checkpoint), head="oxides", no_jit=True)
    structures = [a for a in mixed_structures if a.pbc.all() or not a.pbc.any()]
    for atoms, found in zip(
        structures, network.evaluate(structures, energy_head="oxides"), strict=True
    ):
        energy, forces, virial = oracle.eval(*_deepmd_arguments(network, atoms))
        assert found.energy == pytest.approx(energy.item(), rel=1e-10)
        np.testing.assert_allclose(found.forces, forces[0], atol=1e-10)
        np.testing.assert_allclose(found.virial, virial.reshape(3, 3), atol=1e-8)


@pytest.mark.parametrize("head", ["gap", "alpha"])
def test_properties_equal_deepmd(
    network: DeepmdNetwork, checkpoint: Path, mixed_structures: list[Atoms], head: str
) -> None:
    from deepmd.infer.deep_property import DeepProperty

    oracle = DeepProperty(str(checkpoint), head=head, no_jit=True)
    structures = [a for a in mixed_structures if a.pbc.all() or not a.pbc.any()]
    for atoms, found in zip(
        structures, network.evaluate(structures, property_heads=[head]), strict=True
    ):
        expected = oracle.eval(*_deepmd_arguments(network, atoms))[0].item()
        assert found.heads[head] == pytest.approx(expected, rel=1e-10)


def test_supercell_doubles_extensive_and_keeps_intensive(
    network: DeepmdNetwork,
) -> None:
    crystal = bulk("MgO", "rocksalt", a=4.2)
    crystal.rattle(0.05, seed=0)
    once, twice = network.evaluate(
        [crystal, crystal.repeat((2, 1, 1))], property_heads=["gap", "alpha"]
    )
    assert twice.heads["gap"] == pytest.approx(once.heads["gap"], rel=1e-9)
    assert twice.heads["alpha"] == pytest.approx(2 * once.heads["alpha"], rel=1e-9)


def test_partly_periodic_equals_periodic_with_vacuum(network: DeepmdNetwork) -> None:
    slab = bulk("Si", cubic=True)
    slab.center(vacuum=network.cutoff, axis=2)
    partly = slab.copy()
    partly.pbc = (True, True, False)
    full, part = network.evaluate([slab, partly], energy_head="oxides")
    assert part.energy == pytest.approx(full.energy, rel=1e-12)
    np.testing.assert_allclose(part.forces, full.forces, atol=1e-12)


def test_heads_give_distinct_results(network: DeepmdNetwork) -> None:
    atoms = [bulk("MgO", "rocksalt", a=4.2)]
    (alloys,) = network.evaluate(atoms, energy_head="alloys")
    (oxides,) = network.evaluate(atoms, energy_head="oxides")
    assert abs(alloys.energy - oxides.energy) > 1e-3


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


def test_nothing_in_nothing_out(network: DeepmdNetwork) -> None:
    assert network.evaluate([], energy_head="oxides") == []


def test_wrong_heads_are_refused(network: DeepmdNetwork) -> None:
    atoms = [bulk("Si")]
    with pytest.raises(UnknownHeadError, match="energy heads are: alloys, oxides"):
        network.evaluate(atoms, energy_head="gap")
    with pytest.raises(UnknownHeadError, match="property heads are: gap, alpha"):
        network.evaluate(atoms, property_heads=["oxides"])


def test_single_task_checkpoint(single_task_checkpoint: bytes) -> None:
    network = DeepmdNetwork.from_checkpoint(single_task_checkpoint)
    assert network.property_heads() == ["Default"]
    (result,) = network.evaluate([bulk("Si")], property_heads=["Default"])
    assert np.isfinite(result.heads["Default"])


class _Malicious:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "hostile", "foreign"])
def test_bad_files_are_refused(
    tmp_path: Path, checkpoint: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.pt"
    if kind == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:5000])
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "hostile":
        path.write_bytes(pickle.dumps({"model": _Malicious()}, protocol=2))
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match=r"bad\.pt"):
        DeepmdNetwork.from_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_missing_file() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        DeepmdNetwork.from_checkpoint("missing.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_named(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="torch sees no GPU"):
        DeepmdNetwork.from_checkpoint(checkpoint, device="cuda")


def test_process_state_is_untouched(checkpoint: Path) -> None:
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    expected = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    dtype = torch.get_default_dtype()
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    network.evaluate([bulk("Si")], energy_head="oxides")
    with pytest.raises(UnknownHeadError):
        network.evaluate([bulk("Si")], energy_head="nothing")
    assert (np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002
    assert torch.get_default_dtype() == dtype
    assert torch.is_grad_enabled()
