"""Networks of different kinds whose descriptors stand side by side."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import InvalidGeometryError, ModelFileError
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network import backend
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import SideBySide, side_by_side


@pytest.fixture
def members(checkpoint: Path, sevennet_backbone: Path) -> list[DeepmdNetwork]:
    """A network of DPA3 with four heads, and one of 7net."""
    files = (checkpoint, sevennet_backbone)
    return [DeepmdNetwork.from_checkpoint(path, "cpu") for path in files]


def test_features_of_one_follow_those_of_the_other(
    members: list[DeepmdNetwork], mixed_structures: list[Atoms]
) -> None:
    both = side_by_side(members)
    alone = [m.evaluate(mixed_structures, descriptors=True) for m in members]
    together = both.evaluate(mixed_structures, descriptors=True)
    assert both.width == sum(member.width for member in members)
    for atoms, found, *own in zip(mixed_structures, together, *alone, strict=True):
        assert found.descriptors.shape == (len(atoms), both.width)
        expected = np.hstack([each.descriptors for each in own])
        np.testing.assert_allclose(found.descriptors, expected, atol=1e-6)


def test_heads_are_those_of_the_first(
    members: list[DeepmdNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    both, first = side_by_side(members), members[0]
    crystal = bulk("MgO", "rocksalt", a=4.2)
    asked: dict[str, Any] = {"energy_head": "oxides", "property_heads": ["gap"]}
    (expected,) = first.evaluate([crystal], **asked, descriptors=True)
    (found,) = both.evaluate([crystal], **asked, descriptors=True)
    assert both.heads == first.heads
    assert (found.energy, found.heads) == (expected.energy, expected.heads)
    np.testing.assert_array_equal(found.forces, expected.forces)
    np.testing.assert_array_equal(found.virial, expected.virial)
    assert found.descriptors.shape == (2, both.width)
    # the other takes no time where nobody asks for its descriptor
    monkeypatch.setattr(members[1], "evaluate", None)
    (found,) = both.evaluate([crystal], **asked)
    assert found.energy == expected.energy


def _with_elements(path: Path, *symbols: str) -> DeepmdNetwork:
    state = read_state(path)
    for head in model_parameters(state).values():
        head["type_map"] = list(symbols)
    return DeepmdNetwork(state, "cpu")


def test_it_knows_the_elements_that_all_know(
    members: list[DeepmdNetwork], sevennet_backbone: Path
) -> None:
    other = _with_elements(sevennet_backbone, "Fe", "Mg", "Ga", "H", "C", "O")
    both = side_by_side([members[0], other])
    assert both.type_map == ("H", "O", "Mg", "Ga")
    # each has an order of its own
    crystal = bulk("MgO", "rocksalt", a=4.2)
    (found,) = both.evaluate([crystal], descriptors=True)
    (alone,) = other.evaluate([crystal], descriptors=True)
    np.testing.assert_array_equal(
        found.descriptors[:, members[0].width :], alone.descriptors
    )
    strange = _with_elements(sevennet_backbone, "Fe", "Mn", "Ni", "C", "Cu", "Zn")
    with pytest.raises(ModelFileError, match="an element that all of them know"):
        side_by_side([members[0], strange])


def test_atoms_that_are_too_close_are_refused(members: list[DeepmdNetwork]) -> None:
    with pytest.raises(InvalidGeometryError):
        side_by_side(members).evaluate([Atoms("O2")], descriptors=True)


def test_one_alone_is_itself(members: list[DeepmdNetwork]) -> None:
    assert side_by_side(members[:1]) is members[0]


def test_copies_in_another_process_share_their_networks(
    members: list[DeepmdNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_unpickled", {})
    content = pickle.dumps(side_by_side(members))
    one, other = (pickle.loads(content) for _ in range(2))
    assert isinstance(one, SideBySide)
    assert one.members == other.members
    (found,) = one.evaluate([bulk("Si")], descriptors=True)
    (expected,) = side_by_side(members).evaluate([bulk("Si")], descriptors=True)
    np.testing.assert_array_equal(found.descriptors, expected.descriptors)


def test_another_process_keeps_only_so_many_networks(
    members: list[DeepmdNetwork],
    sevennet_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "_unpickled", {})
    monkeypatch.setattr(backend, "MAX_DESCRIPTORS", 2)
    third = _with_elements(sevennet_backbone, "Fe", "Mg", "Ga", "H", "C", "O")
    first, *others = (pickle.loads(pickle.dumps(n)) for n in (*members, third))
    assert list(backend._unpickled.values()) == others
    assert first not in others
