"""Barrier of a magnesium vacancy in MgO, by a nudged elastic band of shared images.

Usage: python examples/vacancy_hop.py [SUPERCELL]

SUPERCELL is how often the cubic cell is repeated (2: 63 atoms, which takes minutes on a
CPU; by default 1, 7 atoms, which shows how it is done).
"""

from __future__ import annotations

import sys

import numpy as np
from ase.build import bulk
from ase.mep import NEB
from ase.optimize import FIRE

from mftscreen import MFTCalculator

calculator = MFTCalculator()
repeat = int(sys.argv[1]) if sys.argv[1:] else 1
perfect = bulk("MgO", "rocksalt", a=4.23, cubic=True).repeat(repeat)
first, second = np.flatnonzero(perfect.symbols == "Mg")[:2]
start, end = perfect.copy(), perfect.copy()
# the neighbour has hopped to where the vacancy was
end.positions[second] = perfect.positions[first]
del start[first], end[first]
images = [start, *(start.copy() for _ in range(3)), end]
for image in images:
    image.calc = calculator  # one for all, or MFTCalculator(calculator.model) for each
for image in (start, end):
    FIRE(image, logfile=None).run(fmax=0.05, steps=100)
band = NEB(images, climb=True, allow_shared_calculator=True, method="improvedtangent")
band.interpolate(mic=True)
optimizer = FIRE(band, logfile=None)
converged = optimizer.run(fmax=0.1, steps=60)
energies = np.array([image.get_potential_energy() for image in images])
print(f"{len(start)} atoms, converged: {converged} after {optimizer.nsteps} steps")
print("eV along the band:", " ".join(f"{e:.3f}" for e in energies - energies[0]))
