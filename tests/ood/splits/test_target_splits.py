"""Random folds, and tails of the target."""

from __future__ import annotations

import csv
import json
import lzma
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.stats import gaussian_kde

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.ood.splits import (
    SplitData,
    kde_tails,
    property_tail,
    random_split,
)


def test_random_is_the_k_fold_of_matbench(data: SplitData) -> None:
    split = random_split(data, val_share=0.0)
    tested = [row for fold in split.folds for row in fold.test]
    assert sorted(tested) == sorted(data.ids)
    assert [len(fold.test) for fold in split.folds] == [22] * 5
    # MatBench's seed, in the order of the file
    shuffled = np.random.RandomState(18012019).permutation(110)
    for k, fold in enumerate(split.folds):
        rows = sorted(shuffled[22 * k : 22 * k + 22])
        assert fold.test == tuple(data.ids[row] for row in rows)
    assert all(fold.val == () for fold in split.folds)


def test_kde_tails_bandwidth_is_not_scaled() -> None:
    # bandwidth 100^-0.2 = 0.398 in the unit of the target: two groups 0.02 wide and 0.1
    # apart are one bump for it, whose rarest rows are the outer ends; a bandwidth
    # scaled by the spread would find the three rows between them
    groups = [np.linspace(0.0, 0.02, 60), np.linspace(0.12, 0.14, 37)]
    values = np.concatenate([*groups, [0.065, 0.07, 0.075]])
    data = SplitData([str(k) for k in range(100)], [bulk("Cu")] * 100, values)
    (fold,) = kde_tails(data, ood_share=0.03).folds
    assert {data.values[int(row)] for row in fold.test} <= set(np.sort(values)[-3:])
    scaled = np.argsort(gaussian_kde(values)(values))[:3]
    assert set(scaled.tolist()) == {97, 98, 99}


def test_kde_tails_shares_and_ties() -> None:
    values = np.round(np.random.default_rng(0).normal(scale=2.0, size=4000), 1)
    atoms = bulk("Cu")
    data = SplitData([str(k) for k in range(4000)], [atoms] * 4000, values)
    (fold,) = kde_tails(data).folds
    ood = np.array([data.values[int(row)] for row in fold.test])
    rest = np.array([data.values[int(r)] for r in fold.train + fold.val + fold.id_test])
    assert 360 < len(ood) <= 400
    assert not set(ood) & set(rest)  # equal targets stay together
    assert len(fold.id_test) / len(rest) == pytest.approx(0.05, abs=0.015)
    (more,) = kde_tails(data, id_share=0.5).folds
    assert more.test == fold.test
    assert len(more.id_test) / len(rest) == pytest.approx(0.5, abs=0.05)
    equal = SplitData(data.ids, data.structures, np.ones(4000))
    with pytest.raises(DataError, match="kde_tails has no test rows"):
        kde_tails(equal)


@pytest.mark.parametrize("tail", ["low", "high", "both"])
def test_property_tail_extrapolates(tail: str, data: SplitData) -> None:
    (fold,) = property_tail(data, tail=tail, ood_share=0.2).folds
    value = dict(zip(data.ids, data.values, strict=True))
    known = [value[row] for row in fold.train + fold.val + fold.id_test]
    tested = [value[row] for row in fold.test]
    assert fold.name == tail
    assert len(tested) == 22
    below = sum(each < min(known) for each in tested)
    above = sum(each > max(known) for each in tested)
    assert (below, above) == {"low": (22, 0), "high": (0, 22), "both": (11, 11)}[tail]


def with_data(test: Any) -> Any:
    unset = "MFTSCREEN_DATA" not in os.environ
    test = pytest.mark.skipif(unset, reason="MFTSCREEN_DATA unset")(test)
    return pytest.mark.slow(test)


@with_data
@pytest.mark.parametrize("name", ["dielectric", "log_gvrh", "perovskites"])
def test_random_folds_are_those_of_matbench(
    name: str, matbench: Callable[[str], list[LabelledStructure]]
) -> None:
    path = (
        Path(os.environ["MFTSCREEN_DATA"]) / "folds/matbench_official_test_indices.json"
    )
    official = json.loads(path.read_text())[f"matbench_{name}"]
    rows = matbench(name)
    # the folds depend on the number of rows and on nothing else
    split = random_split(
        SplitData([row.id for row in rows], [Atoms()] * len(rows), np.zeros(len(rows)))
    )
    number = {name: row for row, name in enumerate(split.ids)}
    ours = [[number[row] for row in fold.test] for fold in split.folds]
    assert [sorted(rows) for rows in ours] == [sorted(rows) for rows in official]


@with_data
def test_boom_tails_of_qm9() -> None:
    path = Path(os.environ["MFTSCREEN_DATA"]) / "qm9/qm9_props.csv.xz"
    with lzma.open(path, "rt") as stream:
        # a fifth of them has the same tails
        gaps = [
            float(row["gap_Ha"]) for row in islice(csv.DictReader(stream), 0, None, 5)
        ]
    assert len(gaps) > 26_000
    data = SplitData(list(map(str, range(len(gaps)))), [Atoms()] * len(gaps), gaps)
    (fold,) = kde_tails(data, ood_share=2_000 / len(gaps)).folds
    ood = np.array([gaps[int(row)] for row in fold.test])
    assert 1_990 < len(ood) <= 2_000
    # BOOM, on 133,885 molecules: two tails, up to 0.1704 Ha and from 0.3318 Ha
    assert ood[ood < 0.25].max() == pytest.approx(0.1704, abs=0.003)
    assert ood[ood > 0.25].min() == pytest.approx(0.3318, abs=0.003)
