"""What becomes of Sphinx's markup in docstrings."""

from __future__ import annotations

import pytest

griffe = pytest.importorskip("griffe")

SOURCE = '''
def f():
    r"""Return what :func:`~a.b.g` does [1]_.

    With ``x`` as in::

        f()

    .. math::
        \\mu = \\sum_i q_i

    End.
    """
'''


def test_roles_formulas_and_citations_are_markdown() -> None:
    from generated_pages.docstrings import Docstrings

    extensions = griffe.load_extensions(Docstrings())
    module = griffe.visit("m", filepath=None, code=SOURCE, extensions=extensions)
    text = module["f"].docstring.value
    assert text.startswith("Return what `a.b.g` does [1].\n\nWith `x` as in:\n")
    assert "\n\n    " + r"    \mu = \sum_i q_i" + "\n" in text
    assert text.endswith("\nEnd.")
