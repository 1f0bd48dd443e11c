"""What a model file may tell deepmd-kit to build.

deepmd-kit makes a model from a tree of parameters that stands in the checkpoint. Some
of what it understands runs code (``type: frozen`` loads TorchScript from a path), reads
files or opens addresses (``use_srtab``), or takes memory without end. So a tree is
compared with a list of what is allowed, key by key, before deepmd-kit sees it: types of
models, descriptors and fitting nets, their parameters, the values of these, and sizes
that the weights in the same file account for. Everything else is refused.

What is trusted is what is installed: mftscreen, deepmd-kit and its plug-ins. A plug-in
with a descriptor of its own names that descriptor's parameters in
:data:`DESCRIPTORS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from ase.data import chemical_symbols
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mftscreen.errors import ModelFileError

__all__ = ["DESCRIPTORS", "Descriptor", "check_parameters", "check_plain"]

MAX_NODES = 200_000
"""Containers and values in a tree of parameters; that of DPA-3.1-3M has 12,000."""

MAX_DEPTH = 16
MAX_TEXT = 10_000
MAX_HEADS = 200

Count = Annotated[int, Field(ge=0, le=2**31)]
Width = Annotated[int, Field(ge=1, le=65_536)]
Small = Annotated[int, Field(ge=0, le=1024)]
Layers = Annotated[int, Field(ge=1, le=256)]
Neighbors = Annotated[int, Field(ge=1, le=20_000)]
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0.0, le=50.0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Seed = Count | list[Count] | None
Activation = Annotated[
    str,
    Field(
        pattern=r"^(tanh|relu6?|gelu(_tf)?|softplus|sigmoid|silu|linear|none"
        r"|(silut|custom_silu)(:\d{1,3}(\.\d{1,6})?)?)$"
    ),
]
Precision = Literal["default", "float16", "float32", "float64", "bfloat16"]
Pairs = list[list[Count] | tuple[Count, Count]]


class _Allowed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_Kind = TypeVar("_Kind", bound=_Allowed)


class Descriptor(_Allowed):
    """Parameters of a descriptor; of each type, one subclass."""

    precision: Precision = "default"
    activation_function: Activation = "silu"
    seed: Seed = None
    trainable: bool = True
    exclude_types: Pairs = []
    env_protection: Number = 0.0
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False
    concat_output_tebd: bool = False

    def least_weights(self) -> int:
        """Return how many weights such a descriptor has at the least."""
        raise NotImplementedError


class _Repflow(_Allowed):
    """The layers of DPA3; defaults are deepmd-kit's."""

    n_dim: Width = 128
    e_dim: Width = 64
    a_dim: Width = 64
    nlayers: Layers = 6
    e_rcut: Length = 6.0
    e_rcut_smth: Length = 5.0
    e_sel: Neighbors = 120
    a_rcut: Length = 4.0
    a_rcut_smth: Length = 3.5
    a_sel: Neighbors = 20
    a_compress_rate: Small = 0
    a_compress_e_rate: Annotated[int, Field(ge=1, le=1024)] = 1
    a_compress_use_split: bool = False
    n_multi_edge_message: Annotated[int, Field(ge=1, le=64)] = 1
    axis_neuron: Annotated[int, Field(ge=1, le=1024)] = 4
    update_angle: bool = True
    update_style: Literal["res_avg", "res_incr", "res_residual"] = "res_residual"
    update_residual: Number = 0.1
    update_residual_init: Literal["norm", "const"] = "const"
    fix_stat_std: Number = 0.3
    skip_stat: bool = False
    optim_update: bool = True
    smooth_edge_update: bool = False
    edge_init_use_dist: bool = False
    use_exp_switch: bool = False
    use_dynamic_sel: bool = False
    sel_reduce_factor: Annotated[float, Field(gt=0.0, le=1e6)] = 10.0
    sequential_update: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> _Repflow:
        if not (self.e_rcut_smth < self.e_rcut and self.a_rcut_smth < self.a_rcut):
            msg = "a switching function ends before it begins"
            raise ValueError(msg)
        if self.a_rcut > self.e_rcut:
            msg = "angles reach further than edges"
            raise ValueError(msg)
        return self


class _DPA3(Descriptor):
    type: Literal["dpa3"]
    repflow: _Repflow
    use_loc_mapping: bool = True
    add_chg_spin_ebd: bool = False
    default_chg_spin: list[Number] | None = None

    def least_weights(self) -> int:
        flow = self.repflow
        n, e, a = flow.n_dim, flow.e_dim, flow.a_dim
        layer = n * n + flow.axis_neuron * (n + e) * n
        layer += (2 * n + e) * (n * flow.n_multi_edge_message + e)
        if flow.update_angle:
            layer += e * e + a * a
        return flow.nlayers * layer


class _SeAtten(Descriptor):
    """DPA1."""

    type: Literal["se_atten", "dpa1"]
    rcut: Length = 6.0
    rcut_smth: Length = 0.5
    sel: Neighbors | list[Neighbors]
    neuron: list[Width] = [25, 50, 100]
    axis_neuron: Annotated[int, Field(ge=1, le=1024)] = 16
    tebd_dim: Width = 8
    tebd_input_mode: Literal["concat", "strip"] = "concat"
    set_davg_zero: bool = True
    attn: Width = 128
    attn_layer: Small = 2
    attn_dotr: bool = True
    attn_mask: bool = False
    activation_function: Activation = "tanh"
    resnet_dt: bool = False
    scaling_factor: Number = 1.0
    normalize: bool = True
    temperature: Number | None = None
    trainable_ln: bool = True
    ln_eps: Number | None = 1e-5
    smooth_type_embedding: bool = True
    type_one_side: bool = False
    stripped_type_embedding: bool | None = None
    lmax: Annotated[int, Field(ge=1, le=8)] = 1
    concat_output_tebd: bool = True

    def least_weights(self) -> int:
        last = self.neuron[-1] if self.neuron else 0
        return _products(self.neuron) + self.attn_layer * self.attn * last


DESCRIPTORS: dict[str, type[Descriptor]] = {
    "dpa3": _DPA3,
    "se_atten": _SeAtten,
    "dpa1": _SeAtten,
}
"""Types of descriptors that a model file may have, and their parameters."""


class _FittingNet(_Allowed):
    type: Literal["ener", "property", "r2", "dipole_norm"] = "ener"
    neuron: list[Width] = Field(default=[120, 120, 120], max_length=64)
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

    def least_weights(self) -> int:
        """Return how many weights such a net has at the least."""
        return _products(self.neuron)


class _Energy(_FittingNet):
    type: Literal["ener"] = "ener"
    atom_ener: list[Number | None] = []
    layer_name: list[Name | None] | None = None


class _Property(_FittingNet):
    type: Literal["property", "r2", "dipole_norm"]
    property_name: Name
    task_dim: Annotated[int, Field(ge=1, le=65_536)] = 1
    intensive: bool = False
    distinguish_types: bool = True

    def least_weights(self) -> int:
        return _products([*self.neuron, self.task_dim])


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


class _Head(_Allowed):
    """An entry of ``model_dict``."""

    type: Literal["standard", "molecular_property"] = "standard"
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
    pair_exclude_types: Pairs = []
    atom_exclude_types: list[Count] = []
    preset_out_bias: dict[Name, list[Number | list[Number] | None] | None] | None = None
    srtab_add_bias: bool = True  # of a table that is not allowed
    model_branch_alias: list[Name] = []
    info: dict[str, Any] = {}
    finetune_head: str = ""
    bridging_method: Literal["None", "none", ""] = "None"
    bridging_r_inner: Number = 0.5
    bridging_r_outer: Number = 0.8
    hessian_mode: Literal[False] = False
    # deepmd-kit writes these beside those of the input
    resuming: bool = False
    new_type_map: bool = False


def check_parameters(
    heads: Mapping[str, Any], weights: Mapping[str, int] | None = None
) -> None:
    """Raise if parameters of heads say more than a model file may say.

    Parameters
    ----------
    heads : mapping of str to mapping
        Head to deepmd-kit's parameters, as
        :func:`mftscreen.model.checkpoint.model_parameters` returns them.
    weights : mapping of str to int, optional
        How many weights each head has. Without them a network may be as large as
        these parameters say.

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
        kind = _choose(DESCRIPTORS, head.descriptor.get("type"), place)
        descriptor = _validate(kind, head.descriptor, place)
        fitting = _check_fitting_net(head, name)
        needed = descriptor.least_weights() + fitting.least_weights()
        if weights is not None and needed > weights[name]:
            msg = (
                f"{name}: it would have at least {needed} weights, of which there are "
                f"{weights[name]}"
            )
            raise ModelFileError(msg)


def _check_fitting_net(head: _Head, name: str) -> _FittingNet:
    place = (name, "fitting_net")
    kinds: dict[str, type[_FittingNet]] = {
        "ener": _Energy,
        "property": _Property,
        "r2": _Property,
        "dipole_norm": _Property,
    }
    type_ = head.fitting_net.get("type", "ener")
    fitting = _validate(_choose(kinds, type_, place), head.fitting_net, place)
    molecular = type_ in ("r2", "dipole_norm")
    if molecular != (head.type == "molecular_property"):
        msg = f"{name}: a model of type {head.type!r} has no fitting net {type_!r}"
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


def _products(widths: Iterable[int]) -> int:
    return sum(a * b for a, b in pairwise(widths))
