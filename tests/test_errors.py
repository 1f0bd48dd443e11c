from __future__ import annotations

from pathlib import Path

import pytest
from ase.calculators.calculator import InputError, PropertyNotImplementedError

from mftscreen import errors
from mftscreen.errors import ConfigError, DataError, MftscreenError, TrainingError

PARENTS = {
    "MftscreenError": (Exception,),
    "StructureError": (MftscreenError, InputError),
    "UnknownElementError": (errors.StructureError,),
    "InvalidGeometryError": (errors.StructureError,),
    "PeriodicityError": (errors.StructureError,),
    "OutsideDomainError": (errors.StructureError,),
    "DomainWarning": (UserWarning,),
    "ModelError": (MftscreenError,),
    "ModelFileError": (errors.ModelError, ValueError),
    "UnknownModelError": (errors.ModelError, LookupError),
    "UnknownHeadError": (errors.ModelError, LookupError),
    "UnsupportedByBackboneError": (errors.ModelError, NotImplementedError),
    "UnknownPropertyError": (MftscreenError, PropertyNotImplementedError, LookupError),
    "DataError": (MftscreenError, ValueError),
    "DownloadError": (MftscreenError, OSError),
    "ConfigError": (MftscreenError, ValueError),
    "TrainingError": (MftscreenError, RuntimeError),
    "WorkerError": (MftscreenError, RuntimeError),
}


def test_every_public_class_is_in_the_tree_of_the_docstring() -> None:
    assert sorted(PARENTS) == errors.__all__
    assert errors.__doc__ is not None
    for name in PARENTS:
        assert f"{name} " in errors.__doc__.replace("\n", " ")


@pytest.mark.parametrize("name", PARENTS)
def test_class_inherits_what_the_tree_says(name: str) -> None:
    error = getattr(errors, name)
    assert set(PARENTS[name]) <= set(error.__mro__)
    assert not issubclass(error, KeyError)


@pytest.mark.parametrize(
    "name", sorted(PARENTS.keys() - {"ConfigError", "UnsupportedByBackboneError"})
)
def test_message_has_no_quotes_around_it(name: str) -> None:
    assert str(getattr(errors, name)("the gap of 'Si' is unknown")) == (
        "the gap of 'Si' is unknown"
    )


def test_status_names_differ() -> None:
    kinds = [
        errors.StructureError,
        errors.UnknownElementError,
        errors.InvalidGeometryError,
        errors.PeriodicityError,
    ]
    assert len({kind.status for kind in kinds}) == len(kinds)


def test_data_error_names_its_file() -> None:
    error = DataError("row 3 is empty", path=Path("a/b.csv"))
    assert str(error) == f"{Path('a/b.csv')}: row 3 is empty"
    assert error.path == Path("a/b.csv")
    assert DataError("empty").path is None


def test_config_error_lists_all_problems() -> None:
    error = ConfigError(["steps: missing", "lr: negative"], path="run.yaml")
    assert str(error) == "run.yaml: 2 problems\n  steps: missing\n  lr: negative"
    assert error.problems == ["steps: missing", "lr: negative"]
    assert str(ConfigError(["steps: missing"])) == "steps: missing"


def test_training_error_names_its_log() -> None:
    error = TrainingError("diverged at step 7", log_path=Path("out/train.log"))
    assert str(error) == f"diverged at step 7 (log: {Path('out/train.log')})"
