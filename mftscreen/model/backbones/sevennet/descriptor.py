"""SevenNet's network as a descriptor of deepmd-kit, which registers it as a plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from dargs import Argument
from deepmd.pt.model.descriptor.base_descriptor import BaseDescriptor
from deepmd.pt.utils import env
from deepmd.pt.utils.update_sel import UpdateSel
from deepmd.utils.argcheck import descrpt_args_plugin

from mftscreen.model.backbones.sevennet.convolution import Edges
from mftscreen.model.backbones.sevennet.network import Network
from mftscreen.model.backbones.sevennet.shape import Shape

__all__ = ["SevenNetDescriptor"]


@descrpt_args_plugin.register("sevennet")  # type: ignore[untyped-decorator]
def describe_parameters() -> list[Argument]:
    """Return what deepmd-kit's input may say of the descriptor."""
    return [
        Argument("cutoff", float, doc="Neighbours up to here are seen, in Å."),
        Argument(
            "cutoff_on",
            [float, type(None)],
            doc="Edges are switched off from here on, in Å; null for a polynomial.",
        ),
        Argument("channels", list, doc="Channels of each angular momentum from 0 up."),
        Argument("n_layers", int, doc="Message-passing layers."),
        Argument("n_basis", int, doc="Radial basis functions."),
        Argument("radial_neurons", list, doc="Widths of the perceptrons of distances."),
        Argument("divisor", float, doc="What sums over neighbours are divided by."),
        Argument(
            "output_layers",
            list,
            doc="Layers, from 0 up, whose scalars are features, side by side.",
        ),
        Argument("sel", int, doc="Most neighbours of an atom: padding of lists."),
        Argument("precision", str, optional=True, default="float32"),
        Argument("seed", [int, list, type(None)], optional=True),
        Argument("trainable", bool, optional=True, default=True),
    ]


@BaseDescriptor.register("sevennet")
class SevenNetDescriptor(BaseDescriptor, torch.nn.Module):
    """Scalar features of atoms after some of the layers, side by side.

    Parameters
    ----------
    cutoff, cutoff_on, channels, n_layers, n_basis, radial_neurons, divisor
        As for :class:`mftscreen.model.backbones.sevennet.shape.Shape`.
    output_layers : sequence of int
        From 0 up.
    sel : int
        As many neighbours deepmd-kit gives to it, or fewer.
    ntypes : int
    type_map : sequence of str
    precision : str
        deepmd-kit's name of it.
    seed : int or sequence of int, optional
        Of the random weights.
    trainable : bool
    """

    def __init__(
        self,
        cutoff: float,
        cutoff_on: float | None,
        channels: Sequence[int],
        n_layers: int,
        n_basis: int,
        radial_neurons: Sequence[int],
        divisor: float,
        output_layers: Sequence[int],
        sel: int,
        ntypes: int,
        type_map: Sequence[str],
        precision: str = "float32",
        seed: int | Sequence[int] | None = None,
        trainable: bool = True,
        type: str | None = None,
    ) -> None:
        super().__init__()
        self.shape = Shape(
            cutoff, cutoff_on, channels, n_layers, n_basis, radial_neurons, divisor
        )
        self.output_layers = list(output_layers)
        self.sel = [int(sel)]
        self.ntypes, self.type_map = ntypes, list(type_map)
        self.precision = env.PRECISION_DICT[precision]
        with torch.random.fork_rng():
            torch.manual_seed(_number(seed))
            network = Network(self.shape, ntypes)
        self.network = network.to(device=env.DEVICE, dtype=self.precision)
        for weight in self.parameters():
            weight.requires_grad_(trainable)

    def forward(
        self,
        extended_coord: torch.Tensor,
        extended_atype: torch.Tensor,
        nlist: torch.Tensor,
        mapping: torch.Tensor | None = None,
        comm_dict: dict[str, torch.Tensor] | None = None,
        fparam: torch.Tensor | None = None,
        charge_spin: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None, None, None, None]:
        """Return the features of atoms.

        Parameters
        ----------
        extended_coord : Tensor of shape (n_frames, 3 n_all) or (n_frames, n_all, 3)
            Of the atoms and of their periodic images, in Å.
        extended_atype : Tensor of shape (n_frames, n_all)
        nlist : Tensor of shape (n_frames, n_local, n_neighbors)
            Places in the frame; -1 for padding.
        mapping : Tensor of shape (n_frames, n_all)
            The atom of which each is an image.

        Returns
        -------
        features : Tensor of shape (n_frames, n_local, n_features)
        others : tuple of None
            What other descriptors have beside that.
        """
        if mapping is None or comm_dict is not None:
            msg = "7net needs all atoms of a structure in one process"
            raise NotImplementedError(msg)
        n_frames, n_local, _ = nlist.shape
        positions = extended_coord.reshape(n_frames, -1, 3)
        frames, atoms, places = torch.nonzero(nlist >= 0, as_tuple=True)
        slots = nlist[frames, atoms, places]
        vectors = positions[frames, slots] - positions[frames, atoms]
        edges = Edges(
            centers=frames * n_local + atoms,
            others=frames * n_local + mapping[frames, slots],
            n_atoms=n_frames * n_local,
        )
        types = extended_atype[:, :n_local].reshape(-1)
        features = self.features(types, vectors.to(self.precision), edges)
        return features.reshape(n_frames, n_local, -1), None, None, None, None

    def features(
        self, types: torch.Tensor, vectors: torch.Tensor, edges: Edges
    ) -> torch.Tensor:
        """Return the features of atoms in one list, in deepmd-kit's precision.

        Parameters
        ----------
        types, vectors, edges
            As for :meth:`mftscreen.model.backbones.sevennet.network.Network.forward`.

        Returns
        -------
        Tensor of shape (n_atoms, n_features)
        """
        scalars = self.network(types, vectors, edges)
        chosen = torch.cat([scalars[layer] for layer in self.output_layers], dim=1)
        return chosen.to(env.GLOBAL_PT_FLOAT_PRECISION)

    # what deepmd-kit asks of every descriptor

    def get_rcut(self) -> float:
        """Return the cutoff in Å."""
        return self.shape.cutoff

    def get_rcut_smth(self) -> float:
        """Return where edges begin to be switched off, in Å."""
        return self.shape.cutoff_on or 0.0

    def get_sel(self) -> list[int]:
        """Return how many neighbours lists are padded to."""
        return self.sel

    def get_ntypes(self) -> int:
        """Return how many elements there are."""
        return self.ntypes

    def get_type_map(self) -> list[str]:
        """Return the elements."""
        return self.type_map

    def get_dim_out(self) -> int:
        """Return the width of the features."""
        return self.shape.channels[0] * len(self.output_layers)

    def get_dim_emb(self) -> int:
        """Return how many vectors there are beside the features."""
        return 0

    def mixed_types(self) -> bool:
        """Return that neighbours of all elements are in one list."""
        return True

    def has_message_passing(self) -> bool:
        """Return that features depend on those of neighbours."""
        return True

    def need_sorted_nlist_for_lower(self) -> bool:
        """Return that neighbours need not be sorted."""
        return False

    def get_env_protection(self) -> float:
        """Return that no distance is changed."""
        return 0.0

    def share_params(
        self, base_class: SevenNetDescriptor, shared_level: int, resume: bool = False
    ) -> None:
        """Use the network of another one; they share all, or nothing."""
        if shared_level != 0:
            raise NotImplementedError
        self.network = base_class.network

    def change_type_map(
        self, type_map: list[str], model_with_new_type_stat: Any = None
    ) -> None:
        """Put the elements in another order, or leave some out."""
        if unknown := set(type_map) - set(self.type_map):
            msg = f"7net was not trained on {', '.join(sorted(unknown))}"
            raise ValueError(msg)
        rows = [self.type_map.index(element) for element in type_map]
        old = self.network.embedding
        self.network.embedding = torch.nn.Parameter(
            old.detach()[rows].clone(), requires_grad=old.requires_grad
        )
        self.type_map, self.ntypes = list(type_map), len(type_map)

    def compute_input_stats(
        self, merged: Callable[[], list[dict[str, Any]]] | list[Any], path: Any = None
    ) -> None:
        """Do nothing: there are no statistics of the input."""

    def set_stat_mean_and_stddev(self, mean: Any, stddev: Any) -> None:
        """Do nothing: there are no statistics of the input."""

    def get_stat_mean_and_stddev(self) -> tuple[list[Any], list[Any]]:
        """Return nothing: there are no statistics of the input."""
        return [], []

    def serialize(self) -> NoReturn:
        """Refuse: no other backend of deepmd-kit knows this descriptor."""
        msg = "7net cannot be converted to other backends of deepmd-kit"
        raise NotImplementedError(msg)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> NoReturn:
        """Refuse, as :meth:`serialize` does."""
        msg = "7net cannot be converted from other backends of deepmd-kit"
        raise NotImplementedError(msg)

    @classmethod
    def update_sel(
        cls, train_data: Any, type_map: list[str] | None, local_jdata: dict[str, Any]
    ) -> tuple[dict[str, Any], float | None]:
        """Return the parameters with as many neighbours as the data have."""
        distance, sel = UpdateSel().update_one_sel(
            train_data, type_map, local_jdata["cutoff"], local_jdata["sel"], True
        )
        return {**local_jdata, "sel": sel[0]}, distance


def _number(seed: int | Sequence[int] | None) -> int:
    """Return one seed; deepmd-kit gives several to tell parts of a model apart."""
    if seed is None:
        return torch.seed() % 2**63
    numbers = [seed] if isinstance(seed, int) else list(seed)
    combined = 0
    for number in numbers:
        combined = (combined * 1_000_003 + number) % 2**63
    return combined
