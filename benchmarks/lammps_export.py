"""Energies, forces and pressures of an exported force field in LAMMPS, against ours.

Needs LAMMPS with deepmd-kit's plugin: pip install "deepmd-kit[torch,lmp]==3.2.*"

    python benchmarks/lammps_export.py [--head crystals] [--seed 0]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import deepmd.pt  # its libraries, which the plugin needs
import numpy as np
from ase.build import bulk
from ase.data import atomic_masses, atomic_numbers
from ase.io import write
from lammps import lammps

from mftscreen import MFTCalculator
from mftscreen.model.exchange import export_model

BAR = 1.602176634e6
"""In eV/Å^3."""
CRYSTALS = {"MgO": 4.2, "NaCl": 5.6, "CaO": 4.8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--head", default="crystals")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    calculator = MFTCalculator("mft-mini-crystals", energy_head=options.head)
    plugin = Path(deepmd.__path__[0]) / "lib" / "libdeepmd_lmpplugin.so"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frozen, data = folder / "frozen.pth", folder / "atoms.data"
        export_model("mft-mini-crystals", frozen, options.head)
        for formula, a in CRYSTALS.items():
            atoms = bulk(formula, "rocksalt", a=a, cubic=True).repeat(2)
            atoms.rattle(0.05, seed=options.seed)
            symbols = sorted(set(atoms.symbols))
            write(data, atoms, format="lammps-data", specorder=symbols)
            program = lammps(cmdargs=["-log", "none", "-screen", "none"])
            program.command(f"plugin load {plugin}")
            program.commands_string(
                "units metal\nboundary p p p\natom_style atomic\natom_modify map yes\n"
                f"read_data {data}\n"
                + "".join(
                    f"mass {k} {atomic_masses[atomic_numbers[symbol]]}\n"
                    for k, symbol in enumerate(symbols, 1)
                )
                + f"pair_style deepmd {frozen}\npair_coeff * * {' '.join(symbols)}\n"
                "run 0"
            )
            energy = program.get_thermo("pe")
            forces = np.array(program.gather_atoms("f", 1, 3)).reshape(-1, 3)
            pressure = program.get_thermo("press")
            program.close()
            expected = calculator.get_potential_energy(atoms)
            own = -calculator.get_stress(atoms)[:3].mean() * BAR
            print(
                f"{formula}, {len(atoms)} atoms: energy {energy:.6f} eV, ours differs "
                f"by {abs(energy / expected - 1):.1e} (relative); forces by "
                f"{np.abs(forces - calculator.get_forces(atoms)).max():.1e} eV/Å; "
                f"pressure {pressure:.1f} bar by {abs(pressure - own):.1e} bar"
            )


if __name__ == "__main__":
    main()
