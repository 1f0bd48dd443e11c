"""Conditions on the columns of a table, which compare and do nothing else."""

from __future__ import annotations

import ast

from mftscreen.errors import ConfigError

__all__ = ["check_condition"]

_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.BinOp,
    ast.operator, ast.Compare, ast.cmpop, ast.Name, ast.Constant, ast.List, ast.Tuple,
    ast.expr_context,
)  # fmt: skip


def check_condition(condition: str) -> None:
    """Raise unless a condition has nothing but columns, constants and operators.

    :meth:`pandas.DataFrame.query` also calls functions, by way of ``@name`` and of the
    attributes of a column, which can run any program.

    Parameters
    ----------
    condition : str

    Raises
    ------
    ConfigError
        If it is no expression or holds anything else.

    Examples
    --------
    >>> check_condition("gap > 3 and formula in ['MgO', 'ZnO'] and not ood")
    >>> check_condition("gap.to_csv('a.csv') == 1")
    Traceback (most recent call last):
    mftscreen.errors.ConfigError: 1 problem
      condition "gap.to_csv('a.csv') == 1": only columns, constants and operators ...
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        problem = f"condition {condition!r} is not understood: {error}"
        raise ConfigError([problem]) from error
    if not all(isinstance(node, _ALLOWED) for node in ast.walk(tree)):
        problem = (
            f"condition {condition!r}: only columns, constants and operators are "
            "allowed, as in 'gap > 3 and not ood'"
        )
        raise ConfigError([problem])
