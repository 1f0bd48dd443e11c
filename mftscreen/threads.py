"""How the threads of a computation wait for each other."""

from __future__ import annotations

from collections.abc import MutableMapping

__all__ = ["wait_politely"]


def wait_politely(environment: MutableMapping[str, str]) -> None:
    """Let threads that wait give their core away soon, unless something else is said.

    By default those of GNU's OpenMP, which PyTorch has on Linux, look again and again
    for milliseconds. On a quiet machine that gains nothing here; beside other work they
    keep the cores from the threads that they wait for, which makes computations on
    small arrays up to 17 times as slow (``benchmarks/waiting_threads.py``).

    Parameters
    ----------
    environment : mutable mapping of str to str
        Of a process that has not imported PyTorch yet.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", "1000")
