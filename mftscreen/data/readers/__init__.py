"""Streaming readers of structures and labels; memory does not grow with the file."""

from mftscreen.data.readers.ase_db import (
    count_ase_db,
    find_absent_keys,
    iter_ase_db,
    without_password,
)
from mftscreen.data.readers.csv_table import iter_csv
from mftscreen.data.readers.documents import (
    optimade_dict_to_atoms,
    pymatgen_dict_to_atoms,
)
from mftscreen.data.readers.extxyz import iter_extxyz
from mftscreen.data.readers.files import (
    DAMAGED,
    Row,
    candidate_id,
    check_file,
    find_name,
    open_text,
    plain_name,
)
from mftscreen.data.readers.json_files import iter_json, iter_json_lines, iter_matbench
from mftscreen.data.readers.optimade import iter_optimade
from mftscreen.data.readers.records import iter_database, iter_rows, row_reader
from mftscreen.data.readers.structure_files import (
    UnknownFormatError,
    count_trajectory,
    iter_structure_file,
    iter_trajectory,
)

__all__ = [
    "DAMAGED",
    "Row",
    "UnknownFormatError",
    "candidate_id",
    "check_file",
    "count_ase_db",
    "count_trajectory",
    "find_absent_keys",
    "find_name",
    "iter_ase_db",
    "iter_csv",
    "iter_database",
    "iter_extxyz",
    "iter_json",
    "iter_json_lines",
    "iter_matbench",
    "iter_optimade",
    "iter_rows",
    "iter_structure_file",
    "iter_trajectory",
    "open_text",
    "optimade_dict_to_atoms",
    "plain_name",
    "row_reader",
    "pymatgen_dict_to_atoms",
    "without_password",
]
