"""Panels show what they are given, whatever the number of seeds."""

from __future__ import annotations

import numpy as np
import pytest

from repro.reporting import panels
from repro.reporting.figures import new_figure


@pytest.fixture
def ax():
    return new_figure()[1][0, 0]


def test_a_figure_is_drawn_if_arrays_of_all_its_names_are_there():
    drawings = {
        "both": (lambda arrays: "both", ("true", "found")),
        "by_dose": (lambda arrays: "by dose", ("accuracy_",)),
        "none": (lambda arrays: "none", ("code",)),
    }
    arrays = {0: dict.fromkeys(("true", "found", "accuracy_1e4"), np.zeros(1))}
    assert panels.drawable(drawings, arrays) == {"both": "both", "by_dose": "by dose"}


def test_arrays_are_those_of_the_lowest_seed_or_of_all():
    arrays = {seed: {"x": np.full(3, seed)} for seed in (4, 2)}
    np.testing.assert_array_equal(panels.lowest(arrays)["x"], [2, 2, 2])
    np.testing.assert_array_equal(panels.of_all_seeds(arrays, "x"), [[4, 4, 4], [2, 2, 2]])


def test_a_mean_has_a_range_from_two_seeds_on():
    assert panels.mean_and_range("MAE", np.array([1.234]), 2, "at.%") == "MAE 1.23 at.%"
    assert panels.mean_and_range("RMSE", np.array([0.1, 0.3]), 1) == "RMSE 0.2 (0.1 to 0.3)"


def test_differences_are_white_at_zero_and_few_outliers_do_not_set_the_scale():
    differences = np.append(np.linspace(-1, 1, 1999), 100.0)
    scale = panels.signed_scale(differences)
    assert scale["vmin"] == -scale["vmax"]
    assert scale["vmax"] <= 1
    assert panels.signed_scale(differences, clipped=1)["vmax"] == 100


def test_an_image_keeps_its_pixels(ax):
    pixels = np.random.default_rng(0).random((5, 7)).astype(np.float16)
    drawn = panels.image(ax, pixels, **panels.intensity_scale(pixels))
    np.testing.assert_array_equal(drawn.get_array(), pixels.astype(float))
    assert not len(ax.get_xticks())


def test_points_on_the_line_are_predicted_right(ax):
    true = np.array([2.0, np.nan, 5.0])
    panels.predicted_against_true(ax, true, true + 1)
    line, points = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), [[2, 2], [5, 5]])
    np.testing.assert_array_equal(points.get_ydata(), true + 1)


def test_a_confusion_matrix_writes_what_happened_and_its_share_of_the_row(ax):
    panels.confusion(ax, np.array([[3, 1], [0, 0]]), fontsize=8, shares=True)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "3\n75.0%", (1, 0): "1\n25.0%"}


def test_bars_reach_from_the_lowest_to_the_highest_seed(ax):
    panels.curve_over_seeds(ax, np.arange(2), np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]))
    (bars,) = ax.collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[1, 6], [5, 5]])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [3, 5])


def test_a_legend_names_each_mark_once_and_references_last(ax):
    for label in ("paper", "network", "linear", "network"):
        ax.plot([0], [0], label=label)
    panels.legend_above_panels(ax.figure, ax, "upper left", last=("paper",))
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.texts] == ["network", "linear", "paper"]
