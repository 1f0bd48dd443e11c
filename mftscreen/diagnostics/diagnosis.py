"""A fine-tuned model against the pretrained one, on one or several data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.diagnostics.clusters import (
    ClusterComparison,
    LabelledRows,
    Separation,
    compare_clusters,
)
from mftscreen.diagnostics.compared_models import NamedNetwork
from mftscreen.diagnostics.drift import (
    Drift,
    atomic_descriptors,
    check_comparable,
    measure_drift,
)
from mftscreen.diagnostics.edge_kinds import (
    SHELLS,
    Pair,
    count_edges,
    frequent_pairs,
)
from mftscreen.diagnostics.environments import atom_environments
from mftscreen.diagnostics.sampling import gather_rows, sample_each
from mftscreen.errors import DataError, ModelError
from mftscreen.model.network.backend import DeepmdNetwork

__all__ = [
    "DataSetDiagnosis",
    "Diagnosis",
    "DiagnosisOptions",
    "MIN_ROWS",
    "diagnose",
]

MIN_ROWS = 10
"""With fewer atoms or edges than this, clusters and their distances mean nothing."""


@dataclass(frozen=True)
class DiagnosisOptions:
    """What to sample.

    Attributes
    ----------
    n_atoms : int
        Atoms for the Wasserstein distance.
    n_samples : int
        Atoms of each environment and edges of each kind.
    n_environments : int
        The most frequent environments are shown.
    pairs : tuple of Pair
        For edges; the two pairs that are bonded most often if there are none.
    seed : int
        Of the first sample and its t-SNE.
    n_repeats : int
        Samples of atoms and edges, each with a t-SNE of its own: a single one may say
        anything (1.1 and 1.9 for the same crystals). See
        :func:`mftscreen.diagnostics.clusters.compare_clusters`.
    independent : bool
        Whether the Wasserstein distance of independent draws is measured, too.
    clustered : tuple of str, optional
        The data sets whose clusters are compared, which takes most of the time; all by
        default.
    """

    n_atoms: int = 5000
    n_samples: int = 2000
    n_environments: int = 12
    pairs: tuple[Pair, ...] = ()
    seed: int = 0
    n_repeats: int = 1
    independent: bool = False
    clustered: tuple[str, ...] | None = None

    def compares_clusters_of(self, name: str) -> bool:
        """Return whether the clusters of a data set are compared."""
        return self.clustered is None or name in self.clustered

    def count_stages(self, names: Iterable[str], n_models: int = 1) -> int:
        """Return how many stages a diagnosis of these data sets has, at most."""
        n_clusters = 2 * (1 + n_models)
        return sum(1 + n_clusters * self.compares_clusters_of(name) for name in names)


@dataclass(frozen=True)
class DataSetDiagnosis:
    """What was found on one data set.

    Attributes
    ----------
    name : str
    n_structures, n_atoms : int
        Of the whole data set.
    drift : dict of str to Drift
        Of each fine-tuned model.
    atoms : ClusterComparison or None
        Of atomic descriptors by environment.
    edges : ClusterComparison or None
        Of edge features by pair and distance.
    no_atoms, no_edges : str
        Why there is no comparison of atoms or of edges; empty if there is one, and if
        it was not asked for.
    """

    name: str
    n_structures: int
    n_atoms: int
    drift: dict[str, Drift]
    atoms: ClusterComparison | None = None
    edges: ClusterComparison | None = None
    no_atoms: str = ""
    no_edges: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and from what.

    Attributes
    ----------
    pretrained : NamedNetwork
    fine_tuned : dict of str to NamedNetwork
        By the names that tables and plots give them.
    options : DiagnosisOptions
    data_sets : tuple of DataSetDiagnosis
    """

    pretrained: NamedNetwork
    fine_tuned: dict[str, NamedNetwork]
    options: DiagnosisOptions
    data_sets: tuple[DataSetDiagnosis, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, without the points of the plots, as JSON knows them."""
        packages = ("mftscreen", "deepmd-kit", "POT", "scikit-learn")
        clustered = self.options.clustered
        return {
            "pretrained": _identity(self.pretrained),
            "fine_tuned": {n: _identity(m) for n, m in self.fine_tuned.items()},
            "options": asdict(self.options)
            | {
                "pairs": ["-".join(pair) for pair in self.options.pairs],
                "clustered": None if clustered is None else list(clustered),
            },
            "versions": {name: version(name) for name in packages},
            "data_sets": {each.name: _numbers(each) for each in self.data_sets},
        }


def diagnose(
    pretrained: NamedNetwork,
    fine_tuned: Mapping[str, NamedNetwork],
    data: Mapping[str, Sequence[Atoms]],
    options: DiagnosisOptions | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Diagnosis:
    """Compare the representations of fine-tuned models with the pretrained ones.

    Parameters
    ----------
    pretrained : NamedNetwork
    fine_tuned : mapping of str to NamedNetwork
    data : mapping of str to sequence of Atoms
        Name of a data set to its structures, already checked
        (:func:`mftscreen.structures.check_structure`).
    options : DiagnosisOptions, optional
    on_stage : callable
        Told what comes next; up to :meth:`DiagnosisOptions.count_stages` times.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ModelError
        If the models cannot be compared
        (:func:`mftscreen.diagnostics.drift.check_comparable`), or a feature is not
        finite.
    DataError
        If a data set has fewer than 10 atoms.
    """
    options = options or DiagnosisOptions()
    networks = {name: model.network for name, model in fine_tuned.items()}
    for network in networks.values():
        check_comparable(pretrained.network, network)
    for name, structures in data.items():
        n_atoms = sum(len(atoms) for atoms in structures)
        if n_atoms < MIN_ROWS:
            msg = f"data set {name!r} has {n_atoms} atoms; at least {MIN_ROWS} needed"
            raise DataError(msg)
    found = []
    for name, structures in data.items():
        work = _DataSet(name, structures, options, on_stage)
        found.append(work.diagnose(pretrained.network, networks))
    return Diagnosis(pretrained, dict(fine_tuned), options, tuple(found))


@dataclass(frozen=True)
class _DataSet:
    name: str
    structures: Sequence[Atoms]
    options: DiagnosisOptions
    on_stage: Callable[[str], None]

    def diagnose(
        self, pretrained: DeepmdNetwork, fine_tuned: Mapping[str, DeepmdNetwork]
    ) -> DataSetDiagnosis:
        self.on_stage(f"{self.name}: drift")
        options = self.options
        drift = measure_drift(
            pretrained,
            fine_tuned,
            self.structures,
            options.n_atoms,
            options.seed,
            independent=options.independent,
        )
        found = DataSetDiagnosis(
            name=self.name,
            n_structures=len(self.structures),
            n_atoms=sum(len(each) for each in self.structures),
            drift=drift,
        )
        if not options.compares_clusters_of(self.name):
            return found
        # all atoms of a crystal may be alike, or none bonded; drift is known still
        try:
            found = replace(found, atoms=self._compare_atoms(pretrained, fine_tuned))
        except (DataError, ModelError) as error:
            found = replace(found, no_atoms=str(error))
        try:
            found = replace(found, edges=self._compare_edges(pretrained, fine_tuned))
        except (DataError, ModelError) as error:
            found = replace(found, no_edges=str(error))
        return found

    def _compare_atoms(
        self, pretrained: DeepmdNetwork, fine_tuned: Mapping[str, DeepmdNetwork]
    ) -> ClusterComparison:
        def features(model: str | None, rows: NDArray[np.int64]) -> NDArray[np.float64]:
            self.on_stage(f"{self.name}: atoms, {model or 'pretrained'}")
            network = pretrained if model is None else fine_tuned[model]
            return atomic_descriptors(network, self.structures, rows)

        samples = self._sample_atoms()
        return compare_clusters(samples, features, [*fine_tuned], self.options.seed)

    def _sample_atoms(self) -> list[LabelledRows]:
        """Return atoms of the most frequent environments."""
        labels = [e for atoms in self.structures for e in atom_environments(atoms)]
        counts = Counter(labels).most_common(self.options.n_environments)
        kept = sorted(environment for environment, _ in counts)
        position = {environment: code for code, environment in enumerate(kept)}
        codes = np.array([position.get(label, -1) for label in labels])
        names = tuple(str(environment) for environment in kept)
        return self._sample(codes, names, tuple(e.element for e in kept))

    def _compare_edges(
        self, pretrained: DeepmdNetwork, fine_tuned: Mapping[str, DeepmdNetwork]
    ) -> ClusterComparison:
        cutoffs = pretrained.edge_cutoffs()
        pairs = self.options.pairs or frequent_pairs(self.structures, cutoffs)
        census = count_edges(self.structures, pairs, cutoffs)
        families = tuple("-".join(pair) for pair in pairs for _ in SHELLS)
        names = tuple(f"{'-'.join(pair)} {shell}" for pair in pairs for shell in SHELLS)
        samples = self._sample(census.codes, names, families)
        n_edges = len(samples[0].rows)
        if n_edges < MIN_ROWS:
            which = ", ".join(dict.fromkeys(families)) or "bonded atoms"
            msg = f"{n_edges} edges of {which}; at least {MIN_ROWS} needed"
            raise DataError(msg)

        def features(model: str | None, rows: NDArray[np.int64]) -> NDArray[np.float64]:
            self.on_stage(f"{self.name}: edges, {model or 'pretrained'}")
            network = pretrained if model is None else fine_tuned[model]
            evaluate, sizes = network.edge_features, census.sizes
            return gather_rows(evaluate, self.structures, sizes, rows)

        return compare_clusters(samples, features, [*fine_tuned], self.options.seed)

    def _sample(
        self,
        codes: NDArray[np.integer[Any]],
        names: tuple[str, ...],
        families: tuple[str, ...],
    ) -> list[LabelledRows]:
        options, samples = self.options, []
        for seed in range(options.seed, options.seed + options.n_repeats):
            rows = sample_each(codes, options.n_samples, np.random.default_rng(seed))
            kinds = codes[rows].astype(np.int64)
            samples.append(LabelledRows(rows, kinds, names, families))
        return samples


def _identity(model: NamedNetwork) -> dict[str, str]:
    return {"source": model.source, "sha256": model.sha256}


def _numbers(found: DataSetDiagnosis) -> dict[str, Any]:
    return {
        "n_structures": found.n_structures,
        "n_atoms": found.n_atoms,
        "n_rows": {
            what: None if comparison is None else comparison.labelled.counts
            for what, comparison in (("atoms", found.atoms), ("edges", found.edges))
        },
        "no_atoms": found.no_atoms,
        "no_edges": found.no_edges,
        "models": {
            model: {
                "drift": asdict(drift),
                "atoms": _separations(found.atoms, model),
                "edges": _separations(found.edges, model),
            }
            for model, drift in found.drift.items()
        },
    }


def _separations(
    comparison: ClusterComparison | None, model: str
) -> dict[str, Any] | None:
    def numbers(separation: Separation) -> dict[str, Any]:
        more = {"ratio": separation.ratio, "ratio_sd": separation.sd}
        return asdict(separation) | more

    if comparison is None:
        return None
    return {
        "davies_bouldin_plane": numbers(comparison.on_plane(model)),
        "davies_bouldin_descriptor": numbers(comparison.in_descriptor(model)),
    }
