"""Where rows lie among training rows."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.outcome.region import TrainedRegion
from mftscreen.model.files.bundle import Bundle
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.properties import PropertySpec

N, GAP = (PropertySpec(name=name, label=name) for name in ("n", "gap"))


def salts(lengths: list[float]) -> list[LabelledStructure]:
    return [
        LabelledStructure(
            f"{a}",
            bulk("NaCl", "rocksalt", a=a),
            {"n": np.array(a), "gap": np.array(1)},
        )
        for a in lengths
    ]


@pytest.fixture(scope="module")
def descriptors(bundle: Bundle) -> PooledDescriptors:
    return PooledDescriptors(
        DeepmdNetwork.from_checkpoint(bundle.checkpoint), keep=False
    )


def test_what_lies_further_away_has_the_larger_distance(
    descriptors: PooledDescriptors,
) -> None:
    region = TrainedRegion(salts([5.4 + 0.02 * k for k in range(12)]), descriptors)
    found = region.measure(N, "log10", salts([5.51, 5.9, 6.5]))
    assert (np.diff(found.distance) > 0.0).all()
    stored = region.neighborhood([(N, "log10"), (GAP, "identity")])
    pooled = descriptors(salts([5.51, 5.9, 6.5]))
    assert np.array_equal(stored.measure(pooled)["n"], found)
    assert (stored.measure(pooled)["gap"].spread == 0.0).all()
    assert region.measure(N, "identity", []).distance.shape == (0,)


def test_rows_of_the_same_fold_do_not_help(descriptors: PooledDescriptors) -> None:
    rows = salts([5.4, 5.4, 6.0, 6.6, 6.6])
    region = TrainedRegion(rows, descriptors)
    apart = region.measure_in_turn(N, "identity", rows, np.array([0, 1, 0, 1, 0]))
    together = region.measure_in_turn(N, "identity", rows, np.array([0, 0, 1, 2, 2]))
    assert together.distance[0] > apart.distance[0]
    assert apart.spread[0] == pytest.approx(np.std([5.4, 6.6]))
