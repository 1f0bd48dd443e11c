"""What a split asks of a model."""

from __future__ import annotations

from dataclasses import replace

from mftscreen.ood.splits import (
    OFMVectors,
    SplitData,
    leave_one_out,
    random_split,
    report_folds,
)


def test_report(data: SplitData, vectors: OFMVectors) -> None:
    split = leave_one_out(data, "chemsys", val_share=0.1)
    reports = list(report_folds(split, data, vectors))
    assert [r.name for r in reports] == [f.name for f in split.folds]
    first = dict(zip(data.ids, data.values, strict=True))
    tested = [first[row] for row in split.folds[0].test]
    assert reports[0].test_range == (min(tested), max(tested))
    assert (reports[0].n_train, reports[0].n_val, reports[0].n_test) == (90, 10, 10)
    by_name = {r.name: r.median_p_value for r in reports}
    # Cu and Ag share their valence orbitals, but not their volumes
    assert all(p < 0.05 for p in by_name.values())
    matrices = replace(vectors, features=vectors.values)
    alike = {r.name: r.median_p_value for r in report_folds(split, data, matrices)}
    assert alike["N-Ti"] < 0.05 < alike["Cu"]
    assert list(report_folds(split, data, vectors, n_jobs=2)) == reports
    random = list(report_folds(random_split(data), data, vectors))
    assert all(r.median_p_value > 0.1 for r in random)
    assert next(report_folds(split, data)).median_p_value is None
