"""The loops of a convolution on a CPU, compiled when they are first used.

Arguments are those of :func:`mftscreen.model.backbones.sevennet.convolution.convolve`,
and the sums of messages or what they are differentiated by; one of the four is written.
Import this module inside functions only: importing numba takes about half a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mftscreen.compiling import compiled

__all__ = ["loops"]

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile with numba; sums over channels may be reordered, to be vectorised."""
    return compiled(
        function,
        nogil=True,
        error_model="numpy",
        fastmath={"contract", "nsz", "reassoc"},
    )


@_compiled
def add_couplings(
    centers: Integers,
    others: Integers,
    starts: Integers,
    weights: Floats,
    couplings: Floats,
    features: Floats,
    messages: Floats,
) -> None:
    """Add to `couplings` the sum without them."""
    n_components, n_channels = features.shape[1:]
    weighed = np.empty(n_channels, features.dtype)
    for e in range(len(centers)):
        own, near = messages[centers[e]], features[others[e]]
        for p in range(len(starts) - 1):
            for k in range(starts[p], starts[p + 1]):
                for u in range(n_channels):
                    weighed[u] = weights[e, p, u] * own[k, u]
                for a in range(n_components):
                    total = couplings[e, a, k]
                    for u in range(n_channels):
                        total += weighed[u] * near[a, u]
                    couplings[e, a, k] = total


@_compiled
def add_features(
    centers: Integers,
    others: Integers,
    starts: Integers,
    weights: Floats,
    couplings: Floats,
    features: Floats,
    messages: Floats,
) -> None:
    """Add to `features` the sum without them."""
    n_components, n_channels = features.shape[1:]
    weighed = np.empty(n_channels, features.dtype)
    for e in range(len(centers)):
        own, near = messages[centers[e]], features[others[e]]
        for p in range(len(starts) - 1):
            for k in range(starts[p], starts[p + 1]):
                for u in range(n_channels):
                    weighed[u] = weights[e, p, u] * own[k, u]
                for a in range(n_components):
                    coupled = couplings[e, a, k]
                    for u in range(n_channels):
                        near[a, u] += coupled * weighed[u]


@cache
def loops(n_components: int) -> tuple[Callable[..., None], ...]:
    """Return the loops, by the place of the factor that is left out of the sum.

    Parameters
    ----------
    n_components : int
        Of the features; known to the compiler, sums over them are written out.
    """

    @_compiled
    def add_weights(
        centers: Integers,
        others: Integers,
        starts: Integers,
        weights: Floats,
        couplings: Floats,
        features: Floats,
        messages: Floats,
    ) -> None:
        for e in range(len(centers)):
            own, near = messages[centers[e]], features[others[e]]
            for p in range(len(starts) - 1):
                weight = weights[e, p]
                for k in range(starts[p], starts[p + 1]):
                    for u in range(near.shape[1]):
                        turned = couplings[e, 0, k] * near[0, u]
                        for a in range(1, n_components):
                            turned += couplings[e, a, k] * near[a, u]
                        weight[u] += turned * own[k, u]

    @_compiled
    def add_messages(
        centers: Integers,
        others: Integers,
        starts: Integers,
        weights: Floats,
        couplings: Floats,
        features: Floats,
        messages: Floats,
    ) -> None:
        for e in range(len(centers)):
            own, near = messages[centers[e]], features[others[e]]
            for p in range(len(starts) - 1):
                weight = weights[e, p]
                for k in range(starts[p], starts[p + 1]):
                    for u in range(near.shape[1]):
                        turned = couplings[e, 0, k] * near[0, u]
                        for a in range(1, n_components):
                            turned += couplings[e, a, k] * near[a, u]
                        own[k, u] += weight[u] * turned

    return add_weights, add_couplings, add_features, add_messages
