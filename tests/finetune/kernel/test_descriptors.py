"""Pooled descriptors, kept from one run to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.finetune.kernel import descriptors
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import side_by_side
from mftscreen.model.readouts.pooling import pool

ROWS = [
    LabelledStructure(str(k), bulk("MgO", "rocksalt", a=4.0 + 0.1 * (k % 4)))
    for k in range(6)
]


@pytest.fixture
def network(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DeepmdNetwork:
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))
    return DeepmdNetwork.from_checkpoint(checkpoint)


def _evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of structures of each evaluation."""
    counts: list[int] = []
    evaluate = DeepmdNetwork.evaluate

    def counting(
        self: DeepmdNetwork, structures: Sequence[Atoms], **options: object
    ) -> list:
        counts.append(len(structures))
        return evaluate(self, structures, **options)

    monkeypatch.setattr(DeepmdNetwork, "evaluate", counting)
    return counts


def test_each_structure_is_evaluated_once(
    network: DeepmdNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone,) = network.evaluate([ROWS[2].atoms], descriptors=True)
    counts = _evaluated(monkeypatch)
    pooled = PooledDescriptors(network)(ROWS)
    assert sum(counts) == 4  # two of the six are there twice
    np.testing.assert_allclose(pooled[2], pool(alone.descriptors), atol=1e-6)
    np.testing.assert_array_equal(PooledDescriptors(network)(ROWS[::-1]), pooled[::-1])
    assert sum(counts) == 4


def test_another_descriptor_has_vectors_of_its_own(
    network: DeepmdNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    PooledDescriptors(network)(ROWS)
    counts = _evaluated(monkeypatch)
    network.__dict__["descriptor_sha256"] = "0" * 64
    PooledDescriptors(network)(ROWS)
    assert sum(counts) == 4


def test_descriptors_side_by_side_are_kept_one_by_one(
    network: DeepmdNetwork, sevennet_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DeepmdNetwork.from_checkpoint(sevennet_backbone)
    alone = PooledDescriptors(network)(ROWS)
    counts = _evaluated(monkeypatch)
    both = side_by_side([network, other])
    found = PooledDescriptors(both)(ROWS)
    assert sum(counts) == 4  # of the other
    assert found.shape == (6, 2 * both.width)
    means, spreads = np.split(alone, 2, axis=1)
    width = network.width
    np.testing.assert_array_equal(found[:, :width], means)
    np.testing.assert_array_equal(found[:, both.width :][:, :width], spreads)
    rows = both.evaluate([row.atoms for row in ROWS], descriptors=True)
    expected = [pool(row.descriptors) for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_same_weights_have_the_same_name(
    network: DeepmdNetwork, checkpoint: Path, backbone: bytes
) -> None:
    again = DeepmdNetwork.from_checkpoint(checkpoint)
    assert again.descriptor_sha256 == network.descriptor_sha256
    other = DeepmdNetwork.from_checkpoint(backbone)
    assert other.descriptor_sha256 != network.descriptor_sha256


@pytest.mark.parametrize("damage", ["cut", "foreign", "blob"])
def test_what_is_damaged_is_computed_anew(
    network: DeepmdNetwork, tmp_path: Path, damage: str
) -> None:
    expected = PooledDescriptors(network)(ROWS)
    (path,) = (tmp_path / "cache").rglob("*.sqlite")
    if damage == "blob":
        with sqlite3.connect(path) as cache:
            cache.execute("UPDATE pooled SET x = ?", (b"\x00\x01",))
    else:
        path.write_bytes(path.read_bytes()[:3000] if damage == "cut" else b"no" * 999)
    np.testing.assert_array_equal(PooledDescriptors(network)(ROWS), expected)


def test_what_is_not_finite_is_not_kept(
    network: DeepmdNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = PooledDescriptors(network, keep=False)(ROWS)
    with monkeypatch.context() as patch:
        patch.setattr(descriptors, "pool", lambda x: pool(x) * np.nan)
        with pytest.raises(DataError, match="6 descriptors are not finite: 0, 1, 2"):
            PooledDescriptors(network)(ROWS)
        # as earlier versions wrote it
        patch.setattr(np, "isfinite", lambda x: np.ones(np.shape(x), dtype=bool))
        PooledDescriptors(network)(ROWS)
    np.testing.assert_array_equal(PooledDescriptors(network)(ROWS), expected)


def test_a_folder_that_cannot_be_written_is_done_without(
    network: DeepmdNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "file"))
    assert len(PooledDescriptors(network)(ROWS)) == len(ROWS)


def test_a_full_disk_costs_time_only(
    network: DeepmdNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = descriptors._connect

    def small(path: Path | str) -> sqlite3.Connection:
        cache = connect(path)
        cache.execute("PRAGMA max_page_count = 3")
        return cache

    monkeypatch.setattr(descriptors, "_connect", small)
    rows = [
        LabelledStructure(str(k), bulk("MgO", "rocksalt", a=4.0 + 0.01 * k))
        for k in range(60)
    ]
    assert np.isfinite(PooledDescriptors(network)(rows)).all()


def test_what_is_not_kept_is_known_while_the_object_lives(
    network: DeepmdNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = PooledDescriptors(network, keep=False)
    first = descriptors(ROWS[:4])
    counts = _evaluated(monkeypatch)
    np.testing.assert_array_equal(descriptors(ROWS[:4]), first)
    assert counts == []
    assert not list(tmp_path.rglob("*.sqlite"))
