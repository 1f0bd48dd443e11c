"""Forces of a model against PBE, for six elements it was never trained on as such.

Usage: python benchmarks/force_field.py --data FOLDER [-m MODEL]

The data are the 1,566 frames of Ni, Cu, Mo, Ge, Si and Li of mlearn (Zuo et al.,
doi:10.1021/acs.jpca.9b08723), ``dft_ef/mlearn.json.zip`` of the data folder: elastic
strains, defects, surfaces and molecular dynamics up to above the melting point. Prints,
for each element and for all force components together,

* the MAE, beside that of predicting no forces;
* the slope of predicted over PBE components by least squares, through the origin and
  with an intercept. Below 1 the force field is too soft.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from tqdm import tqdm

from mftscreen import Predictor

FILE = Path("dft_ef/mlearn.json.zip")


def read_mlearn(path: Path) -> Iterator[tuple[Atoms, NDArray[np.float64]]]:
    """Yield each frame and its PBE forces (eV/Å)."""
    with zipfile.ZipFile(path) as archive:
        frames = json.loads(archive.read("mlearn.json"))
    for frame in frames:
        crystal = frame["atoms"]
        atoms = Atoms(
            crystal["elements"],
            scaled_positions=crystal["coords"],
            cell=crystal["lattice_mat"],
            pbc=True,
        )
        yield atoms, np.array(frame["forces"])


def compare(
    predicted: NDArray[np.float64], reference: NDArray[np.float64]
) -> dict[str, float]:
    """Return errors and slopes of force components.

    Parameters
    ----------
    predicted, reference : ndarray of shape (n_components,)
        In eV/Å.

    Returns
    -------
    dict of str to float
        ``n``; ``mae`` and ``mae of none`` in eV/Å; ``slope`` through the origin,
        ``slope with intercept``.
    """
    centred = reference - reference.mean()
    return {
        "n": len(reference),
        "mae": float(np.abs(predicted - reference).mean()),
        "mae of none": float(np.abs(reference).mean()),
        "slope": float(predicted @ reference / (reference @ reference)),
        "slope with intercept": float(predicted @ centred / (centred @ centred)),
    }


@click.command()
@click.option(
    "--data", envvar="MFTSCREEN_DATA", required=True, show_envvar=True,
    type=click.Path(exists=True, path_type=Path),
)  # fmt: skip
@click.option("-m", "--model", default="mft-mini", show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(data: Path, model: str, threads: int) -> None:
    """Print one line per element and one for all."""
    torch.set_num_threads(threads)
    frames, references = zip(*read_mlearn(data / FILE), strict=True)
    predictor = Predictor(model, properties=[], forces=True)
    parts: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    rows = tqdm(predictor(frames), total=len(frames))
    for row, atoms, reference in zip(rows, frames, references, strict=True):
        if row.forces is None:
            raise click.ClickException(row.reason)
        pair = row.forces.ravel(), reference.ravel()
        parts.setdefault(atoms.symbols[0], []).append(pair)
    click.echo(
        f"{len(frames)} frames of mlearn (PBE), forces in eV/Å\n"
        f"{'':3s} {'components':>10s} {'MAE':>6s} {'of none':>8s} "
        f"{'slope':>6s} {'with intercept':>15s}"
    )
    together = [pair for pairs in parts.values() for pair in pairs]
    for element, pairs in {**parts, "all": together}.items():
        predicted, reference = (
            np.concatenate(side) for side in zip(*pairs, strict=True)
        )
        found = compare(predicted, reference)
        click.echo(
            f"{element:3s} {found['n']:10d} {found['mae']:6.3f} "
            f"{found['mae of none']:8.3f} {found['slope']:6.3f} "
            f"{found['slope with intercept']:15.3f}"
        )


if __name__ == "__main__":
    main()
