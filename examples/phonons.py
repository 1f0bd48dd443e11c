"""Phonons and heat capacity of MgO with phonopy (pip install phonopy).

Usage: python examples/phonons.py [MODEL]

All displaced supercells are evaluated in batches. 7net-0 is the model to take for what
depends on curvatures (pip install "mftscreen[sevenn]").
"""

from __future__ import annotations

import sys

import numpy as np
from ase import Atoms
from ase.build import bulk
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from mftscreen import Predictor, load_model, relax

model = load_model(sys.argv[1] if sys.argv[1:] else "7net-0")
(crystal,) = relax(bulk("MgO", "rocksalt", a=4.23), model, fmax=0.001)
cell = PhonopyAtoms(
    symbols=crystal.get_chemical_symbols(),
    positions=crystal.positions,
    cell=crystal.cell,
)
phonons = Phonopy(cell, supercell_matrix=3 * np.eye(3, dtype=int))
phonons.generate_displacements(distance=0.02)
displaced = [
    Atoms(each.symbols, each.positions, cell=each.cell, pbc=True)
    for each in phonons.supercells_with_displacements
]
predictor = Predictor(model, properties=[], forces=True)
phonons.forces = [row.forces for row in predictor(displaced)]
phonons.produce_force_constants()
points = {"Gamma": [0, 0, 0], "X": [0.5, 0, 0.5], "L": [0.5, 0.5, 0.5]}
found = phonons.run_qpoints(list(points.values())).frequencies
for name, frequencies in zip(points, found, strict=True):
    print(f"{name:5} {' '.join(f'{f:6.2f}' for f in frequencies)} THz")
phonons.run_mesh([12, 12, 12], is_gamma_center=True)
# below the cutoff are only the three translations
phonons.run_thermal_properties(t_min=300, t_max=300, t_step=1, cutoff_frequency=0.1)
capacity = phonons.thermal_properties.heat_capacity[0]
print(
    f"heat capacity at 300 K: {capacity:.1f} J/(mol K); measured: 37.2 (CRC Handbook)"
)
