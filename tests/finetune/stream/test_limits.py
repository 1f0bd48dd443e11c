from __future__ import annotations

from collections.abc import Callable

import pytest
from ase import Atoms

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.readers import Row
from mftscreen.errors import DataError
from mftscreen.finetune.stream.limits import FrameLimits

LIMITS = FrameLimits(("Mg", "O"), 4, None, (), (4.0, 3.0))


def test_frame_with_its_labels(labelled: Callable[..., Atoms]) -> None:
    found = LIMITS.check("one", Row(None, labelled(0), {}))
    assert isinstance(found, LabelledStructure)
    assert (found.id, set(found.labels)) == ("one", {"energy", "force"})


@pytest.mark.parametrize(
    ("pbc", "kind"), [((1, 1, 0), "unusable"), ((0, 0, 0), None), ((1, 1, 1), None)]
)
def test_layers_cannot_be_trained_on(
    labelled: Callable[..., Atoms], pbc: tuple[int, int, int], kind: str | None
) -> None:
    atoms = labelled(0)
    atoms.pbc = pbc
    found = LIMITS.check("one", Row(None, atoms, {}))
    if kind is None:
        assert isinstance(found, LabelledStructure)
    else:
        assert found == (kind, "is periodic in some directions only")


def test_what_cannot_be_read_is_unusable() -> None:
    error = DataError("frame 3 is damaged")
    assert LIMITS.check("one", Row(None, error, {})) == ("unusable", str(error))


@pytest.mark.parametrize("number", [0, 119, 200])
def test_numbers_of_no_element_are_other_elements(
    labelled: Callable[..., Atoms], number: int
) -> None:
    atoms = labelled(0)
    atoms.numbers[0] = number
    assert LIMITS.check("one", Row(None, atoms, {})) == ("other elements", "")
