"""Fine-tuning as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mftscreen.data.memory import RowsInMemory, iter_memory
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.document import merge_blocks
from mftscreen.finetune.config.read import as_config
from mftscreen.finetune.strategies import COMPARABLE
from mftscreen.finetune.tune import finetune
from mftscreen.jobs.labels import (
    component_names,
    labelled_rows,
    labels_of,
    property_name_of,
)
from mftscreen.jobs.prediction import prediction_table
from mftscreen.model.files.registry import member_for
from mftscreen.model.loading import load_model
from mftscreen.parity import plot_parity
from mftscreen.predictor import Predictor
from mftscreen.properties import by_target, own_names
from mftscreen.suggestions import did_you_mean
from mftscreen.writing import output_file

if TYPE_CHECKING:
    import pandas as pd

    from mftscreen.model.files.bundle import ModelCard
    from mftscreen.model.loaded_model import LoadedModel

__all__ = ["MFTRegressor"]

N_NAMED = 5
"""Structures that an error message names."""


class MFTRegressor(RegressorMixin, BaseEstimator):
    """Regression of a property on structures, by any of the strategies.

    It runs what ``mftscreen finetune`` runs, and works in scikit-learn's
    ``cross_val_score``, ``GridSearchCV``, ``clone`` and ``joblib.dump``. With the
    strategy ``kernel``, descriptors of structures are kept, so that folds cost little.

    Parameters
    ----------
    strategy : {"kernel", "scratch", "ft", "lp", "mft"}
        ``kernel`` takes minutes; the others train a network (arXiv:2601.08486).
    pretrained : str or sequence of str
        Name of a model, or path of a ``.mft`` or ``.pt`` file; ``scratch`` needs none.
        Of several, which ``kernel`` alone takes, the descriptors are read side by side.
        ``mft-mini`` is that of crystals if any structure is periodic, else that of
        molecules; it has learned from labels of MatBench and QM9, so that scores on
        these are not those of new rows, and ``7net-0`` has not.
    property_name : str, optional
        By default after that of `y`, if it has one, or ``target``.
    unit : str
        Of the labels; ``"1"`` if dimensionless.
    head : {"intensive", "extensive", "r2", "dipole_norm"}
        What becomes of the property in a supercell.
    loss : {"mae", "smooth_mae", "mse"}
    steps : int
        Training steps of a network; ``kernel`` has none.
    config : mapping, optional
        Further keys of a configuration, as in a YAML file: ``{"training":
        {"batch_size": 128}}``. Without ``auxiliary``, ``mft`` makes frames for the
        force field of the structures themselves (``self_replay``).
    alpha, coverage : float
        With ``return_trust``: p-value up to which structures are flagged, and share of
        true values that intervals are to hold.
    random_state : int or None
        None for another one each time.
    threads : int, optional
        CPU threads for training; all cores by default.
    output : str or Path, optional
        Folder to keep what the training writes; by default it is deleted.
    progress : bool
        Whether to show progress.

    Attributes
    ----------
    property_name_ : str
    content_ : bytes
        The model file.
    model_ : LoadedModel

    Notes
    -----
    Structures are :class:`ase.Atoms` or pymatgen structures, in a list, an array or a
    column of a DataFrame (MatBench's ``df["structure"]``).

    Examples
    --------
    >>> from mftscreen import MFTRegressor
    >>> model = MFTRegressor(unit="eV")
    >>> model.fit(df["structure"], df["gap"])  # doctest: +SKIP
    >>> model.predict(structures, return_trust=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        strategy: str = "kernel",
        *,
        pretrained: str | Sequence[str] = "mft-mini",
        property_name: str | None = None,
        unit: str = "1",
        head: str = "intensive",
        loss: str = "smooth_mae",
        steps: int = 5000,
        config: Mapping[str, Any] | None = None,
        alpha: float = 0.05,
        coverage: float = 0.9,
        random_state: int | None = 1,
        threads: int | None = None,
        output: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.strategy = strategy
        self.pretrained = pretrained
        self.property_name = property_name
        self.unit = unit
        self.head = head
        self.loss = loss
        self.steps = steps
        self.config = config
        self.alpha = alpha
        self.coverage = coverage
        self.random_state = random_state
        self.threads = threads
        self.output = output
        self.progress = progress

    def fit(
        self, X: Any, y: ArrayLike, groups: ArrayLike | None = None
    ) -> MFTRegressor:
        """Train on structures and labels.

        Parameters
        ----------
        X : sequence of structures
        y : array-like of shape (n_structures,) or (n_structures, n_components)
            Finite labels, in `unit`. Each column of several is a property with the name
            of the column or its number, after that of all of them.
        groups : array-like of shape (n_structures,), optional
            Structures of one group are held out together when settings are chosen and
            errors are measured, beside those of one substance. Where groups and
            substances together join more than 40 % of the structures, substances are
            told apart; groups that join more than 90 % do not count. A warning says so.

        Returns
        -------
        MFTRegressor
            Itself.

        Raises
        ------
        ConfigError
            If a parameter is not allowed; lists all that are not.
        DataError
            If structures or labels cannot be used; they are named.
        ModelError, TrainingError
            See :func:`mftscreen.finetune.run.run.run_training`.
        """
        name = self.property_name or property_name_of(y)
        labels = labels_of(y)
        rows = labelled_rows(X, labels, groups, name)
        components = component_names(y, labels)
        settings = as_config(self._document(rows, name, components))
        if any(p.kind == "class" for p in settings.plan.properties.values()):
            raise ConfigError([_NO_CLASSES])
        with _run_folder(self.output) as folder:
            result = finetune(
                settings,
                folder,
                threads=self.threads,
                collapse_report=False,
                progress=self.progress,
            )
            self.content_ = result.path.read_bytes()
            self._loaded: LoadedModel | None = _load(result.path)
        self.property_name_ = name
        return self

    def predict(
        self, X: Any, return_trust: bool = False
    ) -> NDArray[np.float64] | pd.DataFrame:
        """Predict the property of structures.

        Also of those that are of another kind than most of the training set, which
        ``return_trust`` flags: scores are of all rows. (:func:`mftscreen.rank` refuses
        them, unless ``check_domain=False``.)

        Parameters
        ----------
        X : sequence of structures
        return_trust : bool, default False
            Whether to return a table that says what to trust.

        Returns
        -------
        ndarray of the shape of `y`, or pandas.DataFrame
            Values in `unit`; or a table with a row for each structure: its value, the
            interval, the p-value, the flag, and a reason where there is no value. Of
            several components each has its columns there.

        Raises
        ------
        DataError
            If a structure cannot be evaluated; a table has a reason instead.
        sklearn.exceptions.NotFittedError
            If it has not been fitted.
        """
        check_is_fitted(self, "content_")
        if return_trust:
            return prediction_table(
                X,
                self.model_,
                self._names,
                alpha=self.alpha,
                coverage=self.coverage,
            )
        given = list(iter_memory(X))
        predictor = Predictor(self.model_, properties=self._names)
        found = list(predictor(row.structure for row in given))
        failed = [
            f"{row.name}: {result.reason}"
            for row, result in zip(given, found, strict=True)
            if not result.ok
        ]
        if failed:
            msg = (
                f"{len(failed)} of {len(found)} structures have no prediction "
                f"(return_trust=True gives all others): {'; '.join(failed[:N_NAMED])}"
            )
            raise DataError(msg)
        listed = [[row.properties[n] for n in self._names] for row in found]
        values = np.array(listed).reshape(len(found), len(self._names))
        return values[:, 0] if self._names == [self.property_name_] else values

    @property
    def _names(self) -> list[str]:
        """The property, or its components."""
        name = self.property_name_
        return own_names([name], self.model_.properties)[name]

    def plot(self, X: Any, y: ArrayLike, ax: Any = None) -> Any:
        """Draw predictions against labels, with intervals and flags.

        Parameters
        ----------
        X : sequence of structures
        y : array-like of shape (n_structures,) or (n_structures, n_components)
        ax : matplotlib.axes.Axes, optional
            To draw into; by default a new one.

        Returns
        -------
        matplotlib.axes.Axes
        """
        table: Any = self.predict(X, return_trust=True)
        names, labels = self._names, np.asarray(labels_of(y), dtype=float)
        # components one after the other
        intervals = [
            table.reindex(columns=[f"{name}_low", f"{name}_high"]).to_numpy(dtype=float)
            for name in names
        ]
        unit = "" if self.unit == "1" else f" ({self.unit})"
        flagged = table["ood"].to_numpy() == True  # noqa: E712 - None is unknown
        return plot_parity(
            labels.T.ravel(),
            np.concatenate([table[name].to_numpy(dtype=float) for name in names]),
            intervals=np.concatenate(intervals),
            flagged=np.tile(flagged, len(names)),
            title=f"{self.property_name_}{unit}",
            ax=ax,
        )

    @property
    def model_(self) -> LoadedModel:
        """The model in memory."""
        check_is_fitted(self, "content_")
        if self._loaded is None:
            with TemporaryDirectory(prefix="mftscreen-") as folder:
                path = Path(folder) / "model.mft"
                path.write_bytes(self.content_)
                self._loaded = _load(path)
        return self._loaded

    def save(self, path: str | Path) -> None:
        """Write the model file, which all of mftscreen reads.

        Parameters
        ----------
        path : str or Path
            Should end in ``.mft``.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        check_is_fitted(self, "content_")
        with output_file(Path(path)) as partial:
            partial.write_bytes(self.content_)

    @classmethod
    def load(cls, path: str | Path, property_name: str | None = None) -> MFTRegressor:
        """Return a fitted estimator from a model file.

        Parameters
        ----------
        path : str or Path
            What :meth:`save` or ``mftscreen finetune`` wrote.
        property_name : str, optional
            Which property to predict, if the model has several.

        Returns
        -------
        MFTRegressor
            With what the model's card tells, so that a clone is fitted likewise:
            `strategy`, `pretrained` by name, `unit`, `head`, `loss`, `steps` and
            `random_state`. `config` and the other parameters are defaults.

        Raises
        ------
        ModelFileError
            If it is no model file.
        ConfigError
            If the model has no property, or none of this name, or several.
        """
        model = _load(Path(path))
        targets = by_target(model.properties.values())
        if property_name is None and len(targets) == 1:
            property_name = next(iter(targets))
        spec = model.properties.get(str(property_name))
        if spec is None and property_name in targets:
            spec = targets[property_name][0]
        if property_name is None or spec is None:
            known = dict.fromkeys([*targets, *model.properties])
            problem = f"property_name: one of {', '.join(known) or 'none'} is needed"
            problem += did_you_mean(str(property_name), known=known)
            raise ConfigError([problem], path=path)
        if spec.is_class:
            raise ConfigError([_NO_CLASSES], path=path)
        found = cls(
            model.card.strategy,
            property_name=property_name,
            unit=spec.unit,
            head=spec.head,
            **_trained_with(model.card, spec.target),
        )
        found.property_name_ = property_name
        found.content_ = Path(path).read_bytes()
        found._loaded = model
        return found

    def _document(
        self, rows: RowsInMemory, name: str, components: list[str] | None = None
    ) -> dict[str, Any]:
        """Return the configuration of a training."""
        if self.strategy not in COMPARABLE:
            problem = (
                f"strategy: one of {', '.join(COMPARABLE)} is needed, got "
                f"{self.strategy!r}{did_you_mean(str(self.strategy), known=COMPARABLE)}"
            )
            raise ConfigError([problem])
        periodic = any(getattr(row.structure, "pbc", np.ones(1)).any() for row in rows)
        domain = "crystals" if periodic else "molecules"
        document: dict[str, Any] = {
            "strategy": self.strategy,
            "name": f"{name}-{self.strategy}",
            "properties": {
                name: {
                    "unit": self.unit,
                    "head": self.head,
                    "loss": self.loss,
                    "components": components,
                }
            },
            "data": {"train": [rows]},
        }
        if self.strategy != "scratch":
            document["pretrained"] = self._models_for(domain)
        seed = self.random_state
        if seed is None:  # as scikit-learn has it
            seed = int(np.random.default_rng().integers(2**31))
        if self.strategy == "kernel":
            document["seed"] = seed
        else:
            document["training"] = {"steps": self.steps, "seed": seed}
        if self.strategy == "mft":
            document["auxiliary"] = {"head": domain, **_SELF_REPLAY}
        own = self.config or {}
        if not isinstance(own, Mapping):
            problem = f"config: a mapping of keys to values, got {type(own).__name__}"
            raise ConfigError([problem])
        if "strategy" in own:
            raise ConfigError(["config: 'strategy' is an argument of its own"])
        auxiliary = own.get("auxiliary")
        if isinstance(auxiliary, Mapping) and "data" in auxiliary:
            document.pop(
                "auxiliary", None
            )  # other frames are instead of those it makes
        return merge_blocks(document, own)

    def _models_for(self, domain: str) -> str | list[str]:
        given: Any = self.pretrained
        if isinstance(given, list | tuple):
            return [member_for(str(name), domain) for name in given]
        return member_for(str(given), domain)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_loaded" in state:
            state["_loaded"] = None  # it is made of content_ again
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.multi_output = True
        return tags


_NO_CLASSES = (
    "kind: class: MFTRegressor is for numbers; mftscreen.finetune(...) trains on yes "
    "or no, and mftscreen.Predictor gives probabilities"
)
_SELF_REPLAY = {
    "self_replay": {},
    "lambda_reg": "auto",
    "loss": {"kind": "mae"},
}


def _trained_with(card: ModelCard, target: str) -> dict[str, Any]:
    """Return the parameters that a model's configuration tells, as far as it does."""

    def find(kind: type | tuple[type, ...], *keys: str) -> Any:
        found: Any = card.provenance.get("config")
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, kind) else None

    # of descriptors: one name in a configuration may stand for several models
    names: Any = [own.name for own in card.descriptors]
    names = names or find((str, list), "pretrained")
    if isinstance(names, list) and len(names) == 1:
        names = names[0]
    seed = find(int, "training", "seed")
    told = {
        "pretrained": names,
        "loss": find(str, "properties", target, "loss"),
        "steps": find(int, "training", "steps"),
        "random_state": find(int, "seed") if seed is None else seed,
    }
    return {key: value for key, value in told.items() if value is not None}


def _load(path: Path) -> LoadedModel:
    """Load a model that says what it can: scores are of all rows that can be had."""
    return load_model(path, check_domain=False)


@contextmanager
def _run_folder(output: str | Path | None) -> Iterator[Path]:
    if output is not None:
        yield Path(output)
        return
    with TemporaryDirectory(prefix="mftscreen-") as folder:
        yield Path(folder) / "run"
