"""What fine-tuning did to a model: the Python side of ``mftscreen diagnose``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from mftscreen.console.progress import showing_stages
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.diagnostics.diagnosis import Diagnosis, DiagnosisOptions
from mftscreen.diagnostics.diagnosis import diagnose as measure
from mftscreen.diagnostics.drift import check_comparable
from mftscreen.diagnostics.edge_kinds import parse_pair
from mftscreen.diagnostics.pages import check_output, write_diagnosis, write_numbers
from mftscreen.errors import ConfigError, MftscreenError
from mftscreen.screen.candidates.stream import iter_candidates
from mftscreen.structures import check_structure

if TYPE_CHECKING:
    import pandas as pd

    from mftscreen.model.network.backend import Device

__all__ = ["DiagnosisResult", "diagnose"]


@dataclass(frozen=True)
class DiagnosisResult:
    """A diagnosis, and what it could not be made of.

    Attributes
    ----------
    diagnosis : Diagnosis
    failures : dict of str to str
        Id to the reason, of structures that were left out.
    """

    diagnosis: Diagnosis
    failures: dict[str, str]

    def __repr__(self) -> str:
        found = self.diagnosis
        names = ", ".join(each.name for each in found.data_sets)
        models = f"{found.fine_tuned.source} against {found.pretrained.source}"
        return f"<{models} on {names}>"

    def _repr_html_(self) -> str:
        return str(self.to_pandas()._repr_html_())

    def to_pandas(self) -> pd.DataFrame:
        """Return how far descriptors have moved, a row for each data set.

        ``w1`` and ``spread`` are in the descriptor's own units, ``db_<what>_<space>``
        Davies-Bouldin indices over those of the pretrained model.
        """
        import pandas as pd

        rows = []
        for found in self.diagnosis.data_sets:
            row: dict[str, Any] = {
                "data_set": found.name,
                "n_structures": found.n_structures,
                "n_atoms": found.n_atoms,
                "w1": found.drift.w1,
                "spread": found.drift.spread,
            }
            for what, compared in (("atoms", found.atoms), ("edges", found.edges)):
                if compared is not None:
                    row[f"db_{what}_plane"] = compared.on_plane.ratio
                    row[f"db_{what}_descriptor"] = compared.in_descriptor.ratio
            rows.append(row)
        return pd.DataFrame(rows)


def diagnose(
    model: str | Path,
    against: str | Path,
    data: Mapping[str, Any],
    *,
    output: str | Path | None = None,
    json: str | Path | None = None,
    n_atoms: int = 5000,
    n_samples: int = 2000,
    n_environments: int = 12,
    pairs: Sequence[str] = (),
    seed: int = 0,
    device: Device = "auto",
    progress: bool = False,
    command: str = "mftscreen.diagnose",
) -> DiagnosisResult:
    """Measure what fine-tuning did to the representations of a model.

    Parameters
    ----------
    model, against : str or Path
        The fine-tuned model, and the one that it was made from.
    data : mapping of str to object
        Name of a data set to a file or folder, or to structures in memory.
    output : str or Path, optional
        Write a report to this ``.html``, or its plots to this ``.png``.
    json : str or Path, optional
        Write all numbers to this ``.json``.
    n_atoms : int
        Atoms of each data set for the Wasserstein distance.
    n_samples : int
        Atoms of each environment, and edges of each kind, for the clusters.
    n_environments : int
        The most frequent environments are compared.
    pairs : sequence of str, optional
        Edges to compare, such as ``"C-O"``; by default the two that are bonded most
        often.
    seed : int
        Of samples and t-SNE.
    device : {"auto", "cpu", "cuda"}
    progress : bool, default False
        Whether to show progress.
    command : str, optional
        What a report gives as its command.

    Returns
    -------
    DiagnosisResult

    Raises
    ------
    ConfigError
        If `data` has no names.
    ModelError
        If a model cannot be read, or the two cannot be compared.
    DataError
        If data cannot be read, are too few, or a file cannot be written.

    Examples
    --------
    >>> from mftscreen import diagnose
    >>> found = diagnose(
    ...     "my.mft", "mft-mini-crystals", {"train": structures}, n_samples=300
    ... )  # doctest: +SKIP
    >>> found.to_pandas()  # doctest: +SKIP
    """
    if not isinstance(data, Mapping) or not data:
        problem = 'data: names and what they stand for, as {"train": "train.extxyz"}'
        raise ConfigError([problem])
    written = None if output is None else Path(output)
    numbers = None if json is None else Path(json)
    for path, formats in ((written, (".html", ".png")), (numbers, (".json",))):
        if path is not None:
            check_output(path, formats)
    options = DiagnosisOptions(
        n_atoms, n_samples, n_environments, tuple(map(parse_pair, pairs)), seed
    )
    before, after = (
        load_network(each, device, progress=progress) for each in (against, model)
    )
    check_comparable(before.network, after.network)
    structures: dict[str, list[Atoms]] = {}
    failures: dict[str, str] = {}
    for name, source in data.items():
        structures[name] = _read(source, after.network.type_map, failures)
    with showing_stages(options.count_stages(structures), shown=progress) as begin:
        diagnosis = measure(before, after, structures, options, begin)
    if written is not None:
        write_diagnosis(diagnosis, written, command)
    if numbers is not None:
        write_numbers(diagnosis, numbers, command)
    return DiagnosisResult(diagnosis, failures)


def _read(
    source: Any, elements: Collection[str], failures: dict[str, str]
) -> list[Atoms]:
    """Return the usable structures of a source; note why others are not."""
    usable = []
    for candidate in iter_candidates(source):
        try:
            if isinstance(candidate.structure, MftscreenError):
                raise candidate.structure
            check_structure(candidate.structure, elements)
        except MftscreenError as error:
            failures[candidate.id] = str(error)
        else:
            usable.append(candidate.structure)
    return usable
