"""deepmd-kit checkpoints as networks that evaluate mixed batches.

Beside it only :mod:`mftscreen.model.network.rebuilding`, :mod:`mftscreen.model.heads`,
:mod:`mftscreen.model.files.download` and the process that trains import deepmd. A
checkpoint is opened with ``weights_only=True``, so that a hostile file cannot run
code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import (
    MftscreenError,
    ModelError,
    ModelFileError,
    PeriodicityError,
    UnknownHeadError,
)
from mftscreen.model.backbones import find_architecture
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.files.branches import main_head
from mftscreen.model.files.bundle import MAX_DESCRIPTORS
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.batch import add_derivatives
from mftscreen.model.network.features import DescriptorPass, Features
from mftscreen.model.network.many import is_out_of_memory
from mftscreen.model.network.rebuilding import (
    build_models,
    describe_head,
    group_by_descriptor,
)
from mftscreen.suggestions import did_you_mean

if TYPE_CHECKING:
    import torch

__all__ = ["DeepmdNetwork", "Device", "Evaluation"]

Device = Literal["cpu", "cuda", "auto"]


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
    heads : dict of str to ndarray of shape (n_components,)
        What each property head asked for gives: mostly one number.
    descriptors : ndarray of shape (n_atoms, n_features), optional
    """

    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    virial: NDArray[np.float64] | None = None
    heads: dict[str, NDArray[np.float64]] = field(default_factory=dict)
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
        self._origin = state, device
        parameters = model_parameters(state)
        models = build_models(state, self.device)
        self.heads = {
            name: describe_head(name, model, parameters[name])
            for name, model in models.items()
        }
        self._main_head = main_head(parameters)
        self._descriptor_settings = parameters[self._main_head]["descriptor"]
        self._models = {name: model.atomic_model for name, model in models.items()}
        first = next(iter(self._models.values()))
        self.type_map: tuple[str, ...] = tuple(first.type_map)
        if any(model.type_map != first.type_map for model in self._models.values()):
            msg = "the heads of the checkpoint have different type maps"
            raise ModelFileError(msg)
        self.cutoff = max(float(model.get_rcut()) for model in self._models.values())
        self._index = {symbol: i for i, symbol in enumerate(self.type_map)}
        self._descriptor_of = group_by_descriptor(self._models)
        self._passes = {
            name: DescriptorPass(
                self._models[name],
                find_architecture(parameters[name]["descriptor"]),
                self._index,
                self.device,
            )
            for name in dict.fromkeys(self._descriptor_of.values())
        }

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

    def __reduce__(self) -> tuple[Any, ...]:
        # as a file's contents: tensors by themselves are shared between processes, and
        # end with the one that has sent them
        return _unpickle, (*self._packed, self._origin[1])

    @cached_property
    def _packed(self) -> tuple[str, bytes]:
        """The weights as the contents of a file, and their sha256 before them."""
        content = save_state(self._origin[0])
        return hashlib.sha256(content).hexdigest(), content

    def energy_heads(self) -> list[str]:
        """Return the names of the heads that predict energies."""
        return [head.name for head in self.heads.values() if head.kind == "energy"]

    def property_heads(self) -> list[str]:
        """Return the names of the heads that predict properties."""
        return [head.name for head in self.heads.values() if head.kind == "property"]

    @property
    def descriptor(self) -> Any:
        """deepmd-kit's descriptor of the first property head, else of the first."""
        return self._models[self._main_head].descriptor

    @cached_property
    def descriptor_sha256(self) -> str:
        """Of the weights of :attr:`descriptor` and what else it is made of."""
        settings = json.dumps(self._descriptor_settings, sort_keys=True, default=str)
        digest = hashlib.sha256(f"{self.type_map} {settings}".encode())
        for name, tensor in sorted(self.descriptor.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def shares_descriptor(self) -> bool:
        """Whether all heads read one descriptor."""
        return len(self._passes) == 1

    @property
    def width(self) -> int:
        """Features that :attr:`descriptor` gives for each atom."""
        return int(self.descriptor.get_dim_out())

    def edge_cutoffs(self) -> EdgeCutoffs:
        """Return how far the edges of :attr:`descriptor` reach.

        Raises
        ------
        UnsupportedByBackboneError
            If its kind has none that can be looked at.
        """
        return self._main_pass.architecture.edge_cutoffs(self.descriptor)

    def edge_features(self, structures: Sequence[Atoms]) -> list[NDArray[np.float64]]:
        """Return what :attr:`descriptor` knows about each pair of neighbours.

        Parameters
        ----------
        structures : sequence of Atoms
            At least one, evaluated together.

        Returns
        -------
        list of ndarray of shape (n_edges, n_edge_features)
            For each structure; rows as
            :func:`mftscreen.model.network.graph.sort_neighbors` with the edge cutoff
            orders them.

        Raises
        ------
        UnsupportedByBackboneError
            As :meth:`edge_cutoffs`.
        """
        return self._main_pass.architecture.edge_features(
            self.descriptor, structures, self._index, self.device
        )

    @property
    def _main_pass(self) -> DescriptorPass:
        return self._passes[self._descriptor_of[self._main_head]]

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
            Whether to return atomic descriptors: of the energy head if one is asked
            for, else of the first property head asked for, else of the first property
            head, else of the first head.

        Returns
        -------
        list of Evaluation
            In the order of `structures`.

        Raises
        ------
        UnknownHeadError
            If a head does not exist or is of the other kind.
        PeriodicityError
            If a structure is periodic and a head is for molecules.
        InvalidGeometryError
            If two atoms of a structure are too close.
        MemoryError
            If they are too many.
        ModelError
            If torch cannot evaluate the network, for which see its message.
        """
        self._check_heads(energy_head, property_heads)
        molecular = [name for name in property_heads if self.heads[name].form.molecular]
        if molecular and any(atoms.pbc.any() for atoms in structures):
            msg = f"head {molecular[0]!r} is for molecules; a structure is periodic"
            raise PeriodicityError(msg)
        if not structures:
            return []
        asked = [h for h in (energy_head, *property_heads) if h is not None]
        groups: dict[str, list[str]] = {}
        for head in asked:
            groups.setdefault(self._descriptor_of[head], []).append(head)
        if not groups:
            groups[self._descriptor_of[self._main_head]] = []
        parts: list[dict[str, Any]] = [{"heads": {}} for _ in structures]
        with _typed_errors():
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
                    f"{did_you_mean(name, known=known)}"
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
        forms = [self.heads[head].form for head in heads]
        # not torch.inference_mode: what a descriptor keeps of one evaluation, as DPA4
        # does, may be differentiated in the next
        with torch.set_grad_enabled(differentiate):
            features = self._passes[owner](
                structures,
                differentiate=differentiate,
                padded=not all(form.atomic for form in forms),
                directed=any(form.directed for form in forms),
            )
            for head in heads:
                is_energy = head == energy_head
                with torch.set_grad_enabled(differentiate and is_energy):
                    values = self._fit(head, features, sizes)
                for part, numbers in zip(parts, values.tolist(), strict=True):
                    if is_energy:
                        part["energy"] = numbers[0]
                    else:
                        part["heads"][head] = np.array(numbers)
                if is_energy and differentiate and features.padded is not None:
                    energies, batch = values[:, 0], features.padded.batch
                    add_derivatives(energies, batch, structures, parts)
        if descriptors:
            nodes = features.nodes.detach().cpu().numpy()
            rows = np.split(nodes, np.cumsum(sizes)[:-1])
            for part, own in zip(parts, rows, strict=True):
                part["descriptors"] = own.astype(np.float64)

    def _fit(self, name: str, features: Features, sizes: Sequence[int]) -> torch.Tensor:
        """Return the numbers (n_structures, n_components) of a head."""
        import torch

        model, head = self._models[name], self.heads[name]
        if not head.form.atomic:
            return self._fit_frames(name, features)
        types = features.types[None]
        atomic = model.fitting_net(features.nodes[None], types)[head.variable]
        atomic = model.apply_out_stat({head.variable: atomic}, types)[head.variable]
        lengths = torch.tensor(sizes, device=self.device)
        total = torch.segment_reduce(atomic[0], "sum", lengths=lengths)
        return total / lengths[:, None] if head.form.intensive else total

    def _fit_frames(self, name: str, features: Features) -> torch.Tensor:
        """Return one number (n_structures, 1) from a head that sees it as a whole."""
        assert features.padded is not None
        model, padded = self._models[name], features.padded
        batch, n_local = padded.batch, padded.nodes.shape[1]
        types = batch.types[:, :n_local]
        latent = model.fitting_net(padded.nodes, types, gr=padded.rotation)
        atomic = model.contributions(
            latent[self.heads[name].variable],
            batch.coordinates[:, :n_local],
            types.masked_fill(~batch.real, -1),
        )
        total: torch.Tensor = (atomic[..., 0] * batch.real).sum(dim=1, keepdim=True)
        return total


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Say of torch's bare errors what they are."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, MftscreenError):
            raise
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        msg = f"torch cannot evaluate the model: {error}"
        raise ModelError(msg) from error


_unpickled: dict[tuple[str, Device], DeepmdNetwork] = {}
"""The last networks that came from another process: as many as a model may have."""


def _unpickle(sha256: str, content: bytes, device: Device) -> DeepmdNetwork:
    """Return a network that was pickled; many copies of one are built once."""
    key = sha256, device
    if key not in _unpickled:
        network = DeepmdNetwork.from_checkpoint(content, device)
        if len(_unpickled) == MAX_DESCRIPTORS:
            del _unpickled[next(iter(_unpickled))]
        _unpickled[key] = network
    return _unpickled[key]


def _choose_device(device: Device) -> torch.device:
    import torch
    from deepmd.pt.utils.env import DEVICE

    if device == "auto":
        return torch.device(DEVICE)
    if device == "cuda" and not torch.cuda.is_available():
        msg = "device 'cuda' was asked for, but torch sees no GPU; use 'cpu' or 'auto'"
        raise ModelError(msg)
    if device not in ("cpu", "cuda"):
        msg = f"no device {device!r}; there are 'auto', 'cpu' and 'cuda'"
        raise ModelError(msg)
    return torch.device(device)
