from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.ood.splits import (
    SplitData,
)


@pytest.mark.parametrize(
    ("ids", "targets", "message"),
    [
        (["a", "b"], [0.0], "2 ids, 2 structures and targets of shape"),
        (["a", "a"], [0.0, 1.0], "row id 'a' stands more than once"),
        (["a", "b"], [0.0, np.nan], "target of row b is nan"),
    ],
)
def test_data_are_checked(ids: list[str], targets: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SplitData(ids, [bulk("Cu"), bulk("Al")], targets)
