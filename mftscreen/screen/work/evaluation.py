"""Evaluation of structures: relax, predict, compare with the training sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from ase import Atoms

from mftscreen.domain import total_charge
from mftscreen.errors import ModelError, UnknownPropertyError
from mftscreen.properties import suggestion
from mftscreen.screen.work.assessment import Assessor, put_together
from mftscreen.screen.work.outcome import Outcome, Relaxation
from mftscreen.structures import shown_formula, structure_hash

if TYPE_CHECKING:
    from mftscreen.model.loaded_model import LoadedModel
    from mftscreen.model.network.backend import Device
    from mftscreen.screen.relax.batched import Relaxer, RelaxResult, RelaxSettings

__all__ = ["Evaluator", "EvaluationSettings", "evaluate", "open_evaluator"]

_one_at_a_time = Lock()

_last: dict[EvaluationSettings, Evaluator] = {}


@dataclass(frozen=True)
class EvaluationSettings:
    """What an outcome depends on, besides the structure.

    Attributes
    ----------
    models : tuple of str
        Names or paths; several models of one property make an ensemble.
    properties : tuple of str
        To predict; each by all models that have it.
    device : {"auto", "cpu", "cuda"}
    relax : RelaxSettings or None
        None evaluates structures as they are.
    check_domain : bool
        Whether models refuse what they were not made for.
    sha256 : tuple of str
        Of the models; empty for whatever the files hold. :attr:`Evaluator.settings`
        has them, so that a worker does not take a file that was replaced for the old,
        and paths without the current folder, which workers may not share.
    """

    models: tuple[str, ...]
    properties: tuple[str, ...]
    device: Device = "auto"
    relax: RelaxSettings | None = None
    check_domain: bool = True
    sha256: tuple[str, ...] = ()


class Evaluator:
    """The models of a screening in memory.

    Parameters
    ----------
    settings : EvaluationSettings

    Raises
    ------
    UnknownPropertyError
        If no model predicts one of the properties, a model predicts none of them, or
        two models give one in different units.
    ModelError
        If a model cannot be loaded.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        from mftscreen.model.loading import load_model

        self.models: list[LoadedModel] = [
            load_model(
                source, check_domain=settings.check_domain, device=settings.device
            )
            for source in settings.models
        ]
        sha256 = tuple(model.sha256 for model in self.models)
        if len(set(sha256)) < len(sha256):
            msg = "a model is given twice; an ensemble is made of different models"
            raise ModelError(msg)
        if settings.sha256 not in ((), sha256):
            msg = "the model files are not those that the screening was started with"
            raise ModelError(msg)
        lasting = tuple(_lasting(source) for source in settings.models)
        self.settings = replace(settings, models=lasting, sha256=sha256)
        self._check_properties()
        self._assessors = [
            Assessor(model, [n for n in settings.properties if n in model.properties])
            for model in self.models
        ]
        self.relaxer = self._make_relaxer()
        self._prefix = self._hash_settings()

    def key(self, atoms: Atoms) -> str:
        """Return the sha256 that names the outcome of a structure."""
        text = self._prefix + structure_hash(atoms)
        if charge := total_charge(atoms):
            text += f"charge {charge:g}"
        if self.settings.relax is not None:
            text += _what_moves(atoms)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def units(self) -> dict[str, str]:
        """Property to unit."""
        found = {}
        for model in self.models:
            for name in self.settings.properties:
                if name in model.properties:
                    found[name] = model.properties[name].unit
        return found

    @property
    def labels(self) -> dict[str, str]:
        """Property to what people call it."""
        return {
            name: model.properties[name].label
            for model in self.models
            for name in self.settings.properties
            if name in model.properties
        }

    @property
    def label_ranges(self) -> dict[str, tuple[float, float]]:
        """Property to the smallest and largest label of all models' training sets."""
        found: dict[str, tuple[float, float]] = {}
        for model in self.models:
            for name in self.settings.properties:
                if name in model.properties:
                    low, high = model.card.properties[name].train_range
                    known = found.get(name, (low, high))
                    found[name] = (min(low, known[0]), max(high, known[1]))
        return found

    @property
    def n_train(self) -> dict[str, int]:
        """Property to the number of rows of its models' smallest training set."""
        return {
            name: min(
                model.card.properties[name].n_train
                for model in self.models
                if name in model.properties
            )
            for name in self.settings.properties
        }

    def calibration_rows(self) -> dict[str, dict[str, list[Any]]]:
        """Return what prediction intervals are made of, by property, fit for JSON.

        Properties for which the models have no common calibration rows are left out.
        """
        from mftscreen.screen.result.uncertainty import combine_calibrations

        found = {}
        for name in self.settings.properties:
            parts = [
                model.calibrations[name]
                for model in self.models
                if name in model.properties
            ]
            rows = combine_calibrations(parts)
            if rows.ids:
                found[name] = {k: v.tolist() for k, v in rows.to_arrays(name).items()}
        return found

    @property
    def model_names(self) -> str:
        """The models as they stand in result rows."""
        # a letter first: ase.db takes values that look like numbers for numbers
        return "+".join(f"m{model.sha256[:12]}" for model in self.models)

    def __call__(self, structures: Sequence[Atoms]) -> list[tuple[Outcome, Atoms]]:
        """Evaluate structures; one that fails has an outcome that says why.

        Parameters
        ----------
        structures : sequence of Atoms

        Returns
        -------
        list of (Outcome, Atoms)
            The outcome, and the structure that it belongs to, relaxed if asked for.
        """
        relaxed = [_unrelaxed(atoms) for atoms in structures]
        if self.relaxer is not None:
            relaxed = [_after_relaxation(found) for found in self.relaxer(structures)]
        usable = [k for k, (outcome, _) in enumerate(relaxed) if outcome.status == "ok"]
        results = [relaxed[k][1] for k in usable]
        found = [assess(results) for assess in self._assessors]
        for position, k in enumerate(usable):
            outcome, atoms = relaxed[k]
            by_model = [rows[position] for rows in found]
            relaxed[k] = (put_together(outcome, by_model), atoms)
        return relaxed

    def _check_properties(self) -> None:
        for model in self.models:
            if not set(self.settings.properties) & set(model.properties):
                asked = self.settings.properties
                hints = (suggestion(name, model.properties) for name in asked)
                msg = (
                    f"model {model.card.name} predicts none of {', '.join(asked)}, "
                    f"only: {', '.join(model.properties)}{''.join(hints)}"
                )
                raise UnknownPropertyError(msg)
        for name in self.settings.properties:
            units = {
                m.properties[name].unit for m in self.models if name in m.properties
            }
            if len(units) != 1:
                known = [own for m in self.models for own in m.properties]
                what = (
                    f"the models give {name} in {' and '.join(sorted(units))}"
                    if units
                    else f"no model predicts {name}{suggestion(name, known)}"
                )
                raise UnknownPropertyError(what)

    def _make_relaxer(self) -> Relaxer | None:
        if self.settings.relax is None:
            return None
        from mftscreen.screen.relax.batched import Relaxer

        return Relaxer(self.models[0], self.settings.relax)

    def _hash_settings(self) -> str:
        settings: dict[str, Any] = {
            "models": [model.sha256 for model in self.models],
            "properties": sorted(self.settings.properties),
            "relax": None,
        }
        if self.settings.relax is not None:
            settings["relax"] = asdict(self.settings.relax)
        if not self.settings.check_domain:
            settings["check_domain"] = False
        return json.dumps(settings, sort_keys=True)


def evaluate(
    settings: EvaluationSettings, structures: Sequence[Atoms]
) -> list[tuple[Outcome, Atoms]]:
    """Evaluate structures in a worker process, which keeps the models it has loaded.

    Parameters
    ----------
    settings : EvaluationSettings
    structures : sequence of Atoms

    Returns
    -------
    list of (Outcome, Atoms)
        As :class:`Evaluator` returns them.
    """
    # a Dask worker has several threads, a model's batch buffers are for one
    with _one_at_a_time:
        return open_evaluator(settings)(structures)


def open_evaluator(settings: EvaluationSettings) -> Evaluator:
    """Return the evaluator for some settings; this process keeps the last one.

    Parameters
    ----------
    settings : EvaluationSettings
        Without `sha256`, the model files are read again.

    Returns
    -------
    Evaluator
    """
    if settings not in _last:
        evaluator = Evaluator(settings)
        _last.clear()
        _last[evaluator.settings] = evaluator
        return evaluator
    return _last[settings]


def _lasting(source: str) -> str:
    """Return a model's name, or its path without the current folder."""
    from mftscreen.model.files.registry import resolve_model

    path, sha256 = resolve_model(source)
    return source if sha256 else str(path.absolute())


def _what_moves(atoms: Atoms) -> str:
    """Return what a relaxation depends on besides what a model sees."""
    from ase.io.jsonio import encode

    return str(
        encode(
            [
                [constraint.todict() for constraint in atoms.constraints],
                # for calculators other than the model
                atoms.get_initial_magnetic_moments(),
                atoms.get_initial_charges(),
            ]
        )
    )


def _unrelaxed(atoms: Atoms) -> tuple[Outcome, Atoms]:
    return Outcome(formula=shown_formula(atoms)), atoms


def _after_relaxation(found: RelaxResult) -> tuple[Outcome, Atoms]:
    relaxation = Relaxation(
        found.converged, found.steps, found.fmax, found.volume_change
    )
    outcome = Outcome(
        status=found.status,
        reason=found.reason,
        formula=shown_formula(found.atoms),
        relaxation=relaxation if found.status == "ok" else None,
    )
    return outcome, found.atoms
