"""Conservation of energy in molecular dynamics of two oxides of 64 atoms.

Usage: python benchmarks/dynamics.py [-m MODEL] [--crystal ZnO]

The cell is relaxed by the model's own force field and repeated; velocities are drawn
at the given temperature, a Langevin thermostat equilibrates, and velocity Verlet then
runs without any thermostat. Prints, in meV/atom,

* the drift of the total energy per ps: the slope of a straight line fitted to it;
* its fluctuation: the standard deviation of what is left beside the line;

and the mean temperature, which tells a run that melts or explodes. A smooth and
conservative force field has a drift that vanishes with the time step; the drift of one
in single precision, or with a jump at its cutoff, does not.
"""

from __future__ import annotations

import click
import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from tqdm import tqdm

from mftscreen import MFTCalculator

CRYSTALS = {
    "MgO": (bulk("MgO", "rocksalt", a=4.21, cubic=True), (2, 2, 2)),
    "ZnO": (bulk("ZnO", "wurtzite", a=3.25, c=5.21), (4, 2, 2)),
}
FRICTION = 0.01 / units.fs
RECORD_EVERY = 10
"""Steps of velocity Verlet between two records of the energy."""


def relaxed_supercell(name: str, calculator: MFTCalculator) -> Atoms:
    cell, repeats = CRYSTALS[name]
    atoms = cell.copy()
    atoms.calc = calculator
    if not FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.005, steps=500):
        msg = f"{name} does not relax within 500 steps"
        raise click.ClickException(msg)
    supercell: Atoms = atoms.repeat(repeats)
    supercell.calc = calculator
    return supercell


def equilibrate(
    atoms: Atoms, kelvin: float, step: float, steps: int, rng: np.random.Generator
) -> None:
    thermalize_momenta(atoms, kelvin, rng=rng)
    thermostat = Langevin(
        atoms, step, temperature_K=kelvin, friction=FRICTION, rng=rng, fixcm=False
    )
    thermostat.run(steps)
    Stationary(atoms)  # the noise has pushed the centre of mass


def run_verlet(atoms: Atoms, step: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return total energies (eV/atom) and temperatures (K), one per record."""
    dynamics = VelocityVerlet(atoms, step)
    energies, kelvins = [], []
    progress = tqdm(dynamics.irun(steps), total=steps + 1, mininterval=5)
    for _ in progress:
        if dynamics.nsteps % RECORD_EVERY == 0:
            energies.append(atoms.get_total_energy() / len(atoms))
            kelvins.append(atoms.get_temperature())
            gained = 1e3 * (energies[-1] - energies[0])
            progress.set_postfix_str(f"{gained:+.3f} meV/atom", refresh=False)
    return np.array(energies), np.array(kelvins)


def drift_and_fluctuation(
    times: np.ndarray, energies: np.ndarray
) -> tuple[float, float]:
    """Return the slope of a fitted line, and the deviation from it.

    Parameters
    ----------
    times, energies : ndarray of shape (n_records,)

    Returns
    -------
    slope : float
        Energy per time.
    fluctuation : float
        Standard deviation about the line, in the unit of the energies.
    """
    line = np.polynomial.Polynomial.fit(times, energies, 1)
    return float(line.deriv()(times[0])), float(np.std(energies - line(times)))


@click.command()
@click.option("-m", "--model", default="mft-mini", show_default=True)
@click.option(
    "--crystal", "name", type=click.Choice(list(CRYSTALS)), default="MgO",
    show_default=True,
)  # fmt: skip
@click.option("--kelvin", default=600.0, show_default=True)
@click.option("--ps", default=20.0, show_default=True, help="Length of the run.")
@click.option("--fs", default=2.0, show_default=True, help="Time step.")
@click.option("--equilibration-ps", default=1.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(
    model: str,
    name: str,
    kelvin: float,
    ps: float,
    fs: float,
    equilibration_ps: float,
    seed: int,
    threads: int,
) -> None:
    """Print drift, fluctuation and mean temperature."""
    torch.set_num_threads(threads)
    atoms = relaxed_supercell(name, MFTCalculator(model))
    click.echo(
        f"{name}, {len(atoms)} atoms of {atoms.get_volume() / len(atoms):.2f} Å^3, "
        f"{kelvin:g} K, {fs:g} fs a step, seed {seed}"
    )
    rng = np.random.default_rng(seed)
    equilibrate(atoms, kelvin, fs * units.fs, round(1e3 * equilibration_ps / fs), rng)
    energies, kelvins = run_verlet(atoms, fs * units.fs, round(1e3 * ps / fs))
    times = 1e-3 * fs * RECORD_EVERY * np.arange(len(energies))
    drift, fluctuation = drift_and_fluctuation(times, 1e3 * energies)
    click.echo(
        f"{times[-1]:g} ps: drift {drift:+.4f} meV/atom/ps, fluctuation "
        f"{fluctuation:.3f} meV/atom, farthest from the start "
        f"{1e3 * np.abs(energies - energies[0]).max():.3f} meV/atom, "
        f"mean temperature {kelvins.mean():.0f} K"
    )


if __name__ == "__main__":
    main()
