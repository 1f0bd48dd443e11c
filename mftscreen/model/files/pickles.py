"""Pickles that cost more than they are long, told before they are loaded."""

from __future__ import annotations

import pickletools
from typing import Any, BinaryIO

from mftscreen.errors import ModelFileError

__all__ = ["check_pickle"]

MAX_STEPS = 5_000_000
"""Of one pickle; a checkpoint has some twenty for each tensor."""

MAX_NODES = 100_000
"""In a tuple, those of the tuples in it included, as often as they stand there."""

_MARK = pickletools.markobject
_ABOVE_MARK = pickletools.stackslice


def check_pickle(stream: BinaryIO) -> None:
    """Raise if a pickle takes time without end, though it may do nothing forbidden.

    Parameters
    ----------
    stream : binary file
        Left behind the end of the pickle.

    Raises
    ------
    ModelFileError
        If it has too many steps, or a tuple that holds another one twice, which holds
        another one twice and so on: as a key, that takes twice the time with each.
    ValueError, LookupError
        If it is no pickle.
    """
    stack: list[int | None] = []  # nodes of each object; None is a mark
    memo: dict[Any, int] = {}
    for step, (code, argument, _) in enumerate(pickletools.genops(stream)):
        if step > MAX_STEPS:
            msg = f"it has more than {MAX_STEPS} steps"
            raise ModelFileError(msg)
        name = code.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            key = len(memo) if name == "MEMOIZE" else argument
            memo[key] = stack[-1] or 0
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            taken = _take(stack, code)
            stack += [None if kind is _MARK else 1 for kind in code.stack_after]
            if name.startswith("TUPLE"):
                stack[-1] = 1 + sum(taken)
                if sum(taken) > MAX_NODES:
                    msg = "a tuple in it holds others too often"
                    raise ModelFileError(msg)


def _take(stack: list[int | None], code: pickletools.OpcodeInfo) -> list[int]:
    """Take what a step needs from the stack."""
    taken: list[int] = []
    n = len(code.stack_before)
    if _ABOVE_MARK in code.stack_before:
        while (top := stack.pop()) is not None:
            taken.append(top)
        n = code.stack_before.index(_MARK)
    return taken + [stack.pop() or 0 for _ in range(n)]
