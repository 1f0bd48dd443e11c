"""Conditions on the columns of a table, which compare and do nothing else."""

from __future__ import annotations

import ast
from collections.abc import Collection
from io import StringIO
from tokenize import TokenError, generate_tokens
from typing import TYPE_CHECKING

from mftscreen.errors import ConfigError
from mftscreen.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_condition", "select_rows"]

_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.BinOp,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow,
    ast.Compare, ast.cmpop, ast.Name, ast.Constant, ast.List, ast.Tuple,
    ast.expr_context,
)  # fmt: skip


def select_rows(
    table: pd.DataFrame, condition: str, flags: Collection[str] = ()
) -> list[int]:
    """Return the rows of a table for which a condition holds.

    Parameters
    ----------
    table : DataFrame
        With rows that are numbered from 0.
    condition : str
        As :meth:`pandas.DataFrame.query` reads it, if :func:`check_condition` has no
        objection; also as ASE spells it, with ``=`` for ``==`` and commas for ``and``.
    flags : collection of str
        Columns of truth values; where one is unknown, neither it nor ``not`` it holds.

    Returns
    -------
    list of int

    Raises
    ------
    ConfigError
        If the condition is not understood or is none.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"gap": [1.0, 4.0, 5.0], "ood": [False, None, True]})
    >>> select_rows(table, "not ood", flags=["ood"])
    [0]
    >>> select_rows(table, "gap > 3 or ood", flags=["ood"])
    [1, 2]
    >>> select_rows(table, "gap<3,ood=False", flags=["ood"])
    [0]
    """
    from pandas.api.types import infer_dtype

    kinds = {name: infer_dtype(table[name], skipna=True) for name in table}
    # columns of both may equal either
    texts = [name for name, kind in kinds.items() if kind == "string"]
    both = [name for name, kind in kinds.items() if kind in ("mixed", "mixed-integer")]
    check_condition(condition, kinds, None if table.empty else texts, both)
    known = {
        name: table[name].astype("boolean")
        for name, kind in kinds.items()
        if name in flags or kind == "boolean"
    }
    # a column of nothing but None cannot be compared with numbers
    known |= {
        name: table[name].astype(float)
        for name, kind in kinds.items()
        if kind == "empty" and name not in known
    }
    try:
        holds = table.assign(**known).eval(_in_python(condition), engine="python")
    except Exception as error:  # whatever the expression raises
        problem = f"condition {condition!r} is not understood: {error}"
        raise ConfigError([problem]) from error
    if getattr(holds, "ndim", 0) != 1 or holds.dtype not in ("bool", "boolean"):
        problem = f"condition {condition!r} is neither true nor false of a row"
        raise ConfigError([problem])
    return [k for k, kept in enumerate(holds.fillna(False).tolist()) if kept]


def _in_python(condition: str) -> str:
    """Return a condition without ASE's ``=`` and commas between conditions."""
    parts: list[list[str]] = [[]]
    depth = 0
    try:
        for token in generate_tokens(StringIO(condition.strip()).readline):
            depth += (token.string in ("(", "[")) - (token.string in (")", "]"))
            if token.string == "," and depth == 0:
                parts.append([])
            else:
                parts[-1].append("==" if token.string == "=" else token.string)
    except (TokenError, SyntaxError):
        return condition.strip()
    written = [" ".join(part).strip() for part in parts]
    if written[1:] and "" in written:
        msg = "a condition is missing before or after a comma"
        raise SyntaxError(msg)
    return " and ".join(f"({part})" for part in written) if written[1:] else written[0]


def check_condition(
    condition: str,
    columns: Collection[str] | None = None,
    texts: Collection[str] | None = None,
    both: Collection[str] = (),
) -> None:
    """Raise unless a condition has nothing but columns, constants and operators.

    :meth:`pandas.DataFrame.query` also calls functions, by way of ``@name`` and of the
    attributes of a column, which can run any program.

    Parameters
    ----------
    condition : str
    columns : collection of str, optional
        All that there are, if known.
    texts : collection of str, optional
        Those that hold texts, if known: they equal no number, and the others no text.
    both : collection of str, optional
        Those that hold texts and numbers, of which nothing is said.

    Raises
    ------
    ConfigError
        If it is no expression, holds anything else, or compares a column with a
        constant that no row of it can equal.

    Examples
    --------
    >>> check_condition("gap > 3 and formula in ['MgO', 'ZnO'] and not ood")
    >>> check_condition("gap.to_csv('a.csv') == 1")
    Traceback (most recent call last):
    mftscreen.errors.ConfigError: condition ...: only columns, constants and ...
    >>> check_condition("id == 3", columns=["id", "gap"], texts=["id"])
    Traceback (most recent call last):
    mftscreen.errors.ConfigError: condition ...: id holds texts, which are ...
    """
    try:
        tree = ast.parse(_in_python(condition), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = f"condition {condition[:200]!r} is not understood: {error}"
        raise ConfigError([problem]) from error
    problems = []
    nodes = list(ast.walk(tree))
    if not all(isinstance(node, _ALLOWED) for node in nodes):
        problems.append(
            "only columns, constants and operators are allowed, as in "
            "'gap > 3 and not ood'"
        )
    elif any(_never_ends(node) for node in nodes):
        problems.append(
            f"powers have a number up to {_MAX_POWER} as exponent and no power below, "
            "and what is calculated with is numbers"
        )
    elif columns is not None:
        names = {node.id: None for node in nodes if isinstance(node, ast.Name)}
        for name in names:
            if name not in columns:
                hint = did_you_mean(name, known=[*columns, "True", "False"])
                hint = hint or f"; a text is written in quotes: {name!r}"
                listed = ", ".join(columns)
                problems.append(f"there is no column {name}, but {listed}{hint}")
    if texts is not None and not problems:
        for node in nodes:
            if isinstance(node, ast.Compare):
                problems += _mixed(node, texts, both)
    if problems:
        raise ConfigError([f"condition {condition!r}: {text}" for text in problems])


_MAX_POWER = 99


def _never_ends(node: ast.AST) -> bool:
    """Tell what could take all time or memory: 9**9**9, "a" * 10**9."""
    if not isinstance(node, ast.BinOp):
        return False
    if isinstance(node.op, ast.Pow):
        exponent = node.right
        if isinstance(exponent, ast.UnaryOp):
            exponent = exponent.operand
        value = exponent.value if isinstance(exponent, ast.Constant) else None
        is_small = isinstance(value, int | float) and value <= _MAX_POWER
        inner = [n for n in ast.walk(node.left) if isinstance(n, ast.BinOp)]
        return not is_small or any(isinstance(n.op, ast.Pow) for n in inner)
    return any(
        isinstance(side, ast.List | ast.Tuple)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (node.left, node.right)
    )


def _mixed(
    comparison: ast.Compare, texts: Collection[str], both: Collection[str]
) -> list[str]:
    """Return what is wrong with a comparison of a column and constants."""
    sides = [comparison.left, *comparison.comparators]
    constants = [
        node.value
        for side in sides
        if isinstance(side, ast.Constant | ast.List | ast.Tuple)
        for node in ast.walk(side)
        if isinstance(node, ast.Constant) and node.value is not None
    ]
    found = []
    for name in (side.id for side in sides if isinstance(side, ast.Name)):
        for value in constants:
            if name in texts and not isinstance(value, str):
                text = (
                    f"{name} holds texts, which are written in quotes: {str(value)!r}"
                )
                found.append(text)
            elif name not in (*texts, *both) and isinstance(value, str):
                found.append(f"{name} holds no texts like {value!r}")
    return found
