"""Plots of clusters: titles, colours, and what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mftscreen.diagnostics.diagnosis import Diagnosis
from mftscreen.diagnostics.plots import (
    draw_comparisons,
    picture,
    titled_comparisons,
)


def test_atoms_and_edges_of_each_set_follow_each_other(diagnosis: Diagnosis) -> None:
    titles = [each.title for each in titled_comparisons(diagnosis.data_sets)]
    starts = ["crystals and water: ", "crystals and water: ", "atoms: "]
    assert [t[: len(s)] for t, s in zip(titles, starts, strict=True)] == starts
    assert [" edges" in title for title in titles] == [False, True, False]


def test_each_model_says_how_far_it_drifted_and_how_the_index_changed(
    diagnosis: Diagnosis,
) -> None:
    first = diagnosis.data_sets[0]
    atoms, *_ = titled_comparisons([first])
    before, after = (axes.get_title() for axes in draw_comparisons([atoms]).axes)
    ratio = atoms.comparison.on_plane("ft")
    assert before.startswith("pretrained, DB index ")
    assert f"({ratio.ratio:.3g} ± {ratio.sd:.2g} times the pretrained)" in after
    assert after.endswith(f", W1 {first.drift['ft'].w1:.3g}")


def test_several_models_are_side_by_side(diagnosis: Diagnosis) -> None:
    row, *_ = titled_comparisons(diagnosis.data_sets)
    clusters = row.comparison.fine_tuned["ft"]
    both = replace(row.comparison, fine_tuned={"ft": clusters, "mft": clusters})
    figure = draw_comparisons([replace(row, comparison=both)])
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == [
        "pretrained", "ft", "mft",
    ]  # fmt: skip


def test_a_family_has_one_hue_in_all_data_sets(diagnosis: Diagnosis) -> None:
    first, second = diagnosis.data_sets
    both, edges, alone = titled_comparisons([first, second])
    assert both.hues == alone.hues
    families = {*first.atoms.labelled.families, *second.atoms.labelled.families}
    assert both.hues.keys() == families
    assert edges.hues.keys() == set(first.edges.labelled.families)
    for hues in (both.hues, edges.hues):
        assert len(set(hues.values())) == len(hues)


def test_every_kind_with_points_is_drawn_in_a_shade_and_shape_of_its_own(
    diagnosis: Diagnosis,
) -> None:
    _, edges, _ = titled_comparisons(diagnosis.data_sets)
    figure = draw_comparisons([edges])
    assert len(figure.axes) == 2
    labelled = edges.comparison.labelled
    for axes, clusters in zip(
        figure.axes,
        (edges.comparison.pretrained, edges.comparison.fine_tuned["ft"]),
        strict=True,
    ):
        handles, names = axes.get_legend_handles_labels()
        assert names == [f"{name} ({n})" for name, n in labelled.counts.items() if n]
        drawn = np.concatenate([handle.get_offsets() for handle in handles])
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, clusters.plane))
        shades = {tuple(handle.get_facecolor()[0][:3]) for handle in handles}
        assert len(shades) == len(handles)
        # and within a family of a shape of its own
        marks = {
            (name.split()[0], handle.get_paths()[0].vertices.tobytes())
            for name, handle in zip(names, handles, strict=True)
        }
        assert len(marks) == len(handles)
    assert "times the pretrained" in figure.axes[1].get_title()
    assert "times the pretrained" not in figure.axes[0].get_title()


def test_one_kind_alone_has_no_index(diagnosis: Diagnosis) -> None:
    row, *_ = titled_comparisons(diagnosis.data_sets)
    comparison = row.comparison
    bare = replace(
        comparison,
        pretrained=replace(comparison.pretrained, on_plane=()),
        fine_tuned={"ft": replace(comparison.fine_tuned["ft"], on_plane=())},
    )
    figure = draw_comparisons([replace(row, comparison=bare, notes={})])
    assert [axes.get_title() for axes in figure.axes] == [
        "pretrained, of one kind only", "ft, of one kind only",
    ]  # fmt: skip


@pytest.mark.parametrize("which", [0, 1])
def test_equal_figures_are_equal_files(diagnosis: Diagnosis, which: int) -> None:
    titled = titled_comparisons(diagnosis.data_sets)[which : which + 1]
    first, again = (picture(draw_comparisons(titled)) for _ in range(2))
    assert first == again
    assert first.startswith(b"\x89PNG")
