"""Surgery on deepmd-kit checkpoints; needs torch, but not deepmd-kit."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from mftscreen.errors import ModelFileError
from mftscreen.model.branches import main_head

__all__ = [
    "keep_heads",
    "keep_main_head",
    "model_parameters",
    "read_checkpoint",
    "read_state",
    "save_state",
]

BEGINNINGS = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
"""Of what ``torch.save`` writes: a zip archive or, before torch 1.6, pickles."""


class _FittingNet(BaseModel, strict=True):
    type: str = "ener"
    property_name: str = ""


class _HeadParameters(BaseModel, strict=True):
    """What is read of a head's parameters; the rest is deepmd-kit's to understand."""

    type_map: list[str] = Field(min_length=1)
    descriptor: dict[str, Any]
    fitting_net: _FittingNet
    model_branch_alias: list[str] = []


_PARAMETERS: TypeAdapter[Any] = TypeAdapter(
    Annotated[dict[str, _HeadParameters], Field(min_length=1)]
)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], str]:
    """Return the model state in a ``.pt`` file, and the sha256 of the file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    state : dict
        As :func:`read_state` returns it.
    sha256 : str

    Raises
    ------
    ModelFileError
        As :func:`read_state`, or if the file cannot be read.
    """
    content = _read_bytes(path)
    return read_state(content, path), hashlib.sha256(content).hexdigest()


def read_state(
    source: str | Path | bytes, name: str | Path | None = None
) -> dict[str, Any]:
    """Return the model state of a deepmd-kit PyTorch checkpoint.

    Parameters
    ----------
    source : str, Path or bytes
        A ``.pt`` file or its contents. Opened with ``weights_only=True``, so that a
        hostile file cannot run code.
    name : str or Path, optional
        What messages call the contents: the file that they are from.

    Returns
    -------
    dict
        Tensors by name, and ``_extra_state`` with the model's parameters, of which
        each head has a type map, a descriptor and a fitting net.

    Raises
    ------
    ModelFileError
        If it is missing, truncated, not such a checkpoint, or holds anything but
        tensors and plain containers.
    """
    import torch

    if name is None:
        name = "the checkpoint" if isinstance(source, bytes) else source
    content = source if isinstance(source, bytes) else _read_bytes(Path(source))
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError, struct.error, AssertionError, AttributeError, EOFError,
        LookupError, OSError, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        reason = _explain(content, error)
        msg = f"{name} is not a deepmd-kit PyTorch checkpoint: {reason}"
        raise ModelFileError(msg) from error
    if isinstance(state, dict) and "model" in state:
        state = state["model"]
    try:
        parameters = state["_extra_state"]["model_params"]
    except (KeyError, TypeError, IndexError):
        parameters = None
    if not isinstance(parameters, dict):
        msg = f"{name} holds no deepmd-kit model (no _extra_state.model_params)"
        raise ModelFileError(msg)
    _check_state(state, name)
    return dict(state)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise ModelFileError(msg) from None
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise ModelFileError(msg) from error


def _explain(content: bytes, error: Exception) -> str:
    """Return why torch cannot load a file, of which it often says something else."""
    if not content.startswith(BEGINNINGS):
        return "not a file that torch.save has written"
    reason = str(error).partition("\n")[0] if isinstance(error, RuntimeError) else ""
    return reason or "it is damaged, or holds more than tensors and plain containers"


def _check_state(state: Mapping[str, Any], name: str | Path) -> None:
    """Raise if a state is not laid out as everything that reads it expects."""
    import torch

    for key, value in state.items():
        if key != "_extra_state" and not (
            isinstance(key, str) and isinstance(value, torch.Tensor)
        ):
            msg = (
                f"{name} is not a deepmd-kit model: {key!r} is a "
                f"{type(value).__name__}; tensors by name are expected"
            )
            raise ModelFileError(msg)
    try:
        _PARAMETERS.validate_python(model_parameters(state))
    except ValidationError as error:
        first = error.errors()[0]
        multi_task = "model_dict" in state["_extra_state"]["model_params"]
        loc = ("model_dict", *first["loc"]) if multi_task else first["loc"][1:]
        place = ".".join(map(str, loc))
        reason, *_ = first["msg"].partition(" or instance of")  # of a class in here
        msg = f"{name} is not a deepmd-kit model: {place}: {reason}"
        raise ModelFileError(msg) from error


def save_state(state: Mapping[str, Any]) -> bytes:
    """Return a checkpoint with a model state and no optimizer state."""
    import torch

    buffer = io.BytesIO()
    # "dp train --init-model" wants the optimizer's to be there, and does not read it
    torch.save({"model": dict(state), "optimizer": {}}, buffer)
    return buffer.getvalue()


def model_parameters(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return deepmd's model parameters by head name (``Default`` if single-task)."""
    parameters: dict[str, Any] = state["_extra_state"]["model_params"]
    by_head: dict[str, dict[str, Any]] = parameters.get(
        "model_dict", {"Default": parameters}
    )
    return by_head


def keep_heads(state: Mapping[str, Any], heads: Mapping[str, str]) -> dict[str, Any]:
    """Return a state that has some of the heads only, under names of one's choice.

    Parameters
    ----------
    state : mapping
        Of a model with one head or several.
    heads : mapping of str to str
        For each head to keep: the name that it is to have, to the name that it has in
        `state`.

    Returns
    -------
    dict
        A new state, laid out as that of a multi-task model; it shares the tensors. The
        old one is not changed.
    """
    parameters = model_parameters(state)
    kept: dict[str, Any] = {
        f"model.{new}.{key.removeprefix(prefix)}": value
        for new, old in heads.items()
        for prefix in [f"model.{old}."]
        for key, value in state.items()
        if key.startswith(prefix)
    }
    by_head = {new: parameters[old] for new, old in heads.items()}
    extra = {**state["_extra_state"], "model_params": {"model_dict": by_head}}
    return {**kept, "_extra_state": extra}


def keep_main_head(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with one head only, for those who want descriptors.

    Parameters
    ----------
    state : mapping

    Returns
    -------
    dict
        As :func:`keep_heads` returns it, with the head of
        :func:`mftscreen.model.branches.main_head` under its own name.
    """
    head = main_head(model_parameters(state))
    return keep_heads(state, {head: head})
