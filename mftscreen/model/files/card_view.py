"""Cards for people: as text, and as HTML in notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mftscreen.console.text_table import printable, text_table
from mftscreen.model.files.bundle import ModelCard, PropertyHead

__all__ = ["card_html", "card_text"]

Table = list[list[str]]


def card_text(card: ModelCard, sha256: str = "", megabytes: float | None = None) -> str:
    """Return what a card says, as a terminal shows it.

    Parameters
    ----------
    card : ModelCard
    sha256 : str, optional
        Of the file.
    megabytes : float, optional
        Its size.

    Returns
    -------
    str
        Lines, the last of which ends, too.
    """
    facts = _facts(card)
    if sha256:
        facts["file"] = f"sha256 {sha256}" + (
            f", {megabytes:.1f} MB" if megabytes is not None else ""
        )
    width = max(map(len, facts))
    lines = [f"{title:{width}}  {text}" for title, text in facts.items()]
    parts = [card.name, *lines]
    for table in _tables(card):
        parts += ["", text_table(table).rstrip()]
    # a terminal obeys control characters, whoever wrote the card
    return "".join(f"{printable(line)}\n" for line in "\n".join(parts).split("\n"))


def card_html(card: ModelCard, sha256: str = "") -> str:
    """Return what a card says, as a notebook shows it.

    Parameters
    ----------
    card : ModelCard
    sha256 : str, optional
        Of the file.

    Returns
    -------
    str
    """
    facts = _facts(card) | ({"sha256": sha256[:12]} if sha256 else {})
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(title)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for title, text in facts.items()
    )
    tables = "".join(map(_html, _tables(card)))
    return f"<div><b>{escape(card.name)}</b><table>{rows}</table>{tables}</div>"


def _html(table: Table) -> str:
    head, *rows = (
        "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line)
        for tag, line in zip(["th", *["td"] * len(table)], table, strict=False)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _facts(card: ModelCard) -> dict[str, str]:
    facts = {
        "about": card.description,
        "strategy": card.strategy,
        "force field": ""
        if card.energy_head is None
        else f"head {card.energy_head}: energy in eV, forces in eV/Å, stress in eV/Å^3",
        "licence": card.licence,
        "made with": ", ".join(f"{k} {v}" for k, v in card.versions.items()),
    }
    return {title: text for title, text in facts.items() if text}


def _tables(card: ModelCard) -> list[Table]:
    """Return those tables that have more than a heading."""
    tables = (
        _descriptor_table(card),
        _property_table(card),
        _error_table(card),
        _class_table(card),
        _force_field_table(card),
        _element_table(card),
    )
    return [table for table in tables if len(table) > 1]


def _descriptor_table(card: ModelCard) -> Table:
    """Return where the descriptors that kernels read are from."""
    return [
        ["descriptor of", "sha256", "licence", "to be cited"],
        *([d.name, d.sha256[:12], d.licence, d.citation] for d in card.descriptors),
    ]


def _property_table(card: ModelCard) -> Table:
    """Return what each property is and what it was learned from."""
    table = [["property", "meaning", "unit", "in a supercell", "by", "rows", "labels"]]
    for name, head in card.properties.items():
        spec = head.spec
        table.append(
            [
                name,
                spec.label,
                spec.unit,
                "same" if spec.intensive else "grows",
                "a neural head" if head.readout is None else "a kernel",
                f"{head.n_train:,}" if head.n_train else "unknown",
                _labels(head),
            ]
        )
    return table


def _element_table(card: ModelCard) -> Table:
    """Return the elements that properties and force fields have learned from."""
    heads = {name: head.elements for name, head in card.properties.items()}
    heads |= {name: own.elements for name, own in card.force_field_domains.items()}
    names: dict[str, list[str]] = {}
    for name, elements in heads.items():
        names.setdefault(" ".join(elements), []).append(name)
    return [
        ["learned from", "elements"],
        *([", ".join(alike), elements] for elements, alike in names.items()),
    ]


def _labels(head: PropertyHead) -> str:
    low, high = head.train_range
    if head.spec.is_class:
        return "yes or no"
    return f"{low:.4g} to {high:.4g}" if head.n_train else "unknown"


def _class_table(card: ModelCard) -> Table:
    """Return what probabilities are worth, a row for each test."""
    table = [["yes or no", "test", *_CLASS_ERRORS]]
    for name, head in card.properties.items():
        if head.spec.is_class:
            for test, found in head.metrics.items():
                cells = _cells(found, dict(_CLASS_ERRORS.values()))
                table.append([name, test, *cells])
    return table


def _error_table(card: ModelCard) -> Table:
    """Return the errors of properties, a row for each test."""
    table = [["property", "test", "n", "MAE", "of the mean", "R2", "in 90 %"]]
    for name, head in card.properties.items():
        for test, found in ({} if head.spec.is_class else head.metrics).items():
            table.append([name, test, *_cells(found, _ERRORS), *_unit(head)])
    if any(len(line) > len(table[0]) for line in table[1:]):
        table[0].append("unit")
        table[1:] = [line + [""] * (len(table[0]) - len(line)) for line in table[1:]]
    return table


_ERRORS = {
    "n": ",.0f", "mae": ".4g", "mae_of_training_mean": ".4g", "r2": ".3f",
    "coverage_90": ".0%",
}  # fmt: skip
_CLASS_ERRORS = {
    "n": ("n", ",.0f"), "yes": ("share", ".0%"), "AUC": ("auc", ".3f"),
    "balanced accuracy": ("balanced_accuracy", ".3f"), "Brier": ("brier", ".3f"),
    "log loss": ("log_loss", ".3f"),
    "of the share": ("log_loss_of_training_share", ".3f"),
    "calibration": ("calibration_error", ".3f"),
}  # fmt: skip
_FORCE_ERRORS = {"n": ",.0f", "force_mae": ".4g", "energy_mae": ".4g"}


def _unit(head: PropertyHead) -> list[str]:
    return [] if head.spec.unit == "1" else [head.spec.unit]


def _force_field_table(card: ModelCard) -> Table:
    table = [["force field", "test", "n", "forces, MAE (eV/Å)", "energy (eV/atom)"]]
    for head, parts in card.force_field.items():
        table += [
            [head, test, *_cells(found, _FORCE_ERRORS)]
            for test, found in parts.items()
            if isinstance(found, Mapping)
        ]
    return table


def _cells(found: Mapping[str, float], formats: Mapping[str, str]) -> Sequence[str]:
    return [
        f"{value:{spec}}" if isinstance(value := found.get(key), int | float) else ""
        for key, spec in formats.items()
    ]
