"""Detectors in arrays and back; arrays that are no detector."""

from __future__ import annotations

import io

import numpy as np
import pytest

from mftscreen.errors import ModelFileError
from mftscreen.ood import OFMDensityDetector
from mftscreen.ood.ofm.orbitals import table_hash
from mftscreen.ood.reference.storage import pack_detector, unpack_detector


def sparse_vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, 60)) * (rng.random((n, 60)) < 0.3)


@pytest.mark.parametrize(
    "parameters",
    [{"n_neighbors": 3}, {"method": "kde", "bandwidth": 0.5}, {"method": "kde"}],
)
def test_round_trip_without_pickle(parameters: dict[str, object]) -> None:
    detector = OFMDensityDetector(alpha=0.1, table="paper", **parameters)
    detector.fit(sparse_vectors(50))
    stream = io.BytesIO()
    np.savez(stream, **pack_detector(detector))
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        loaded = unpack_detector(arrays)
    query = sparse_vectors(20, seed=2)
    used = {"bandwidth": detector.bandwidth_} if detector.method == "kde" else {}
    assert loaded.get_params() == {**detector.get_params(), **used}
    assert loaded.offset_ == detector.offset_
    assert np.array_equal(loaded.p_value(query), detector.p_value(query))
    with pytest.raises(ValueError, match="61 features"):
        loaded.predict(np.zeros((1, 61)))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loo_scores", None, "lacks loo_scores"),
        ("table_hash", np.array("0123456789abcdef"), "element table 0123456789abcdef"),
        ("shape", np.array([50, 10**13]), "damaged"),
        ("shape", np.array([50, -60]), "damaged"),
        ("shape", np.array([50.0, np.nan]), "damaged"),
        ("shape", np.array([50, 60, 1]), "damaged"),
        ("data", np.full(3, 1e200), "damaged"),
        ("n_neighbors", np.array(np.inf), "damaged"),
        ("n_neighbors", np.array([2, 2]), "damaged"),
        ("bandwidth", np.array("wide"), "damaged"),
        ("indices", np.zeros(3, dtype=complex), "numbers are expected"),
        ("loo_scores", np.zeros(3), "leave-one-out"),
        ("loo_scores", np.full(50, np.nan), "not finite"),
        ("shape", np.array([50, 10]), "damaged"),
        ("indptr", np.zeros(4, dtype=int), "damaged"),
        ("n_neighbors", np.array(0), "n_neighbors"),
        ("alpha", np.array(2.0), "alpha"),
        ("method", np.array("svm"), "method"),
        ("bandwidth", np.array(-1.0), "bandwidth"),
    ],
)
def test_damaged_arrays(key: str, value: np.ndarray | None, message: str) -> None:
    detector = OFMDensityDetector().fit(sparse_vectors(50))
    arrays = pack_detector(detector)
    assert str(arrays["table_hash"]) == table_hash("current")
    if value is None:
        del arrays[key]
    else:
        arrays[key] = value
    with pytest.raises(ModelFileError, match=message):
        unpack_detector(arrays)


@pytest.mark.parametrize("bandwidth", [np.nan, np.inf])
def test_kde_needs_a_finite_bandwidth(bandwidth: float) -> None:
    detector = OFMDensityDetector(method="kde").fit(sparse_vectors(50))
    arrays = {**pack_detector(detector), "bandwidth": np.array(bandwidth)}
    with pytest.raises(ModelFileError, match="bandwidth"):
        unpack_detector(arrays)


def test_squares_must_be_finite() -> None:
    arrays = pack_detector(OFMDensityDetector().fit(sparse_vectors(50)))
    arrays["data"] = arrays["data"].astype(np.float64) * 1e200
    with pytest.raises(ModelFileError, match="so large that its square is not"):
        unpack_detector(arrays)


def test_length_of_the_vectors_can_be_asked_for() -> None:
    arrays = pack_detector(OFMDensityDetector().fit(sparse_vectors(50)))
    assert unpack_detector(arrays, 60).n_features_in_ == 60
    with pytest.raises(ModelFileError, match="has 60 features, this version has 61"):
        unpack_detector(arrays, 61)
