"""What fine-tuning did to a model: the Python side of ``mftscreen diagnose``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from mftscreen.console.progress import showing_stages
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.diagnostics.diagnosis import (
    DataSetDiagnosis,
    Diagnosis,
    DiagnosisOptions,
)
from mftscreen.diagnostics.diagnosis import diagnose as measure
from mftscreen.diagnostics.drift import check_comparable
from mftscreen.diagnostics.edge_kinds import parse_pair
from mftscreen.diagnostics.pages import check_output, write_diagnosis, write_numbers
from mftscreen.errors import ConfigError, DataError, MftscreenError
from mftscreen.finetune.config.blocks import SplitConfig
from mftscreen.finetune.task.partition import divide, in_order
from mftscreen.jobs.trained import (
    Models,
    common_parts,
    common_pretrained,
    name_models,
)
from mftscreen.screen.candidates.in_memory import are_paths
from mftscreen.screen.candidates.stream import (
    Candidate,
    check_not_read,
    iter_candidates,
)
from mftscreen.structures import check_structure

if TYPE_CHECKING:
    import pandas as pd

    from mftscreen.model.network.backend import Device

__all__ = ["DiagnosisResult", "diagnose"]


_LEAST = {"n_atoms": 1, "n_samples": 2, "n_repeats": 1, "n_environments": 2, "seed": 0}


@dataclass(frozen=True)
class DiagnosisResult:
    """A diagnosis, and what it could not be made of.

    Attributes
    ----------
    diagnosis : Diagnosis
    failures : dict of str to str
        Id to the reason, of structures that were left out. Of an id that is in several
        data sets, ``NAME: ID`` from the second on.
    """

    diagnosis: Diagnosis
    failures: dict[str, str]

    def __repr__(self) -> str:
        found = self.diagnosis
        names = ", ".join(each.name for each in found.data_sets)
        models = ", ".join(found.fine_tuned)
        return f"<{models} against {found.pretrained.source} on {names}>"

    def _repr_html_(self) -> str:
        return str(self.to_pandas()._repr_html_())

    def to_pandas(self) -> pd.DataFrame:
        """Return how far descriptors have moved, a row for each data set and model.

        ``w1`` (of the same atoms), ``w1_independent`` (of other atoms in each model),
        ``w1_floor`` (of those in the pretrained model alone) and ``spread`` are in the
        descriptor's own units, ``db_<what>_<space>`` Davies-Bouldin indices over those
        of the pretrained model, means with ``…_sd`` over samples.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {"data_set": found.name, "model": model} | _numbers(found, model)
                for found in self.diagnosis.data_sets
                for model in found.drift
            ]
        )


def _numbers(found: DataSetDiagnosis, model: str) -> dict[str, Any]:
    drift = found.drift[model]
    numbers: dict[str, Any] = {
        "n_structures": found.n_structures,
        "n_atoms": found.n_atoms,
        "w1": drift.w1,
        "spread": drift.spread,
    }
    if drift.independent is not None:
        numbers["w1_independent"] = drift.independent.w1
        numbers["w1_floor"] = drift.independent.floor
    for what, compared in (("atoms", found.atoms), ("edges", found.edges)):
        if compared is None:
            continue
        spaces = {
            "plane": compared.on_plane(model),
            "descriptor": compared.in_descriptor(model),
        }
        for space, separation in spaces.items():
            numbers[f"db_{what}_{space}"] = separation.ratio
            numbers[f"db_{what}_{space}_sd"] = separation.sd
    return numbers


def diagnose(
    model: Models,
    against: str | Path | None = None,
    data: Any = None,
    *,
    split: str | Path | None = None,
    fold: str | int | None = None,
    output: str | Path | None = None,
    json: str | Path | None = None,
    n_atoms: int = 5000,
    n_samples: int = 500,
    n_repeats: int = 3,
    n_environments: int = 12,
    pairs: Sequence[str] = (),
    seed: int = 0,
    device: Device = "auto",
    progress: bool = False,
    command: str = "mftscreen.diagnose",
) -> DiagnosisResult:
    """Measure what fine-tuning did to the representations of models.

    Parameters
    ----------
    model : str, Path, sequence or mapping
        The fine-tuned models: names, files, or folders of trainings; a mapping gives
        them the names that tables and plots use.
    against : str or Path, optional
        The model that they were made from; that which the folders of their trainings
        name by default.
    data : mapping or object, optional
        Name of a data set to a file or folder, or to structures in memory. With a
        `split`, the rows that were split. By default, what the folders of trainings
        name: training set, validation set and tests.
    split : str or Path, optional
        A file that ``mftscreen split`` wrote; `fold` of it divides `data`.
    fold : str or int, optional
        Its name; needed with `split`.
    output : str or Path, optional
        Write a report to this ``.html``, or its plots to this ``.png``.
    json : str or Path, optional
        Write all numbers to this ``.json``.
    n_atoms : int
        Atoms of each data set for the Wasserstein distance.
    n_samples : int
        Atoms of each environment, and edges of each kind, for the clusters. The paper
        takes 2,000.
    n_repeats : int
        Samples, each with a t-SNE of its own; indices have a standard deviation.
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
        If models have no names of their own, it is not known what to compare them with
        or on, or a number is too small.
    ModelError
        If a model cannot be read, or the two cannot be compared.
    DataError
        If data cannot be read, are too few, or a file cannot be written or is one of
        `data` or `split`.

    Examples
    --------
    >>> from mftscreen import diagnose
    >>> diagnose(["runs/ft", "runs/mft"]).to_pandas()  # doctest: +SKIP
    >>> found = diagnose(
    ...     "my.mft", "mft-mini-crystals", {"train": structures}, n_samples=300
    ... )  # doctest: +SKIP
    """
    models = name_models(model)
    source = _check_data(data, split, fold)
    written = None if output is None else Path(output)
    numbers = None if json is None else Path(json)
    for path, formats in ((written, (".html", ".png")), (numbers, (".json",))):
        if path is not None:
            check_output(path, formats)
            check_not_read(path, *_paths(source), split)
    options = DiagnosisOptions(
        n_atoms,
        n_samples,
        n_environments,
        tuple(map(parse_pair, pairs)),
        seed,
        n_repeats,
        independent=True,
    )
    _check_numbers(options)
    before = load_network(
        against or common_pretrained(models), device, progress=progress
    )
    after = {m.name: load_network(m.model, device, progress=progress) for m in models}
    for each in after.values():
        check_comparable(before.network, each.network)
    failures: dict[str, str] = {}
    structures = (
        common_parts(models)
        if source is None
        else _read_all(source, split, fold, before.network.type_map, failures)
    )
    n_stages = options.count_stages(structures, len(after))
    with showing_stages(n_stages, shown=progress) as begin:
        diagnosis = measure(before, after, structures, options, begin)
    if numbers is not None:  # first: there may be nothing to be drawn
        write_numbers(diagnosis, numbers, command)
    if written is not None:
        write_diagnosis(diagnosis, written, command)
    return DiagnosisResult(diagnosis, failures)


def _check_numbers(options: DiagnosisOptions) -> None:
    found = {name: getattr(options, name) for name in _LEAST}
    if small := [
        f"{name}: {_LEAST[name]} or more, got {number}"
        for name, number in found.items()
        if number < _LEAST[name]
    ]:
        raise ConfigError(small)


def _check_data(data: Any, split: Any, fold: Any) -> Any:
    """Return the data; raise unless they are divided in just one way."""
    if (split is None) != (fold is None):
        problem = "split, fold: one is needed with the other"
    elif split is not None and (data is None or isinstance(data, Mapping)):
        problem = "data: with a split, just the rows that were split"
    elif (
        split is None
        and data is not None
        and (not isinstance(data, Mapping) or not data)
    ):
        problem = 'data: names and what they stand for, as {"train": "train.extxyz"}'
    else:
        return data
    raise ConfigError([problem])


def _paths(data: Any) -> list[str | Path]:
    """Return those of the data that are files or folders."""
    found: list[str | Path] = []
    for source in data.values() if isinstance(data, Mapping) else [data]:
        if isinstance(source, str | Path):
            found.append(source)
        elif are_paths(source):
            found += source
    return found


def _read_all(
    data: Any,
    split: str | Path | None,
    fold: str | int | None,
    elements: Collection[str],
    failures: dict[str, str],
) -> dict[str, list[Atoms]]:
    """Return the usable structures of each data set; note why others are not."""
    if split is None:
        candidates = {name: iter_candidates(source) for name, source in data.items()}
    else:
        # no ID test but that of the file: rows that were trained on are none
        settings = SplitConfig(file=Path(split), fold=str(fold), id_share=0.0)
        parts = divide(list(iter_candidates(data)), settings)
        candidates = {name: iter(parts[name]) for name in in_order(parts)}
    usable = {}
    for n, found in candidates.items():
        before = set(failures)
        usable[n] = list(_usable(n, found, elements, failures))
        if not usable[n] and (left_out := [i for i in failures if i not in before]):
            msg = (
                f"data set {n!r}: no structure can be used; "
                f"{left_out[0]}: {failures[left_out[0]]}"
            )
            raise DataError(msg)
    return usable


def _usable(
    name: str,
    candidates: Iterable[Candidate],
    elements: Collection[str],
    failures: dict[str, str],
) -> Iterator[Atoms]:
    for candidate in candidates:
        try:
            if isinstance(candidate.structure, MftscreenError):
                raise candidate.structure
            check_structure(candidate.structure, elements)
        except MftscreenError as error:
            taken = candidate.id in failures
            failures[f"{name}: {candidate.id}" if taken else candidate.id] = str(error)
        else:
            yield candidate.structure
