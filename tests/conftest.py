"""Structures and real (small, untrained) deepmd-kit checkpoints for the tests."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.model.bundle import ModelCard, PropertyHead, write_bundle
from mftscreen.properties import PropertySpec

TYPE_MAP = ["H", "O", "Mg", "Si", "Ga", "As"]

REPFLOW = {
    "n_dim": 8, "e_dim": 6, "a_dim": 4, "nlayers": 2, "axis_neuron": 2,
    "e_rcut": 4.5, "e_rcut_smth": 4.0, "e_sel": 60,
    "a_rcut": 3.0, "a_rcut_smth": 2.7, "a_sel": 20, "sel_reduce_factor": 5.0,
    "fix_stat_std": 0.3, "a_compress_rate": 1, "a_compress_e_rate": 2,
    "a_compress_use_split": True, "update_angle": True, "smooth_edge_update": True,
    "edge_init_use_dist": True, "use_exp_switch": True, "use_dynamic_sel": True,
    "update_style": "res_residual", "update_residual": 0.5,
    "update_residual_init": "const",
}  # fmt: skip


def head_parameters(fitting: dict) -> dict:
    descriptor = {
        "type": "dpa3",
        "repflow": dict(REPFLOW),
        "activation_function": "silut:3.0",
        "use_tebd_bias": False,
        "precision": "float64",
        "concat_output_tebd": False,
        "seed": 1,
    }
    net = {"neuron": [8, 8], "precision": "float64", **fitting}
    return {"type_map": TYPE_MAP, "descriptor": descriptor, "fitting_net": net}


HEADS = {
    "alloys": {"type": "ener", "seed": 1},
    "oxides": {"type": "ener", "seed": 2},
    "gap": {"type": "property", "property_name": "gap", "intensive": True, "seed": 3},
    "alpha": {
        "type": "property", "property_name": "alpha", "intensive": False, "seed": 4,
    },
}  # fmt: skip


def build_checkpoint(heads: dict[str, dict]) -> bytes:
    """Return a multi-task checkpoint with one shared descriptor, as deepmd saves it."""
    import torch
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    parameters = {name: head_parameters(fitting) for name, fitting in heads.items()}
    models = {name: get_model(head) for name, head in parameters.items()}
    first = next(iter(models.values()))
    generator = torch.Generator().manual_seed(0)
    for model in models.values():
        model.atomic_model.descriptor = first.atomic_model.descriptor
        bias = model.atomic_model.out_bias
        bias += torch.randn(bias.shape, generator=generator, dtype=bias.dtype)
    wrapper = ModelWrapper(models, model_params={"model_dict": parameters})
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict(), "optimizer": {}}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.pt"
    path.write_bytes(build_checkpoint(HEADS))
    return path


@pytest.fixture
def single_task_checkpoint() -> bytes:
    import torch
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    parameters = head_parameters(HEADS["gap"])
    wrapper = ModelWrapper(get_model(parameters), model_params=parameters)
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def tiny_model(checkpoint: Path) -> Path:
    """A model file whose reference set is a handful of crystals."""
    from mftscreen.ood.reference import build_reference

    path = checkpoint.with_name("tiny.mft")
    crystals = [bulk("MgO", "rocksalt", a=4.0 + 0.02 * k) for k in range(20)]
    head = PropertyHead(
        spec=PropertySpec(name="gap", label="band gap", unit="eV"),
        head="gap",
        elements=["O", "Mg"],
        n_train=20,
        train_range=(0.0, 1.0),
        training_set="made up",
        training_hash="0",
    )
    card = ModelCard(
        name="tiny", strategy="mft", energy_head="oxides", properties={"gap": head}
    )
    reference = build_reference(crystals, [str(k) for k in range(20)])
    write_bundle(path, card, checkpoint.read_bytes(), reference)
    return path


@pytest.fixture
def mixed_structures() -> list[Atoms]:
    """Structures of different composition, size and periodicity."""
    slab = bulk("Si", cubic=True)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = (True, True, False)
    return [
        bulk("MgO", "rocksalt", a=4.21),
        molecule("H2O"),
        bulk("Si", cubic=True),
        bulk("GaAs", "zincblende", a=5.65),
        Atoms("O"),
        slab,
    ]
