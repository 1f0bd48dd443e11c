"""deepmd-kit checkpoints as networks that evaluate mixed batches.

The only module of the package that imports deepmd. A checkpoint is opened with
``weights_only=True``, so that a hostile file cannot run code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import ModelError, ModelFileError, UnknownHeadError
from mftscreen.model.batch import Batch, NeighborBudget, add_derivatives, to_tensors
from mftscreen.model.checkpoint import model_parameters, read_state
from mftscreen.model.graph import build_flat_graph, build_graph

if TYPE_CHECKING:
    import torch

    from mftscreen.model.dpa3_inference import DPA3Inference

__all__ = ["DeepmdNetwork", "Evaluation", "Head"]

Device = Literal["cpu", "cuda", "auto"]


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
    intensive : bool
        False for energies.
    """

    name: str
    kind: Literal["energy", "property"]
    variable: str
    intensive: bool


@dataclass(frozen=True)
class Evaluation:
    """What a network gives for one structure.

    Attributes
    ----------
    energy : float, optional
        In eV.
    forces : ndarray of shape (n_atoms, 3), optional
        In eV/Å.
    virial : ndarray of shape (3, 3), optional
        Minus the derivative of the energy with respect to strain, in eV (deepmd's
        sign; the stress is ``-virial / volume``).
    heads : dict of str to float
        Value of each property head asked for.
    descriptors : ndarray of shape (n_atoms, n_features), optional
    """

    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    virial: NDArray[np.float64] | None = None
    heads: dict[str, float] = field(default_factory=dict)
    descriptors: NDArray[np.float64] | None = None


class DeepmdNetwork:
    """A deepmd-kit checkpoint, single- or multi-task.

    Parameters
    ----------
    state : mapping
        The ``model`` entry of a deepmd-kit PyTorch checkpoint.
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes the GPU that deepmd-kit sees, if there is one.

    Raises
    ------
    ModelFileError
        If the checkpoint's layout or one of its models is not supported.
    """

    def __init__(self, state: Mapping[str, Any], device: Device = "auto") -> None:
        self.device = _choose_device(device)
        models = _build_models(state, self.device)
        self.heads = {name: _describe(name, model) for name, model in models.items()}
        self._models = {name: model.atomic_model for name, model in models.items()}
        first = next(iter(self._models.values()))
        self.type_map: tuple[str, ...] = tuple(first.type_map)
        if any(model.type_map != first.type_map for model in self._models.values()):
            msg = "the heads of the checkpoint have different type maps"
            raise ModelFileError(msg)
        self.cutoff = max(float(model.get_rcut()) for model in self._models.values())
        self._index = {symbol: i for i, symbol in enumerate(self.type_map)}
        self._descriptor_of = _group_by_descriptor(self._models)
        self._inference: dict[str, DPA3Inference | None] = {}

    @classmethod
    def from_checkpoint(
        cls, source: str | Path | bytes, device: Device = "auto"
    ) -> DeepmdNetwork:
        """Open a ``.pt`` file, or its bytes.

        Raises
        ------
        ModelFileError
            If it is missing, truncated, not a deepmd-kit checkpoint, or holds
            anything but tensors and plain containers.
        """
        return cls(read_state(source), device)

    def energy_heads(self) -> list[str]:
        """Return the names of the heads that predict energies."""
        return [head.name for head in self.heads.values() if head.kind == "energy"]

    def property_heads(self) -> list[str]:
        """Return the names of the heads that predict properties."""
        return [head.name for head in self.heads.values() if head.kind == "property"]

    def evaluate(
        self,
        structures: Sequence[Atoms],
        *,
        energy_head: str | None = None,
        property_heads: Sequence[str] = (),
        derivatives: bool = True,
        descriptors: bool = False,
    ) -> list[Evaluation]:
        """Evaluate structures of any composition and size together.

        Heads that share a descriptor share one pass through it.

        Parameters
        ----------
        structures : sequence of Atoms
            Not changed; their ``pbc`` may be set in any of the directions.
        energy_head : str, optional
            Head for energy, forces and virial; none by default.
        property_heads : sequence of str
            Property heads to evaluate.
        derivatives : bool
            Whether forces and virial are wanted with the energy.
        descriptors : bool
            Whether to return atomic descriptors (those of the energy head if one is
            asked for, else of the first property head, else of the first head).

        Returns
        -------
        list of Evaluation
            In the order of `structures`.

        Raises
        ------
        UnknownHeadError
            If a head does not exist or is of the other kind.
        """
        self._check_heads(energy_head, property_heads)
        if not structures:
            return []
        asked = [h for h in (energy_head, *property_heads) if h is not None]
        if not asked:
            asked = [next(iter(self.heads))]
        groups: dict[str, list[str]] = {}
        for head in asked:
            groups.setdefault(self._descriptor_of[head], []).append(head)
        parts: list[dict[str, Any]] = [{"heads": {}} for _ in structures]
        for number, (owner, heads) in enumerate(groups.items()):
            self._evaluate_group(
                structures,
                owner,
                heads,
                parts,
                energy_head=energy_head,
                derivatives=derivatives,
                descriptors=descriptors and number == 0,
            )
        return [Evaluation(**part) for part in parts]

    def _check_heads(
        self, energy_head: str | None, property_heads: Sequence[str]
    ) -> None:
        for name, kind, known in [
            *([(energy_head, "energy", self.energy_heads())] if energy_head else []),
            *((name, "property", self.property_heads()) for name in property_heads),
        ]:
            if name not in known:
                msg = (
                    f"the model has no {kind} head {name!r}; "
                    f"its {kind} heads are: {', '.join(known) or 'none'}"
                )
                raise UnknownHeadError(msg)

    def _evaluate_group(
        self,
        structures: Sequence[Atoms],
        owner: str,
        heads: Sequence[str],
        parts: list[dict[str, Any]],
        *,
        energy_head: str | None,
        derivatives: bool,
        descriptors: bool,
    ) -> None:
        import torch

        sizes = [len(atoms) for atoms in structures]
        differentiate = derivatives and energy_head in heads
        tracking = torch.enable_grad() if differentiate else torch.inference_mode()
        with tracking:
            nodes, types, batch = self._features(structures, owner, differentiate)
            for head in heads:
                is_energy = head == energy_head
                with torch.set_grad_enabled(differentiate and is_energy):
                    values = self._fit(head, nodes, types, sizes)
                for part, value in zip(parts, values.tolist(), strict=True):
                    if is_energy:
                        part["energy"] = value
                    else:
                        part["heads"][head] = value
                if is_energy and batch is not None and differentiate:
                    add_derivatives(values, batch, structures, parts)
        if descriptors:
            rows = np.split(nodes.detach().cpu().numpy(), np.cumsum(sizes)[:-1])
            for part, own in zip(parts, rows, strict=True):
                part["descriptors"] = own.astype(np.float64)

    def _features(
        self, structures: Sequence[Atoms], owner: str, differentiate: bool
    ) -> tuple[torch.Tensor, torch.Tensor, Batch | None]:
        """Return features and types of all atoms, one structure after the other.

        If they are to be differentiated, it is by the coordinates of the batch.
        """
        import torch

        model = self._models[owner]
        budget = NeighborBudget.of(model.descriptor)
        cutoffs = float(model.get_rcut()), budget.angle_cutoff
        inference = None if differentiate else self._inference_of(owner)
        if inference is not None:
            flat = build_flat_graph(structures, self._index, *cutoffs)
            return inference(flat), torch.from_numpy(flat.types), None
        graph = build_graph(structures, self._index, *cutoffs, budget.fixed)
        batch = to_tensors(graph, self.device)
        batch.coordinates.requires_grad_(differentiate)
        with budget.fit(graph):
            nodes, *_ = model.descriptor(
                batch.coordinates, batch.types, batch.neighbors, mapping=batch.owners
            )
        types = batch.types[:, : graph.n_local]
        return nodes[batch.real], types[batch.real], batch

    def _inference_of(self, owner: str) -> DPA3Inference | None:
        """Return what evaluates a head's descriptor faster; None if nothing does."""
        if owner not in self._inference:
            from mftscreen.model.dpa3_inference import DPA3Inference, supports

            descriptor = self._models[owner].descriptor
            supported = supports(descriptor)
            self._inference[owner] = DPA3Inference(descriptor) if supported else None
        return self._inference[owner]

    def _fit(
        self, name: str, nodes: torch.Tensor, types: torch.Tensor, sizes: Sequence[int]
    ) -> torch.Tensor:
        """Return one value per structure from a head on top of the descriptor."""
        import torch

        model, head = self._models[name], self.heads[name]
        atomic = model.fitting_net(nodes[None], types[None])
        atomic = model.apply_out_stat(
            {head.variable: atomic[head.variable]}, types[None]
        )
        lengths = torch.tensor(sizes, device=self.device)
        total = torch.segment_reduce(
            atomic[head.variable][0, :, 0], "sum", lengths=lengths
        )
        return total / lengths if head.intensive else total


def _choose_device(device: Device) -> torch.device:
    import torch
    from deepmd.pt.utils.env import DEVICE

    if device == "auto":
        return torch.device(DEVICE)
    if device == "cuda" and not torch.cuda.is_available():
        msg = "device 'cuda' was asked for, but torch sees no GPU; use 'cpu' or 'auto'"
        raise ModelError(msg)
    return torch.device(device)


def _build_models(state: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return deepmd models by head name, with the checkpoint's weights."""
    import copy

    from deepmd.pt.model.model import get_model

    from mftscreen.model.acceleration import accelerate

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
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                msg = f"head {name!r} cannot be rebuilt by deepmd-kit: {error}"
                raise ModelFileError(msg) from error
            accelerate(model)
            models[name] = model.to(device).eval().requires_grad_(requires_grad=False)
    if not models:
        msg = "the checkpoint holds no model"
        raise ModelFileError(msg)
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


def _describe(name: str, model: Any) -> Head:
    atomic = model.atomic_model
    if not (hasattr(atomic, "descriptor") and hasattr(atomic, "fitting_net")):
        msg = f"head {name!r} is a {type(model).__name__}, which is not supported"
        raise ModelFileError(msg)
    unsupported = {
        "descriptors without mixed types": not atomic.descriptor.mixed_types(),
        "excluded atom types": atomic.atom_excl is not None,
        "excluded type pairs": atomic.pair_excl is not None,
        "frame parameters": atomic.get_dim_fparam() > 0,
        "atomic parameters": atomic.get_dim_aparam() > 0,
        "charge and spin embeddings": atomic.has_chg_spin_ebd(),
    }
    reasons = [reason for reason, present in unsupported.items() if present]
    if reasons:
        msg = f"head {name!r} uses {', '.join(reasons)}, which is not supported"
        raise ModelFileError(msg)
    fitting = atomic.fitting_net
    variable = str(fitting.var_name)
    if variable == "energy":
        return Head(name, "energy", variable, intensive=False)
    if hasattr(fitting, "get_intensive") and fitting.dim_out == 1:
        return Head(name, "property", variable, bool(fitting.get_intensive()))
    msg = f"head {name!r} predicts {variable!r}; only energies and scalar properties do"
    raise ModelFileError(msg)


def _group_by_descriptor(models: Mapping[str, Any]) -> dict[str, str]:
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
