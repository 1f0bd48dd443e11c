"""Splits of a data set that test a model where it was not trained.

Every method takes :class:`SplitData` and returns a :class:`Split`: named folds with
row ids, how they were made, and a hash of the data they belong to.
"""

from __future__ import annotations

from mftscreen.ood.splits.leave_one_out import Criterion, label_structure, leave_one_out
from mftscreen.ood.splits.methods import OFM_METHODS, TARGET_METHODS, split_function
from mftscreen.ood.splits.ofm_splits import (
    loco,
    sparse_x_cluster,
    sparse_x_single,
    sparse_y_cluster,
    sparse_y_single,
)
from mftscreen.ood.splits.published import OMEE_METHODS, read_omee
from mftscreen.ood.splits.split import Fold, Split, draw_validation
from mftscreen.ood.splits.split_rows import SplitData, structure_key
from mftscreen.ood.splits.summary import FoldReport, report_folds
from mftscreen.ood.splits.target_splits import kde_tails, property_tail, random_split
from mftscreen.ood.splits.vectors import (
    OFMVectors,
    cluster_rows,
    compute_vectors,
    nearest_materials,
)

__all__ = [
    "Criterion",
    "Fold",
    "FoldReport",
    "OFMVectors",
    "OFM_METHODS",
    "OMEE_METHODS",
    "Split",
    "SplitData",
    "TARGET_METHODS",
    "cluster_rows",
    "compute_vectors",
    "draw_validation",
    "kde_tails",
    "label_structure",
    "leave_one_out",
    "loco",
    "nearest_materials",
    "property_tail",
    "random_split",
    "read_omee",
    "report_folds",
    "sparse_x_cluster",
    "sparse_x_single",
    "sparse_y_cluster",
    "sparse_y_single",
    "split_function",
    "structure_key",
]
