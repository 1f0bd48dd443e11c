from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.jobs.labels import (
    component_names,
    labelled_rows,
    labels_of,
    property_name_of,
)

CRYSTALS = [bulk("Si"), bulk("Ge"), bulk("C")]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("gap", "gap"),
        ("log10(G_VRH)", "log10_G_VRH"),
        ("Si", "target"),
        (None, "target"),
    ],
)
def test_properties_are_named_after_columns(column: str | None, name: str) -> None:
    assert property_name_of(pd.Series([1.0], name=column)) == name
    assert property_name_of([1.0]) == "target"


def test_a_table_has_no_name_but_a_column_of_that() -> None:
    labels = pd.DataFrame({"name": [1.0, 2.0], "α (eV)": [3.0, 4.0]})
    assert property_name_of(labels) == "target"
    assert component_names(labels, labels_of(labels)) == ["name", "_eV_"]


def test_columns_are_lists_with_names() -> None:
    table = pd.DataFrame({"bulk": [1.0, 2.0], "shear mod.": [3.0, 4.0]})
    labels = labels_of(table)
    assert labels == [[1.0, 3.0], [2.0, 4.0]]
    assert component_names(table, labels) == ["bulk", "shear_mod_"]
    assert component_names(table.to_numpy(), labels) == ["0", "1"]
    single = np.array([[1.0], [2.0]])
    assert labels_of(single) == [1.0, 2.0]
    assert component_names(single, labels_of(single)) is None


@pytest.mark.parametrize("column", ["", "α", "__", "norm", "b"])
def test_columns_that_make_no_names_are_numbered(column: str) -> None:
    table = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=[column, "b"])
    assert component_names(table, labels_of(table)) == ["0", "1"]


def test_rows_have_ids_labels_and_groups() -> None:
    rows = list(labelled_rows(CRYSTALS, [1.0, 2.0, 3.0], ["a", "a", "b"], "gap"))
    assert [row.values for row in rows] == [{"gap": 1.0}, {"gap": 2.0}, {"gap": 3.0}]
    assert len({row.name for row in rows}) == 3


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([1.0], None, "3 structures and 1 labels"),
        ([1.0, 2.0, 3.0], ["a"], "3 structures and 1 groups"),
    ],
)
def test_numbers_that_differ_are_named(
    labels: list[float], groups: list[str] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        labelled_rows(CRYSTALS, labels, groups, "gap")
    with pytest.raises(DataError, match="two structures at least"):
        labelled_rows(CRYSTALS[:1], [1.0], None, "gap")
    with pytest.raises(DataError, match="no labels to train on"):
        labels_of(None)
