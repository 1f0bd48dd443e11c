from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.diagnostics.edge_kinds import (
    SHELLS,
    Shells,
    count_edges,
    frequent_pairs,
    parse_pair,
)
from mftscreen.errors import DataError
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.network.graph import sort_neighbors

PAPER = EdgeCutoffs(edge=6.0, angle=4.0)


def _counts(atoms: Atoms, *pairs: tuple[str, str]) -> dict[str, int]:
    codes = count_edges([atoms], pairs, PAPER).codes
    return {
        f"{'-'.join(pair)} {shell}": int((codes == 3 * p + s).sum())
        for p, pair in enumerate(pairs)
        for s, shell in enumerate(SHELLS)
    }


def test_benzene() -> None:
    # C-C 1.40, 2.42, 2.80 Å; C-H 1.09, 2.16, 3.40, 3.89 Å
    counts = _counts(molecule("C6H6"), ("C", "C"), ("C", "H"), ("H", "C"))
    assert counts == {
        "C-C near": 12, "C-C middle": 0, "C-C far": 0,
        "C-H near": 6, "C-H middle": 18, "C-H far": 0,
        "H-C near": 6, "H-C middle": 18, "H-C far": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("distance", "shell"),
    [(1.4, 0), (2.0, -1), (2.99, -1), (3.0, 1), (3.99, 1), (4.5, -1), (5.0, 2)],
)
def test_distances_of_shells(distance: float, shell: int) -> None:
    pair = Atoms("CO", positions=[[0, 0, 0], [0, 0, distance]])
    census = count_edges([pair], [("C", "O")], PAPER)
    # the edge from O to C is another one
    assert census.codes.tolist() == [shell, -1]


def test_a_long_bond_is_near() -> None:
    pair = Atoms("CsI", positions=[[0, 0, 0], [0, 0, 3.6]])
    assert count_edges([pair], [("Cs", "I")], PAPER).codes.tolist() == [0, -1]


def test_shells_do_not_overlap_and_end_at_the_cutoffs() -> None:
    for cutoffs in (PAPER, EdgeCutoffs(5.0, 3.5), EdgeCutoffs(4.5, 4.2)):
        shells = Shells.of(cutoffs)
        assert shells.middle[0] < shells.middle[1] <= shells.far[0] < shells.far[1]
        assert shells.far[1] <= cutoffs.edge
    assert Shells.of(EdgeCutoffs(9.0, 6.0)) == Shells.of(PAPER)


def test_census_counts_as_the_neighbour_list_does() -> None:
    crystal, water = bulk("MgO", "rocksalt", a=4.21), molecule("H2O")
    census = count_edges([crystal, water], [("O", "H"), ("Mg", "O")], PAPER)
    near = [sort_neighbors(atoms, 6.0) for atoms in (crystal, water)]
    assert census.sizes == [len(edges.centers) for edges in near]
    # those of the water follow those of the crystal
    oxygens = near[1].centers == 0
    np.testing.assert_array_equal(census.codes[census.sizes[0] :] == 0, oxygens)


def test_frequent_pairs() -> None:
    ethanol, benzene = molecule("CH3CH2OH"), molecule("C6H6")
    assert frequent_pairs([ethanol], PAPER) == [("C", "H"), ("C", "C")]
    assert frequent_pairs([benzene], PAPER, n_pairs=9) == [("C", "C"), ("C", "H")]
    assert frequent_pairs([ethanol], PAPER, n_pairs=9)[2:] == [("C", "O"), ("H", "O")]
    assert frequent_pairs([Atoms("O")], PAPER) == []


@pytest.mark.parametrize("text", ["C", "C-", "C-O-C", "C-Xy", "c-o", "C–O"])
def test_bad_pairs(text: str) -> None:
    with pytest.raises(DataError, match="expected two symbols, such as C-O"):
        parse_pair(text)
