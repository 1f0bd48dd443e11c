"""Result rows: the outcomes of a journal, judged by an alpha and a coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from ase import Atoms

from mftscreen.errors import OutsideDomainError
from mftscreen.ood.reference.novelty import flag
from mftscreen.screen.candidates.carried import Carried
from mftscreen.screen.work.journal import JournalRow
from mftscreen.screen.work.outcome import Relaxation
from mftscreen.trust.neighborhood import Surroundings

__all__ = ["FAST_ONLY", "ScreenRow", "make_row"]

FAST_ONLY = "fast_only"
"""Status of what a funnel has not shown to its slow models."""


@dataclass(frozen=True)
class ScreenRow:
    """The outcome for one candidate.

    Attributes
    ----------
    id : str
    formula : str
        Reduced, or of a molecule the whole one; empty if there is no structure.
    values : dict of str to float
        Property to prediction, for an ensemble the mean; without those that were
        refused, and empty if the candidate failed otherwise.
    spreads : dict of str to float
        Property to the standard deviation (n - 1) of an ensemble's predictions; empty
        for a single model.
    ood_p_value : float or None
        Share of the training set that lies at least as far from the rest of the
        training set as the candidate does; with several properties or models, the
        smallest of all. None where no OFM exists.
    ood : bool or None
        Whether the candidate counts as out of distribution.
    low_dimensional : bool or None
        Whether the candidate holds vacuum, so that its p-value depends on the thickness
        of the vacuum.
    status : str
        ``ok``, the kind of failure, or :data:`FAST_ONLY`.
    reason : str
        Why it failed, or what makes it out of distribution.
    duplicate_of : str
        Id of an earlier candidate with the same structure; empty if there is none.
    relaxation : Relaxation or None
    atoms : Atoms or None
        Relaxed, if that was asked for.
    descriptor_p_value : float or None
        Share of the rows held out in training whose descriptor lies at least as far
        from those of the training rows; the smallest of all. None if unknown.
    around : dict of str to Surroundings
        Property to what is around the candidate among the training rows.
    errors : dict of str to float
        Property to the absolute error to expect, where that is known.
    intervals : dict of str to (float, float)
        Property to the interval that the true value lies in with the coverage asked
        for; a property for which no coverage is claimed is missing.
    no_intervals : dict of str to str
        Property to why it has none.
    fast : ScreenRow or None
        What the fast models of a funnel say. All else is of the slow ones then.
    fast_rank : int or None
        The rank among what the fast models have seen.
    carried : mapping of str to str, int, float or bool
        What else its source says of it.
    """

    id: str
    formula: str
    values: dict[str, float]
    spreads: dict[str, float]
    ood_p_value: float | None
    ood: bool | None
    low_dimensional: bool | None
    status: str
    reason: str
    duplicate_of: str = ""
    relaxation: Relaxation | None = None
    atoms: Atoms | None = None
    descriptor_p_value: float | None = None
    around: dict[str, Surroundings] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    no_intervals: dict[str, str] = field(default_factory=dict)
    fast: ScreenRow | None = None
    fast_rank: int | None = None
    carried: Carried = field(default_factory=dict)

    @property
    def trust(self) -> str:
        """Whether to believe the values: ``ok``, ``flagged`` or ``untested``.

        ``untested`` where nothing can tell whether it is like the training set; empty
        without values.
        """
        if self.status != "ok":
            return ""
        return {False: "ok", True: "flagged", None: "untested"}[self.ood]


def make_row(
    row: JournalRow,
    names: Sequence[str],
    alpha: float,
    *,
    required: bool = True,
) -> ScreenRow:
    """Return the result row of a row of a journal.

    Parameters
    ----------
    row : JournalRow
    names : sequence of str
        Properties to be ranked by.
    alpha : float
        Candidates with a p-value up to this are flagged.
    required : bool, default True
        Whether a candidate fails for which one of the properties is refused.

    Returns
    -------
    ScreenRow
        With the status ``outside_domain`` if it fails for that.
    """
    outcome = row.outcome
    refused = [outcome.refused[n] for n in names if n in outcome.refused]
    failed = outcome.status != "ok"
    status = outcome.status
    if required and refused and not failed:
        failed, status = True, OutsideDomainError.status
    facts = outcome.novelty(names)
    ood, reason = (None, "") if failed else flag(facts, alpha)
    members = {name: outcome.values[name] for name in names if name in outcome.values}
    return ScreenRow(
        id=row.id,
        formula=outcome.formula,
        values={name: fmean(values) for name, values in members.items()},
        spreads={
            name: stdev(values) for name, values in members.items() if len(values) > 1
        },
        ood_p_value=facts.p_value,
        descriptor_p_value=facts.descriptor_p_value,
        around=outcome.around,
        ood=ood,
        low_dimensional=outcome.low_dimensional,
        status=status,
        reason="; ".join(filter(None, (outcome.reason, *refused, reason))),
        duplicate_of=row.duplicate_of,
        relaxation=outcome.relaxation,
        atoms=row.atoms,
        carried=row.carried,
    )
