"""Structures in JSON documents: of pymatgen, of OPTIMADE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Molecule

from mftscreen.data.readers import (
    optimade_dict_to_atoms,
    pymatgen_dict_to_atoms,
)
from mftscreen.domain import total_charge
from mftscreen.errors import StructureError


def pymatgen_structure(**kwargs: Any) -> Any:
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 110)
    coordinates = [[0, 0, 0], [0.4, -0.1, 1.2], [0.7, 0.5, 0.5]]
    return Structure(lattice, ["Fe", "O", "O"], coordinates, **kwargs)


def test_pymatgen_document_gives_pymatgens_own_conversion() -> None:
    from pymatgen.io.ase import AseAtomsAdaptor

    structure = pymatgen_structure()
    found = pymatgen_dict_to_atoms(structure.as_dict())
    expected = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    assert list(found.numbers) == list(expected.numbers)
    np.testing.assert_allclose(found.cell, expected.cell, atol=1e-12)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-12)
    assert found.pbc.all()


def test_pymatgen_document_with_oxidation_states_and_pbc() -> None:
    structure = pymatgen_structure()
    structure.add_oxidation_state_by_element({"Fe": 4, "O": -2})
    document = structure.as_dict()
    document["lattice"]["pbc"] = (True, True, False)
    atoms = pymatgen_dict_to_atoms(document)
    assert list(atoms.symbols) == ["Fe", "O", "O"]
    assert atoms.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize("species", [{"Fe": 0.5, "Co": 0.5}, {"Fe": 0.5}])
def test_disordered_pymatgen_document_is_refused(species: dict[str, float]) -> None:
    structure = pymatgen_structure()
    structure[0] = species
    with pytest.raises(StructureError, match="disordered"):
        pymatgen_dict_to_atoms(structure.as_dict())


def test_other_documents_are_refused() -> None:
    flat = pymatgen_structure().as_dict()
    flat["lattice"]["matrix"] = [[1.0, 2.0]]
    for document in ({}, {"lattice": None, "sites": [{}]}, [], flat):
        with pytest.raises(StructureError, match="not a pymatgen structure"):
            pymatgen_dict_to_atoms(document)
    flat["lattice"]["matrix"] = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]
    with pytest.raises(StructureError, match="not a pymatgen structure"):
        pymatgen_dict_to_atoms(flat)
    unknown = pymatgen_structure().as_dict()
    unknown["sites"][0]["species"][0]["element"] = "Qq"
    with pytest.raises(StructureError, match="'Qq' is no chemical symbol"):
        pymatgen_dict_to_atoms(unknown)


def entry(name: str = "e", **attributes: Any) -> dict[str, Any]:
    default = {
        "cartesian_site_positions": [[0, 0, 0], [2.1, 0, 0]],
        "lattice_vectors": [[4.2, 0, 0], [0, 4.2, 0], [0, 0, 4.2]],
        "species_at_sites": ["magnesium", "O"],
        "species": [
            {"name": "magnesium", "chemical_symbols": ["Mg"], "concentration": [1.0]},
            {"name": "O", "chemical_symbols": ["O"], "concentration": [1.0]},
        ],
        "dimension_types": [1, 1, 0],
    }
    return {"id": name, "type": "structures", "attributes": default | attributes}


def test_optimade_entry() -> None:
    atoms = optimade_dict_to_atoms(entry())
    assert str(atoms.symbols) == "MgO"
    assert atoms.pbc.tolist() == [True, True, False]
    np.testing.assert_array_equal(atoms.positions, [[0, 0, 0], [2.1, 0, 0]])
    np.testing.assert_array_equal(atoms.cell, 4.2 * np.eye(3))


def test_optimade_formula_of_isotopes_and_multiples() -> None:
    sites = ["magnesium", "O"]
    positions = [[0, 0, 0], [2.1, 0, 0]]
    for attributes in (
        {"elements": ["Mg", "O"], "chemical_formula_reduced": "MgO"},
        {
            "species_at_sites": sites * 2,
            "cartesian_site_positions": [*positions, [0, 0, 2], [2, 0, 2]],
            "chemical_formula_reduced": "MgO",
        },
        {
            "species_at_sites": ["D", "O", "D"],
            "cartesian_site_positions": [*positions, [0, 0, 2]],
            "chemical_formula_reduced": "D2O",
        },
        {"elements": None, "chemical_formula_reduced": None},
        # a provider's slip in what is only compared
        {"chemical_formula_reduced": "Mg O"},
        {"chemical_formula_reduced": "MgO0.5"},
    ):
        assert len(optimade_dict_to_atoms(entry(**attributes))) >= 2


def test_optimade_molecule_and_slab() -> None:
    molecule = entry(lattice_vectors=None, dimension_types=[0, 0, 0])
    assert not optimade_dict_to_atoms(molecule).pbc.any()
    open_cell = [[4.2, 0, 0], [0, 4.2, 0], [None, None, None]]
    slab = optimade_dict_to_atoms(entry(lattice_vectors=open_cell))
    assert slab.cell.rank == 2


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (
            {"species": [{"name": "O", "chemical_symbols": ["O", "N"]}]},
            r"species 'O' is disordered .*\(O, N\)",
        ),
        (
            {
                "species": [
                    {"name": "O", "chemical_symbols": ["O"], "concentration": [0.5]}
                ]
            },
            "partially occupied",
        ),
        ({"species_at_sites": ["O", "vacancy"]}, "'vacancy' is .* no element"),
        ({"structure_features": ["implicit_atoms"]}, "has implicit_atoms"),
        ({"species_at_sites": ["O"]}, "not an OPTIMADE structure"),
        ({"cartesian_site_positions": None}, "not an OPTIMADE structure"),
        ({"species": [{}]}, "not an OPTIMADE structure"),
    ],
)
def test_optimade_entries_without_atoms(attributes: dict, reason: str) -> None:
    with pytest.raises(StructureError, match=reason):
        optimade_dict_to_atoms(entry(**attributes))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (
            {
                "species": [
                    {"name": "O", "chemical_symbols": ["O"], "attached": ["H"],
                     "nattached": [2]}
                ]
            },
            "species 'O' has H attached",
        ),
        ({"assemblies": [{"sites_in_groups": [[0], [1]]}]}, "has assemblies"),
        (
            {"species": [{"name": "O", "chemical_symbols": ["O"], "nattached": [1]}]},
            "species 'O' has atoms attached",
        ),
        ({"nsites": 3}, "lists 2 of 3 sites"),
        ({"elements": ["H", "Mg", "O"]}, "no site of H, which"),
        ({"chemical_formula_reduced": "H2MgO2"}, "no site of H, which"),
        ({"chemical_formula_reduced": "MgO2"}, "sites make MgO, but .* is MgO2"),
    ],
)  # fmt: skip
def test_optimade_entries_with_more_than_their_sites(
    attributes: dict, reason: str
) -> None:
    with pytest.raises(StructureError, match=reason):
        optimade_dict_to_atoms(entry(structure_features=None, **attributes))


def test_optimade_formula_that_is_none() -> None:
    with pytest.raises(StructureError, match="not an OPTIMADE structure entry"):
        optimade_dict_to_atoms(entry(chemical_formula_reduced=7))


def test_the_charge_of_a_molecule_is_kept() -> None:
    ion = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.8]], charge=1)
    assert total_charge(pymatgen_dict_to_atoms(ion.as_dict())) == 1
    neutral = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.8]])
    assert pymatgen_dict_to_atoms(neutral.as_dict()).info == {}
