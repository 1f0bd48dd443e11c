"""Checkpoints from anywhere, opened so that they do no harm; needs no deepmd-kit."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mftscreen.errors import ModelFileError
from mftscreen.model.files.allowed import check_parameters, check_plain
from mftscreen.model.files.archive import read_file, stored_members
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.pickles import check_pickle

__all__ = ["read_checkpoint", "read_state"]

MAX_COPIES = 64
"""Of a descriptor, one for each of the heads that share it."""

BEGINNINGS = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
"""Of what ``torch.save`` writes: a zip archive or, before torch 1.6, pickles."""

N_PICKLES = 5
"""Of which the older form has: two numbers, the machine, the contents, their keys."""


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
    content = read_file(path)
    return read_state(content, path), hashlib.sha256(content).hexdigest()


def read_state(
    source: str | Path | bytes, name: str | Path | None = None
) -> dict[str, Any]:
    """Return the model state of a deepmd-kit PyTorch checkpoint.

    Parameters
    ----------
    source : str, Path or bytes
        A ``.pt`` file or its contents.
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
        If it is missing, truncated, not such a checkpoint, holds anything but tensors
        and plain containers, or parameters that a model file may not have
        (:mod:`mftscreen.model.files.allowed`).

    Notes
    -----
    It is opened with ``weights_only=True``, and what it says to deepmd-kit is compared
    with a list of what is allowed, so that a hostile file cannot run code, read files
    or open addresses.
    """
    if name is None:
        name = "the checkpoint" if isinstance(source, bytes) else source
    content = source if isinstance(source, bytes) else read_file(Path(source))
    state = _load(content, name)
    if isinstance(state, dict) and "model" in state:
        state = state["model"]
    try:
        parameters = state["_extra_state"]["model_params"]
    except (KeyError, TypeError, IndexError):
        parameters = None
    if not isinstance(parameters, dict):
        msg = f"{name} holds no deepmd-kit model (no _extra_state.model_params)"
        raise ModelFileError(msg)
    try:
        _check_tensors(state)
        check_plain(state["_extra_state"])
        heads = model_parameters(state)
        check_parameters(heads, {str(h): _count_bytes(state, h) for h in heads})
        _check_copies(state, heads)
    except ModelFileError as error:
        msg = f"{name} is not a deepmd-kit model: {error}"
        raise ModelFileError(msg) from error
    return dict(state)


def _load(content: bytes, name: str | Path) -> Any:
    """Return what ``torch.save`` has written, if it is tensors and plain containers."""
    import torch

    try:
        _check_container(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError, struct.error, AssertionError, AttributeError, EOFError,
        LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
        ModelFileError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        msg = f"{name} is not a deepmd-kit PyTorch checkpoint: {_explain(error)}"
        raise ModelFileError(msg) from error


def _explain(error: Exception) -> str:
    """Return why torch cannot load a file, of which it often says something else."""
    if isinstance(error, ModelFileError | RuntimeError) and str(error):
        return str(error).partition("\n")[0]
    if isinstance(error, MemoryError):
        return "it claims more memory than there is"
    return "it is damaged, or holds more than tensors and plain containers"


def _check_container(content: bytes) -> None:
    """Raise if a file is not of ``torch.save``, or would take more than it has.

    None of its members is compressed, and none of its pickles takes time without end.
    """
    if not content.startswith(BEGINNINGS):
        msg = "not a file that torch.save has written"
        raise ModelFileError(msg)
    if content.startswith(BEGINNINGS[0]):
        members = stored_members(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len({name.lower() for name in members}) < len(members):
                msg = "two of its members differ in case only"
                raise ModelFileError(msg)
            for name in members:
                if name.lower().endswith(".pkl"):  # as torch finds them
                    check_pickle(io.BytesIO(archive.read(name)))
    else:
        stream = io.BytesIO(content)
        for _ in range(N_PICKLES):
            check_pickle(stream)


def _check_tensors(state: Mapping[str, Any]) -> None:
    """Raise if a state has more than tensors by name, beside its parameters."""
    import torch

    for key, value in state.items():
        if key == "_extra_state":
            continue
        if not (isinstance(key, str) and isinstance(value, torch.Tensor)):
            msg = f"{key!r} is a {type(value).__name__}; tensors by name are expected"
            raise ModelFileError(msg)
        odd = value.is_nested or value.is_quantized or value.is_complex()
        if odd or value.layout != torch.strided or value.device.type != "cpu":
            msg = f"{key!r} is not a dense tensor of real numbers"
            raise ModelFileError(msg)
        # strides of zero make large tensors of few numbers
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            msg = f"{key!r} has more elements than numbers"
            raise ModelFileError(msg)


def _count_bytes(state: Mapping[str, Any], head: str = "") -> int:
    """Return what the tensors of a head, or of all, take; each memory counts once."""
    prefix = f"model.{head}." if head else ""
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for key, value in state.items()
        if key != "_extra_state" and key.startswith(prefix)
    }
    return sum(storages.values())


def _check_copies(state: Mapping[str, Any], heads: Mapping[str, Any]) -> None:
    """Raise if heads share so much that each on its own would fill the memory."""
    apart, together = sum(_count_bytes(state, h) for h in heads), _count_bytes(state)
    if apart > MAX_COPIES * together:
        msg = (
            f"its {len(heads)} heads take {apart} bytes, of which there are {together}"
        )
        raise ModelFileError(msg)
