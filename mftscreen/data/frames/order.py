"""Any number of frames in a random order, of which nothing is held in memory."""

from __future__ import annotations

__all__ = ["permuted"]

_ROUNDS = 4
_MASK = (1 << 64) - 1


def permuted(position: int, n: int, key: int) -> int:
    """Return what stands at a position of a random order of ``0 … n - 1``.

    Parameters
    ----------
    position : int
        From 0 to ``n - 1``.
    n : int
    key : int
        One of about 2^64 orders.

    Returns
    -------
    int

    Notes
    -----
    A Feistel network of four rounds on the smallest even number of bits that holds
    ``n``; what falls beyond is put through it again ("cycle walking") [1]_.

    References
    ----------
    .. [1] J. Black and P. Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002,
       doi:10.1007/3-540-45760-7_9

    Examples
    --------
    >>> sorted(permuted(k, 7, key=1) for k in range(7))
    [0, 1, 2, 3, 4, 5, 6]
    >>> permuted(3, 10**8, key=1) == permuted(3, 10**8, key=2)
    False
    """
    half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    low = (1 << half) - 1
    value = position
    while True:
        left, right = value >> half, value & low
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mixed(right, turn, key) & low)
        value = left << half | right
        if value < n:
            return value


def _mixed(value: int, turn: int, key: int) -> int:
    """Return bits that depend on all of those given (the finalizer of splitmix64)."""
    x = (value + (4 * key + turn + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31
