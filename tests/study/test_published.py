from __future__ import annotations

from statistics import fmean

import pytest

from mftscreen.errors import ConfigError
from mftscreen.study.published import PublishedTable, load_published, published_tables

TABLE_4 = ("loco", "sparse_x_cluster", "sparse_x_single")
TABLE_4 += ("sparse_y_cluster", "sparse_y_single", "random")


def _gain(table: PublishedTable, test: str, strategy: str) -> float:
    """Return the improvement over scratch in per cent, mean over properties."""
    gains = []
    for task in table.units:
        found = table.find(task, "kde_tails", test)
        old = found[table.strategies["scratch"]].value
        gains.append(1 - found[table.strategies[strategy]].value / old)
    return 100 * fmean(gains)


def test_every_table_has_a_source_and_numbers_of_all_its_tasks() -> None:
    names = published_tables()
    assert names == ["table_2", "table_3", "table_4", "table_5"]
    for name in names:
        table = load_published(name)
        assert table.source == f"arXiv:2601.08486, Table {name[-1]}"
        assert {v.task for v in table.values} == set(table.units)
        assert set(table.strategies.values()) <= {v.model for v in table.values}
        keys = [(v.model, v.task, v.split, v.test) for v in table.values]
        assert len(set(keys)) == len(keys)
        assert all(v.value > 0 and v.split for v in table.values)
    with pytest.raises(ConfigError, match="no table 'table_9'; there are table_2"):
        load_published("table_9")


def test_table_3_gives_the_averages_of_the_papers_text() -> None:
    """Section 2.2: printed with three digits at most, so that averages are rough."""
    table = load_published("table_3")
    assert _gain(table, "id", "ft") == pytest.approx(17.8, abs=1.0)
    assert _gain(table, "ood", "ft") == pytest.approx(5.6, abs=1.0)
    assert _gain(table, "id", "lp") == pytest.approx(-37, abs=1.0)
    assert _gain(table, "ood", "lp") == pytest.approx(7.8, abs=1.0)
    assert _gain(table, "id", "mft") == pytest.approx(17.3, abs=1.0)
    assert _gain(table, "ood", "mft") == pytest.approx(17.1, abs=1.0)
    found = table.find("r2_bohr2", "kde_tails", "ood")["DPA3-FT"]
    assert (found.value, found.spread) == (18.7, 2.1)
    # a row that cannot be that of this model
    assert "MoLFormer" not in table.find("gap_Ha", "kde_tails", "ood")
    assert "MoLFormer" in table.find("gap_Ha", "kde_tails", "id")


def test_table_4_gives_the_averages_and_ranks_of_the_papers_text() -> None:
    """Section 2.6."""
    table = load_published("table_4")
    ranks, gains = [], {}
    for task in table.units:
        for split in TABLE_4:
            found = table.find(task, split, "id" if split == "random" else "ood")
            values = {model: v.value for model, v in found.items()}
            assert len(values) == 10
            ranks.append(sorted(values.values()).index(values["DPA3-MFT"]))
            gains[task, split] = 1 - values["DPA3-MFT"] / values["DPA3-FT"]
    assert ranks.count(0) == 13
    assert ranks.count(1) == 4
    assert [key for key, gain in gains.items() if gain < 0] == [
        ("perovskites", "sparse_x_cluster")
    ]
    assert 100 * fmean(gains.values()) == pytest.approx(7.8, abs=0.1)
    for task, gain in {"dielectric": 16.0, "log_gvrh": 4.1, "perovskites": 3.1}.items():
        mean = fmean(gains[task, split] for split in TABLE_4)
        assert 100 * mean == pytest.approx(gain, abs=0.1)


def test_tables_2_and_5_are_drifts_of_the_same_property() -> None:
    ours, theirs = load_published("table_2"), load_published("table_5")
    assert ours.find("lumo_Ha", "kde_tails", "ood")["DPA3-FT"].value == 6.54
    assert theirs.find("lumo_Ha", "kde_tails", "id")["JMP-L-FT"].value == 7.12
