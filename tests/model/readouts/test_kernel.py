"""Kernel read-outs: what they predict, and arrays from files."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from mftscreen.errors import ModelFileError
from mftscreen.model.readouts.kernel import KernelCard, KernelReadout, gaussian
from mftscreen.transforms import Transform

WIDTH, N = 3, 4


def _readout(**changes: object) -> KernelReadout:
    settings: dict = {
        "method": "ridge", "pooling": "mean_spread", "gamma": 0.7, "offset": 0.2,
        "transform": Transform(), "n_landmarks": N,
    }  # fmt: skip
    card = KernelCard(**{**settings, **changes})
    rng = np.random.default_rng(0)
    d = WIDTH * (1 if card.pooling == "mean" else 2)
    d += len(card.composition) + 1 if card.composition else 0
    landmarks = rng.normal(size=(N, d)).astype(np.float16).astype(float)
    center, scale = rng.normal(size=d), rng.uniform(0.5, 2.0, d)
    weights = rng.normal(size=(N, card.n_components))
    linear = rng.normal(size=(d + 1, card.n_components)) if card.linear else None
    return KernelReadout(card, center, scale, landmarks, weights, linear)


POOLED = np.random.default_rng(1).normal(size=(6, 2 * WIDTH))
WATER = [Atoms("H2O")] * 6


def test_it_is_the_sum_of_its_landmarks() -> None:
    readout = _readout()
    values = readout.predict(POOLED, WATER)
    x = (POOLED - readout.center) / readout.scale
    expected = [
        0.2
        + sum(
            w * np.exp(-0.7 * np.mean((row - z) ** 2))
            for w, z in zip(readout.weights, readout.landmarks, strict=True)
        )
        for row in x
    ]
    np.testing.assert_allclose(values, np.reshape(expected, (6, 1)), rtol=1e-12)


def test_the_mean_alone_is_the_first_half() -> None:
    readout = _readout(pooling="mean")
    other = np.hstack([POOLED[:, :WIDTH], POOLED[:, WIDTH:] + 1.0])
    np.testing.assert_array_equal(
        readout.predict(POOLED, WATER), readout.predict(other, WATER)
    )


def test_a_linear_term_knows_the_number_of_atoms() -> None:
    readout = _readout(linear=True)
    x = (POOLED - readout.center) / readout.scale
    added = readout.predict(POOLED, WATER) - _readout().predict(POOLED, WATER)
    expected = x @ readout.linear[:-1] + 3 * readout.linear[-1]
    np.testing.assert_allclose(added, expected)
    share = _readout(linear=True, per_atom=True).predict(POOLED, WATER)
    np.testing.assert_allclose(share, 3 * readout.predict(POOLED, WATER))


def test_a_share_of_one_atom_is_multiplied_by_their_number() -> None:
    readout = _readout(per_atom=True, elements={"H": 1.0, "O": 4.0})
    double = [atoms + atoms for atoms in WATER]
    once, twice = (readout.predict(POOLED, rows) for rows in (WATER, double))
    np.testing.assert_allclose(twice, 2.0 * once)
    bare = _readout(per_atom=True).predict(POOLED, WATER)
    np.testing.assert_allclose(readout.predict(POOLED, WATER) - bare, 6.0)


def test_a_logarithm_is_undone() -> None:
    plain = _readout().predict(POOLED, WATER)
    readout = _readout(transform=Transform(kind="log10"))
    np.testing.assert_allclose(readout.predict(POOLED, WATER), 10.0**plain)


def test_files_of_before_have_another_function_for_errors() -> None:
    readout = _readout(error_offset=-3.0)
    arrays = readout.to_arrays("gap") | {"gap/error_weights": np.ones(N)}
    again = KernelReadout.from_arrays(readout.card, arrays, "gap", WIDTH)
    assert np.array_equal(
        again.predict(POOLED, WATER), _readout().predict(POOLED, WATER)
    )


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("offset", [0.2, [0.2, -1.0]])
def test_arrays_come_back_as_they_were(
    offset: float | list[float], linear: bool
) -> None:
    readout = _readout(offset=offset, linear=linear)
    arrays = readout.to_arrays("gap")
    assert arrays["gap/landmarks"].dtype == np.float16
    # a single number as in files of before
    assert arrays["gap/weights"].shape == (N, *np.shape(offset))
    again = KernelReadout.from_arrays(readout.card, arrays, "gap", WIDTH)
    np.testing.assert_array_equal(
        again.predict(POOLED, WATER), readout.predict(POOLED, WATER)
    )


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("landmarks", None, "missing"),
        ("landmarks", np.zeros((N, 2 * WIDTH + 1), np.float16), "shape"),
        ("weights", np.zeros(N, dtype=int), "int64"),
        ("weights", np.full(N, np.nan), "not finite"),
        ("weights", np.full(N, 1e31), "beyond 1e\\+30"),
        ("center", np.full(2 * WIDTH, 1e13), "beyond 1e\\+12"),
        ("scale", np.zeros(2 * WIDTH), "not positive"),
        ("center", np.array(["a"] * 2 * WIDTH), "<U1"),
        ("linear", None, "missing"),
        ("linear", np.zeros(2 * WIDTH), "shape"),
        ("linear", np.full(2 * WIDTH + 1, np.inf), "not finite"),
    ],
)
def test_damaged_arrays_are_refused(
    key: str, value: np.ndarray | None, reason: str
) -> None:
    readout = _readout(linear=True)
    arrays = readout.to_arrays("gap")
    del arrays[f"gap/{key}"]
    if value is not None:
        arrays[f"gap/{key}"] = value
    with pytest.raises(ModelFileError, match=reason):
        KernelReadout.from_arrays(readout.card, arrays, "gap", WIDTH)


def test_the_kernel_is_one_where_vectors_are_equal() -> None:
    x = np.random.default_rng(0).normal(size=(5, 7))
    kernel = gaussian(x, x, 0.3)
    np.testing.assert_allclose(np.diag(kernel), 1.0, atol=1e-12)
    assert (kernel[~np.eye(5, dtype=bool)] < 1.0).all()


def test_each_element_has_a_number_for_each_component() -> None:
    with pytest.raises(ValueError, match="has not 2 numbers"):
        _readout(per_atom=True, offset=[0.0, 0.0], elements={"H": 1.0})


def test_compositions_are_compared_beside_descriptors() -> None:
    readout = _readout(composition=["H", "O"])
    x = np.hstack([POOLED, [[2 / 3, 1 / 3, 0.0]] * 6])
    bare = KernelReadout(
        readout.card.model_copy(update={"composition": []}),
        *(readout.center, readout.scale, readout.landmarks, readout.weights),
    )
    np.testing.assert_allclose(readout.predict(POOLED, WATER), bare.predict(x, WATER))
    assert (readout.predict(POOLED, [Atoms("HeO")] * 6) != bare.predict(x, WATER)).all()
    again = KernelReadout.from_arrays(
        readout.card, readout.to_arrays("gap"), "gap", WIDTH
    )
    np.testing.assert_allclose(
        again.predict(POOLED, WATER), readout.predict(POOLED, WATER)
    )
    with pytest.raises(ModelFileError, match="center is"):
        KernelReadout.from_arrays(bare.card, readout.to_arrays("gap"), "gap", WIDTH)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"composition": ["H", "H"]}, "named twice"),
        ({"composition": ["H", "Qq"]}, "no elements: Qq"),
        ({"per_atom": True, "elements": {"water": 1.0}}, "no elements: water"),
    ],
)
def test_a_card_names_elements(changes: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _readout(**changes)
