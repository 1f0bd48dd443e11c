"""deepmd-kit's models, rebuilt from the state of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mftscreen.errors import ModelFileError
from mftscreen.head_forms import HEAD_FORMS, HeadForm, find_form
from mftscreen.model.backbones import find_architecture
from mftscreen.model.files.checkpoint import model_parameters

if TYPE_CHECKING:
    import torch

__all__ = ["Head", "build_models", "describe_head", "group_by_descriptor"]


@dataclass(frozen=True)
class Head:
    """One named output of a checkpoint.

    Attributes
    ----------
    name : str
        deepmd's model key ("branch"); ``Default`` in a single-task checkpoint.
    kind : {"energy", "property"}
    variable : str
        What the fitting net calls its output: ``energy`` or the property's name.
    form : HeadForm
        How atomic contributions make the value; ``extensive`` for energies.
    n_components : int
        How many numbers it gives.
    """

    name: str
    kind: Literal["energy", "property"]
    variable: str
    form: HeadForm
    n_components: int = 1


def build_models(
    state: Mapping[str, Any],
    device: torch.device,
    *,
    frozen: bool = True,
    accelerated: bool = True,
) -> dict[str, Any]:
    """Return deepmd-kit's models by head name, with a checkpoint's weights.

    Parameters
    ----------
    state : mapping
        The ``model`` entry of a deepmd-kit PyTorch checkpoint.
    device : torch.device
    frozen : bool, default True
        Whether no weight has a gradient; otherwise those have that a training changes.
    accelerated : bool, default True
        Whether they are changed to what evaluates faster here; otherwise they are as
        deepmd-kit knows them.

    Returns
    -------
    dict of str to torch.nn.Module
        For evaluation.

    Raises
    ------
    ModelFileError
        If deepmd-kit cannot rebuild a model.
    """
    import copy

    from deepmd.pt.model.model import get_model

    import mftscreen.model.plugins  # noqa: F401 - registers them with deepmd-kit

    models = {}
    with _generators_kept():
        for name, head_params in model_parameters(state).items():
            prefix = f"model.{name}."
            weights = {
                key.removeprefix(prefix): value
                for key, value in state.items()
                if key.startswith(prefix)
            }
            try:
                model = get_model(copy.deepcopy(head_params))
                model.load_state_dict(weights)
            except (
                AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
                MemoryError, ValueError,
            ) as error:  # fmt: skip
                msg = f"head {name!r} cannot be rebuilt by deepmd-kit: {error}"
                raise ModelFileError(msg) from error
            if accelerated:
                find_architecture(head_params["descriptor"]).accelerate(model)
            models[name] = model.to(device).eval()
            if frozen:
                model.requires_grad_(requires_grad=False)
    return models


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Restore the process's random generators, which deepmd's initialisation uses."""
    import torch

    numpy_state = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002


def describe_head(name: str, model: Any, parameters: Mapping[str, Any]) -> Head:
    """Return what a head predicts, and how.

    Parameters
    ----------
    name : str
    model : torch.nn.Module
        deepmd-kit's.
    parameters : mapping
        deepmd-kit's parameters of it.

    Returns
    -------
    Head

    Raises
    ------
    ModelFileError
        If it needs something that the batched evaluation does not do.
    """
    atomic = model.atomic_model
    if not (hasattr(atomic, "descriptor") and hasattr(atomic, "fitting_net")):
        msg = f"head {name!r} is a {type(model).__name__}, which is not supported"
        raise ModelFileError(msg)
    unsupported = {
        "descriptors without mixed types": not atomic.descriptor.mixed_types(),
        "excluded atom types": atomic.atom_excl is not None,
        "excluded type pairs": atomic.pair_excl is not None,
        "frame parameters without default": (
            atomic.get_dim_fparam() > 0 and not atomic.has_default_fparam()
        ),
        "atomic parameters": atomic.get_dim_aparam() > 0,
        # of DPA4; its energies and forces would take the place of the head's
        "denoising": getattr(atomic, "dens_fitting_net", None) is not None,
        "charge and spin embeddings without default": (
            atomic.has_chg_spin_ebd() and not atomic.has_default_chg_spin()
        ),
    }
    reasons = [reason for reason, present in unsupported.items() if present]
    if reasons:
        msg = f"head {name!r} uses {', '.join(reasons)}, which is not supported"
        raise ModelFileError(msg)
    variable = str(atomic.fitting_net.var_name)
    if variable == "energy":
        return Head(name, "energy", variable, HEAD_FORMS["extensive"])
    form = find_form(parameters["fitting_net"])
    n_components = int(atomic.fitting_net.dim_out)
    if form is not None and (n_components == 1 or form.atomic):
        return Head(name, "property", variable, form, n_components)
    msg = f"head {name!r} predicts {variable!r}; only energies and properties do"
    raise ModelFileError(msg)


def group_by_descriptor(models: Mapping[str, Any]) -> dict[str, str]:
    """Return, for every head, the first head with an identical descriptor."""
    import torch

    owners: dict[str, str] = {}
    for name, model in models.items():
        mine = model.descriptor.state_dict()
        for owner in dict.fromkeys(owners.values()):
            other = models[owner].descriptor.state_dict()
            if mine.keys() == other.keys() and all(
                torch.equal(mine[key], other[key]) for key in mine
            ):
                owners[name] = owner
                break
        else:
            owners[name] = name
    return owners
