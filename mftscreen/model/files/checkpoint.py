"""Surgery on deepmd-kit checkpoints; needs torch, but not deepmd-kit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from mftscreen.model.files.branches import main_head

__all__ = [
    "keep_heads",
    "keep_main_head",
    "model_parameters",
    "save_state",
]


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
        :func:`mftscreen.model.files.branches.main_head` under its own name.
    """
    head = main_head(model_parameters(state))
    return keep_heads(state, {head: head})
