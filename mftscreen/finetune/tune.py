"""Fine-tuning as people start it, from Python and on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mftscreen.errors import ConfigError
from mftscreen.finetune.compare.choice import choose_strategy
from mftscreen.finetune.compare.folds import (
    choose_folds,
    prepare_split,
    without_split,
)
from mftscreen.finetune.compare.trainings import compare_strategies
from mftscreen.finetune.compare.verdict import Comparison
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import as_config
from mftscreen.finetune.outcome.collapse import (
    Collapse,
    read_collapse,
    starting_model,
)
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.strategies import COMPARABLE, DownstreamConfig, TuneConfig
from mftscreen.model.files.bundle import ModelCard, read_bundle
from mftscreen.model.files.card_view import card_html
from mftscreen.model.loading import load_model
from mftscreen.parity import plot_parity, plot_reliability
from mftscreen.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from mftscreen.finetune.strategies import MFTConfig
    from mftscreen.model.loaded_model import LoadedModel

__all__ = ["TrainingResult", "chosen_config", "compare", "default_output", "finetune"]

Config = TuneConfig | Mapping[str, Any] | str | Path


@dataclass(frozen=True)
class TrainingResult:
    """What a training has made.

    Attributes
    ----------
    path : Path
        The model file; everything else of the training is beside it.
    comparison : Comparison or None
        Of the strategies, of which the best was trained, if they were compared.
    """

    path: Path
    comparison: Comparison | None = None

    def __repr__(self) -> str:
        return f"<{self.card.name} by {self.card.strategy} in {self.path}>"

    def _repr_html_(self) -> str:
        return card_html(self.card)

    def plot(self, name: str | None = None, ax: Any = None) -> Any:
        """Draw predictions of held-out rows against their labels.

        Of a class: the share that is so, against the probability.

        Parameters
        ----------
        name : str, optional
            Property; by default the first.
        ax : matplotlib.axes.Axes, optional
            To draw into; by default a new one.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ConfigError
            If there is no such property.
        DataError
            If no rows were held out.
        """
        names = list(self.card.properties)
        name = name or next(iter(names), None)
        if name not in self.card.properties:
            problem = f"name: one of {', '.join(names) or 'none'} is needed"
            problem += did_you_mean(str(name), known=names)
            raise ConfigError([problem])
        held = self.model.calibrations[name]
        known, spec = held.predictions + held.residuals, self.card.properties[name].spec
        if spec.is_class:
            # what was added to a probability is taken away, but for rounding
            return plot_reliability(known.round(), held.predictions, title=name, ax=ax)
        title = f"{name} ({spec.unit})"
        return plot_parity(known, held.predictions, title=title, ax=ax)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.path.parent

    @cached_property
    def card(self) -> ModelCard:
        """The model's card."""
        return read_bundle(self.path).card

    @cached_property
    def model(self) -> LoadedModel:
        """The model in memory."""
        return load_model(self.path)

    @property
    def collapse(self) -> Collapse | None:
        """What training did to the pretrained representations, if that was measured."""
        return read_collapse(self.path)

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors on the card, a row for each head and part of its data.

        Those of a property are in its unit, ``force_mae`` in eV/Å and ``energy_mae`` in
        eV/atom.
        """
        import pandas as pd

        found: list[dict[str, Any]] = [
            {"head": name, "unit": head.spec.unit, "part": part, **metrics}
            for name, head in self.card.properties.items()
            for part, metrics in head.metrics.items()
        ]
        found += [
            {"head": name, "part": part, **metrics}
            for name, parts in self.card.force_field.items()
            for part, metrics in parts.items()
            if isinstance(metrics, dict)
        ]
        return pd.DataFrame(found)


def finetune(
    config: Config,
    output: str | Path | None = None,
    *,
    strategy: str | None = None,
    resume: bool = False,
    threads: int | None = None,
    collapse_report: bool = True,
    progress: bool = False,
) -> TrainingResult:
    """Train a model: the Python side of ``mftscreen finetune``.

    Parameters
    ----------
    config : str, Path, mapping or TuneConfig
        A YAML file; or what stands in one as a dictionary, where ``train``,
        ``validation`` and ``test`` of ``data`` may also be in memory: a DataFrame with
        a column of structures, or structures whose ``info`` has the labels.
    output : str or Path, optional
        Run directory; by default beside the file and named after it, or in the current
        folder and with the name of the model.
    strategy : str, optional
        Instead of the one in `config`, which is ``mft`` or ``auto``; ``auto`` compares
        all, then trains on all rows the one that
        :func:`mftscreen.finetune.compare.choice.choose_strategy` returns.
    resume : bool, default False
        Continue a run that was interrupted.
    threads : int, optional
        CPU threads for training; all cores by default.
    collapse_report : bool, default True
        Whether the model is compared with the pretrained one in the end.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ConfigError
        If `config` has problems, all of which are listed; or see
        :func:`mftscreen.finetune.run.run.run_training`.
    DataError, ModelError, TrainingError
        As there.

    Examples
    --------
    >>> from mftscreen import finetune
    >>> result = finetune(
    ...     {
    ...         "strategy": "kernel",
    ...         "name": "index",
    ...         "pretrained": "mft-mini",
    ...         "properties": {"n": {"label": "refractive index"}},
    ...         "data": {"train": frame},  # a DataFrame with a column "n"
    ...     }
    ... )  # doctest: +SKIP
    >>> result.metrics, result.path  # doctest: +SKIP
    """
    settings: Any = as_config(config)
    directory = default_output(config, settings) if output is None else Path(output)
    options: dict[str, Any] = {"threads": threads, "progress": progress}
    comparison = None
    if strategy is None and settings.compares_first:
        strategy = "auto"
    if strategy == "auto":
        comparison = compare(
            settings, directory, collapse_report=collapse_report, **options
        )
        settings = chosen_config(settings, comparison)
        directory, resume = directory / "best", True
    elif strategy is not None:
        settings = derive_config(settings, strategy, progress=progress)
    against = starting_model(settings) if collapse_report else None
    path = run_training(
        settings, directory, resume=resume, collapse_against=against, **options
    )
    return TrainingResult(path, comparison)


def compare(
    config: Config,
    output: str | Path | None = None,
    *,
    strategies: str | Sequence[str] = (),
    split: str | Path | None = None,
    folds: str | int | Sequence[str] | None = None,
    threads: int | None = None,
    collapse_report: bool = True,
    progress: bool = False,
) -> Comparison:
    """Train strategies on the same folds: ``mftscreen finetune --compare`` in Python.

    Parameters
    ----------
    config, output, threads, collapse_report, progress
        As for :func:`finetune`; `config` is of ``mft`` or ``auto``, from which the
        others are derived. The same call goes on where it was interrupted.
    strategies : str or sequence of str, optional
        Of ``scratch``, ``kernel``, ``ft``, ``lp`` and ``mft``; all by default.
    split : str or Path, optional
        A method of :func:`mftscreen.split`, or a file that it wrote; by default that of
        `config`.
    folds : int, str or sequence of str, optional
        That many, those with the most test rows, or these; by default the one of
        `config`, or all.

    Returns
    -------
    Comparison
        Its ``best`` is the strategy with the smallest OOD error.

    Raises
    ------
    ConfigError
        If `config` lacks what a strategy needs, or `output` holds another comparison.
    DataError, ModelError, TrainingError
        See :func:`mftscreen.finetune.compare.trainings.compare_strategies`.
    """
    settings = as_config(config)
    directory = default_output(config, settings) if output is None else Path(output)
    # raises unless it has all settings
    mft = cast("MFTConfig", derive_config(settings, "mft"))
    if mft.transfer_properties:
        problem = (
            "transfer_properties: the heads may have been trained on the rows of a "
            "fold's test, so that nothing can be compared"
        )
        raise ConfigError([problem])
    chosen = strategies.split(",") if isinstance(strategies, str) else strategies
    names = [name.strip() for name in chosen if name.strip()]
    if unknown := [name for name in names if name not in COMPARABLE]:
        problem = f"strategies: {unknown[0]!r} is not one of {', '.join(COMPARABLE)}"
        problem += did_you_mean(*unknown, known=COMPARABLE)
        raise ConfigError([problem])
    method = None if split is None else str(split)
    file = prepare_split(mft, method, directory, progress=progress)
    return compare_strategies(
        mft,
        directory,
        split=file,
        folds=choose_folds(file, _written(folds), mft),
        strategies=list(dict.fromkeys(names)) or list(COMPARABLE),
        threads=threads,
        progress=progress,
        collapse_report=collapse_report,
    )


def chosen_config(config: TuneConfig, comparison: Comparison) -> DownstreamConfig:
    """Return the chosen strategy's configuration for a training on all rows.

    Parameters
    ----------
    config : TuneConfig
        That all strategies were derived from.
    comparison : Comparison
    """
    return without_split(derive_config(config, choose_strategy(comparison)))


def default_output(config: Config, settings: Any) -> Path:
    """Return the run directory for a configuration if no other is named."""
    if isinstance(config, str | Path):
        return Path(config).parent / Path(config).stem
    return Path(str(settings.name))


def _written(folds: str | int | Sequence[str] | None) -> str | None:
    """Return folds as they are written on the command line."""
    if folds is None or isinstance(folds, str | int):
        return None if folds is None else str(folds)
    # a comma at the end, so that the name of a single one is not taken for a number
    return ",".join(map(str, folds)) + ","
