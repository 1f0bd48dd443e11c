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


PARAMETERS = '''
def f(loss="smooth_mae", alpha=0.05, coverage=0.9, way="b"):
    """Do it.

    Parameters
    ----------
    loss : {"mae", "smooth_mae"}
        Of training.
    alpha, coverage : float
        Two shares,
        of rows.
    way : {"a", "b"}, default "b"
    """
'''


def test_defaults_are_those_of_the_signature() -> None:
    from generated_pages.docstrings import Docstrings

    extensions = griffe.load_extensions(Docstrings())
    module = griffe.visit("m", filepath=None, code=PARAMETERS, extensions=extensions)
    _, parameters = module["f"].docstring.parse("numpy")
    found = {p.name: (p.value, p.description) for p in parameters.value}
    shares = "Two shares,\nof rows."
    assert found == {
        "loss": ("'smooth_mae'", "Of training."),
        "alpha": ("0.05", shares),
        "coverage": ("0.9", shares),
        "way": ('"b"', ""),
    }
    assert parameters.value[0].annotation == 'one of "mae", "smooth_mae"'
