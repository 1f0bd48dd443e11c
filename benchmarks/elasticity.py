"""Elastic moduli of ten cubic crystals, relaxed with a model's force field.

Usage: python benchmarks/elasticity.py [-m MODEL] [--strain 0.005]

Needs matcalc (pip install matcalc), whose ElasticityCalc strains the relaxed crystal,
relaxes the atoms within the strained cells and fits the stress. Bulk modulus K and
shear modulus G are averages after Voigt, Reuss and Hill, in GPa. K of E(V) is that of a
Birch-Murnaghan fit to energies at volumes of 90 to 110 %; where it is far from K, the
energy is no smooth valley, and neither is worth much. log_gvrh is the shear modulus
that the model predicts as a property of the relaxed crystal, if it does; the labels of
most of these crystals were in the training set of mft-mini.

Measured at room temperature. Elastic constants (GPa) of MgO: Y. Sumino et al., Phys.
Chem. Minerals 9, 38 (1983); of diamond: H. J. McSkimin and P. Andreatch, J. Appl. Phys.
43, 2944 (1972); of the others: CRC Handbook of Chemistry and Physics, "Elastic
Constants of Single Crystals", with 121.2 in place of 122.1 for Cu, as measured (L. M.
Epstein and O. N. Carlson, Acta Metall. 13, 487 (1965)); of these, LiF and NaCl, and
lattice constants, have not been looked up a second time. Shear moduli by DFT (PBE, 0 K)
are the labels of MatBench's log_gvrh (Materials Project).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import click
import numpy as np
from ase import Atoms
from ase.build import bulk

from mftscreen import MFTCalculator

FMAX = 0.005
"""Largest force (eV/Å) in relaxed structures."""


class Crystal(NamedTuple):
    """A crystal as it was measured: lattice constant in Å, elastic constants in GPa."""

    formula: str
    structure: str
    a: float
    c11: float
    c12: float
    c44: float
    g_pbe: float

    @property
    def moduli(self) -> tuple[float, float]:
        """K and G of a polycrystal (Voigt, Reuss, Hill)."""
        shear = self.c11 - self.c12
        voigt = (shear + 3 * self.c44) / 5
        reuss = 5 * shear * self.c44 / (4 * self.c44 + 3 * shear)
        return (self.c11 + 2 * self.c12) / 3, (voigt + reuss) / 2


CRYSTALS = [
    Crystal("MgO", "rocksalt", 4.212, 296.6, 95.9, 156.2, 119),
    Crystal("LiF", "rocksalt", 4.026, 113.97, 47.67, 63.64, 51),
    Crystal("NaCl", "rocksalt", 5.640, 49.47, 12.88, 12.87, 14),
    Crystal("C", "diamond", 3.567, 1079.0, 124.0, 578.0, 520),
    Crystal("Si", "diamond", 5.431, 165.78, 63.94, 79.62, 61),
    Crystal("GaAs", "zincblende", 5.653, 118.77, 53.72, 59.44, 41),
    Crystal("Al", "fcc", 4.050, 106.75, 60.41, 28.34, 24),
    Crystal("Cu", "fcc", 3.615, 168.3, 121.2, 75.7, 51),
    Crystal("Ni", "fcc", 3.524, 248.1, 154.9, 124.2, 95),
    Crystal("Mo", "bcc", 3.147, 463.7, 157.8, 109.2, 124),
]


def compute_moduli(
    atoms: Atoms, calculator: MFTCalculator, strain: float
) -> tuple[list[float], Atoms]:
    """Return K, K of E(V) and G (GPa), and the relaxed crystal."""
    from matcalc import ElasticityCalc, EOSCalc

    elasticity = ElasticityCalc(
        calculator,
        norm_strains=(-strain, strain),
        shear_strains=(-strain, strain),
        fmax=FMAX,
        relax_deformed_structures=True,
        units_GPa=True,
        r2_min=-1.0,  # it counts components that vanish by symmetry
    ).calc(atoms)
    relaxed = elasticity["final_structure"].to_ase_atoms(msonable=False)
    curve = EOSCalc(calculator, fmax=FMAX, relax_structure=False, r2_min=-1.0)
    moduli = [
        elasticity["bulk_modulus_vrh"],
        curve.calc(relaxed)["bulk_modulus_bm"],
        elasticity["shear_modulus_vrh"],
    ]
    return moduli, relaxed


def deviation(found: list[float], measured: list[float]) -> str:
    """Return the mean absolute deviation, relative to what was measured."""
    return f"{100 * np.abs(np.divide(found, measured) - 1).mean():.0f} %"


@click.command()
@click.option("-m", "--model", default="mft-mini", show_default=True)
@click.option("--strain", default=0.005, show_default=True, help="Of either sign.")
def main(model: str, strain: float) -> None:
    """Print the moduli of each crystal, and mean absolute relative deviations."""
    # of phonopy and scipy, about what this does not use
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    calculator = MFTCalculator(model)
    heads = ["K", "K of E(V)", "G"]
    if "log_gvrh" in calculator.implemented_properties:
        heads.append("log_gvrh")
    click.echo(
        f"{model}\n{'':5} {'a':>7} {'K meas.':>9} {'G meas.':>9} {'G PBE':>9}"
        + "".join(f" {head:>9}" for head in heads)
    )
    ratios: list[list[float]] = []
    stretches: list[float] = []
    for crystal in CRYSTALS:
        atoms = bulk(crystal.formula, crystal.structure, a=crystal.a)
        row, relaxed = compute_moduli(atoms, calculator, strain)
        if "log_gvrh" in heads:
            row.append(10 ** calculator.get_property("log_gvrh", relaxed))
        stretches.append((relaxed.get_volume() / atoms.get_volume()) ** (1 / 3) - 1)
        k, g = crystal.moduli
        ratios.append(
            [
                x / (k if head[0] == "K" else g)
                for x, head in zip(row, heads, strict=True)
            ]
        )
        click.echo(
            f"{crystal.formula:5} {stretches[-1]:+7.1%}"
            + "".join(f" {value:9.0f}" for value in (k, g, crystal.g_pbe, *row))
        )
    errors = np.abs(np.array(ratios) - 1).mean(axis=0)
    click.echo(
        f"{'mean':5} {np.abs(stretches).mean():7.1%}{'':30}"
        + "".join(f" {error:9.0%}" for error in errors)
    )


if __name__ == "__main__":
    main()
