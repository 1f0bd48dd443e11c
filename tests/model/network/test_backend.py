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


def test_nothing_in_nothing_out(network: DeepmdNetwork) -> None:
    assert network.evaluate([], energy_head="oxides") == []


def test_wrong_heads_are_refused(network: DeepmdNetwork) -> None:
    atoms = [bulk("Si")]
    with pytest.raises(UnknownHeadError, match="energy heads are: alloys, oxides"):
        network.evaluate(atoms, energy_head="gap")
    with pytest.raises(UnknownHeadError, match="property heads are: gap, alpha"):
        network.evaluate(atoms, property_heads=["oxides"])


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


def test_unknown_device_is_named(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="no device 'gpu'; there are 'auto', 'cpu'"):
        DeepmdNetwork.from_checkpoint(checkpoint, device="gpu")  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_named(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="torch sees no GPU"):
        DeepmdNetwork.from_checkpoint(checkpoint, device="cuda")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("sizes do not match", ModelError),
        ("DefaultCPUAllocator: can't allocate memory", MemoryError),
    ],
)
def test_no_bare_error_of_torch_gets_out(
    checkpoint: Path, message: str, expected: type[Exception]
) -> None:
    broken = DeepmdNetwork.from_checkpoint(checkpoint)

    def forward(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    broken._models[broken._descriptor_of["oxides"]].descriptor.forward = forward
    with pytest.raises(expected, match=message) as raised:
        broken.evaluate([Atoms("O")], energy_head="oxides")
    assert not isinstance(raised.value, RuntimeError)
