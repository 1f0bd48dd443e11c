"""What a model file may tell deepmd-kit to build.

deepmd-kit makes a model from a tree of parameters that stands in the checkpoint. Some
of what it understands runs code (``type: frozen`` loads TorchScript from a path), reads
files or opens addresses (``use_srtab``), or takes memory without end. So a tree is
compared with a list of what is allowed, key by key, before deepmd-kit sees it: types of
models, descriptors and fitting nets, their parameters, the values of these, and sizes
that the weights in the same file account for. Everything else is refused.

What is trusted is what is installed: mftscreen, deepmd-kit and its plug-ins. A plug-in
with a descriptor of its own names that descriptor's parameters in
:attr:`mftscreen.model.backbones.seam.Architecture.allowed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from ase.data import chemical_symbols
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from mftscreen.errors import ModelFileError
from mftscreen.head_forms import HEAD_FORMS, STANDARD
from mftscreen.model.backbones import allowed_descriptors, find_architecture
from mftscreen.model.backbones.seam import Architecture
from mftscreen.model.files.parameters import (
    BYTES,
    Activation,
    Allowed,
    Count,
    Name,
    Number,
    Pairs,
    Precision,
    Seed,
    Small,
)

__all__ = ["check_parameters", "check_plain"]

MAX_NODES = 200_000
"""Containers and values in a tree of parameters."""

MAX_DEPTH = 16
MAX_TEXT = 10_000
MAX_HEADS = 200

_Kind = TypeVar("_Kind", bound=Allowed)

_MODELS = {form.fitting: form.model for form in HEAD_FORMS.values()}
"""Type of the model that a type of fitting nets of properties belongs to."""

_HiddenWidth = Annotated[int, Field(ge=0, le=65_536)]
"""Of some nets 0 stands for a width that deepmd-kit takes from the descriptor's."""


class _FittingNet(Allowed):
    type: str = "ener"
    neuron: list[_HiddenWidth] = Field(default=[120, 120, 120], max_length=64)
    resnet_dt: bool = True
    activation_function: Activation = "tanh"
    precision: Precision = "default"
    seed: Seed = None
    trainable: bool | list[bool] = True
    dim_case_embd: Small = 0
    numb_fparam: Small = 0
    numb_aparam: Small = 0
    default_fparam: list[Number] | None = None
    rcond: Number | None = None
    use_aparam_as_mask: bool = False

    def least_weights(self, width: int) -> int:
        """Return how many weights such a net has at the least.

        Parameters
        ----------
        width : int
            Of the descriptor.
        """
        inputs = self.numb_fparam + self.numb_aparam + self.dim_case_embd
        hidden = [n or 32 * -(-8 * width // 96) for n in self.neuron]
        return sum(a * b for a, b in pairwise([width + inputs, *hidden]))


class _Energy(_FittingNet):
    atom_ener: list[Number | None] = Field(default=[])
    layer_name: list[Name | None] | None = None


class _GatedEnergy(_Energy):
    """Of which each hidden layer has a gate, and conditions may scale the layers."""

    neuron: list[_HiddenWidth] = Field(default=[0], max_length=64)
    activation_function: Activation = "silu"
    precision: Precision = "float32"
    resnet_dt: bool = False
    case_film_embd: bool = False

    def least_weights(self, width: int) -> int:
        hidden = [n or 32 * -(-8 * width // 96) for n in self.neuron]
        return sum(2 * a * b for a, b in pairwise([width, *hidden]))


class _Property(_FittingNet):
    property_name: Name
    task_dim: Annotated[int, Field(ge=1, le=65_536)] = 1
    intensive: bool = False
    distinguish_types: bool = True

    def least_weights(self, width: int) -> int:
        last = self.neuron[-1] if self.neuron else width
        return super().least_weights(width) + last * self.task_dim


_ENERGY_NETS: Mapping[str, type[_Energy]] = {
    "ener": _Energy, "dpa4_ener": _GatedEnergy, "sezm_ener": _GatedEnergy,
}  # fmt: skip


def _element(symbol: str) -> str:
    if symbol not in chemical_symbols[1:]:
        msg = f"{symbol!r} is no chemical element"
        raise ValueError(msg)
    return symbol


def _distinct(symbols: list[str]) -> list[str]:
    if len(set(symbols)) < len(symbols):
        msg = "an element stands in it twice"
        raise ValueError(msg)
    return symbols


def _plain_list(value: Any) -> Any:
    """Return a tuple as a list, which is what JSON would have made of it."""
    return list(value) if isinstance(value, tuple) else value


class _Head(Allowed):
    """An entry of ``model_dict``."""

    type: str = STANDARD
    type_map: Annotated[
        list[Annotated[str, AfterValidator(_element)]],
        BeforeValidator(_plain_list),
        AfterValidator(_distinct),
        Field(min_length=1),
    ]
    descriptor: dict[str, Any]
    fitting_net: dict[str, Any]
    data_stat_nbatch: Count = 10
    data_stat_protect: Number = 0.01
    data_bias_nsample: Count = 10
    pair_exclude_types: Pairs = Field(default=[])
    atom_exclude_types: list[Count] = Field(default=[])
    preset_out_bias: dict[Name, list[Number | list[Number] | None] | None] | None = None
    srtab_add_bias: bool = True  # of a table that is not allowed
    model_branch_alias: list[Name] = Field(default=[])
    info: dict[str, Any] = Field(default={})
    finetune_head: str = ""
    bridging_method: Literal["None", "none", ""] = "None"
    bridging_r_inner: Number = 0.5
    bridging_r_outer: Number = 0.8
    hessian_mode: Literal[False] = False
    # of DPA4, in training alone
    use_compile: bool = False
    enable_tf32: bool = True
    lora: None = None
    # deepmd-kit writes these beside those of the input
    resuming: bool = False
    new_type_map: bool = False


def check_parameters(
    heads: Mapping[str, Any], n_bytes: Mapping[str, int] | None = None
) -> None:
    """Raise if parameters of heads say more than a model file may say.

    Parameters
    ----------
    heads : mapping of str to mapping
        Head to deepmd-kit's parameters, as
        :func:`mftscreen.model.files.checkpoint.model_parameters` returns them.
    n_bytes : mapping of str to int, optional
        What each head's weights take. Without it a network may be as large as these
        parameters say.

    Raises
    ------
    ModelFileError
        If a type or a parameter is not on the list, a value is not of the type or
        size that it must have, or a network would have far more weights than there
        are. The message has the place.
    """
    if not (isinstance(heads, Mapping) and 0 < len(heads) <= MAX_HEADS):
        msg = f"model_dict: it is not a dictionary of 1 to {MAX_HEADS} heads"
        raise ModelFileError(msg)
    for name, parameters in heads.items():
        head = _validate(_Head, parameters, (name,))
        place = (name, "descriptor")
        kind = _choose(allowed_descriptors(), head.descriptor.get("type"), place)
        descriptor = _validate(kind, head.descriptor, place)
        architecture = find_architecture(head.descriptor)
        fitting = _check_fitting_net(head, name, architecture)
        needed = BYTES[descriptor.precision] * descriptor.least_weights(
            len(head.type_map)
        ) + BYTES[fitting.precision] * fitting.least_weights(descriptor.width())
        if n_bytes is not None and needed > n_bytes[name]:
            msg = (
                f"{name}: its weights would take at least {needed} bytes, and there "
                f"are {n_bytes[name]}"
            )
            raise ModelFileError(msg)


def _check_fitting_net(
    head: _Head, name: str, architecture: Architecture
) -> _FittingNet:
    place = (name, "fitting_net")
    kinds: dict[str, type[_FittingNet]] = {
        **dict.fromkeys(_MODELS, _Property),
        # a plug-in may name others, whose parameters nothing here knows
        **{k: v for k, v in _ENERGY_NETS.items() if k in architecture.energy_nets},
    }
    type_ = head.fitting_net.get("type", "ener")
    fitting = _validate(_choose(kinds, type_, place), head.fitting_net, place)
    model = _MODELS.get(type_, STANDARD)
    if head.type not in (architecture.models if model == STANDARD else (model,)):
        msg = (
            f"{name}: a model of type {head.type[:80]!r} has no fitting net {type_!r} "
            f"on a descriptor {architecture.kind!r}"
        )
        raise ModelFileError(msg)
    return fitting


def check_plain(tree: Any) -> None:
    """Raise if a tree holds more than plain containers and values, or too many.

    Parameters
    ----------
    tree
        Of dictionaries with strings as keys, lists, tuples, strings, numbers and None.

    Raises
    ------
    ModelFileError
    """
    waiting: list[tuple[Any, int]] = [(tree, 0)]
    n_nodes = 0
    while waiting:
        node, depth = waiting.pop()
        # a container that stands in many places counts in each, as when it is copied
        n_nodes += 1
        children = _children(node)
        if n_nodes + len(children) > MAX_NODES or depth > MAX_DEPTH:
            msg = "its parameters are nested too deep, or too many"
            raise ModelFileError(msg)
        waiting.extend((child, depth + 1) for child in children)


def _children(node: Any) -> list[Any]:
    if type(node) is dict and all(type(key) is str for key in node):
        return [*node, *node.values()]
    if type(node) in (list, tuple):
        return list(node)
    if (
        (node is None or type(node) in (bool, float))
        or (type(node) is int and abs(node) < 2**63)
        or (type(node) is str and len(node) <= MAX_TEXT)
    ):
        return []
    msg = f"a {type(node).__name__} stands where plain containers and values belong"
    raise ModelFileError(msg)


def _choose(
    kinds: Mapping[str, type[_Kind]], name: Any, place: tuple[str, ...]
) -> type[_Kind]:
    if not (isinstance(name, str) and name in kinds):
        msg = (
            f"{'.'.join(place)}.type: {str(name)[:80]!r} is not one of those that a "
            f"model file may have: {', '.join(kinds)}"
        )
        raise ModelFileError(msg)
    return kinds[name]


def _validate(kind: type[_Kind], values: Any, place: tuple[str, ...]) -> _Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (*place, *first["loc"])))
        reason = first["msg"]
        if first["type"] == "extra_forbidden":
            reason = "a model file may not have this parameter"
        elif first["type"] not in ("missing", "model_type"):
            reason += f" (it is {str(first['input'])[:80]!r})"
        msg = f"{where}: {reason}"
        raise ModelFileError(msg) from error
