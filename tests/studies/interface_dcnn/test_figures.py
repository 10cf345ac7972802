"""The figures of `interface_dcnn` show what their captions say, at every scale."""

from __future__ import annotations

import numpy as np
import pytest
from bench import check_inside, check_same_bytes
from matplotlib.colors import to_hex

from repro.reporting.figures import save
from repro.studies.interface_dcnn import crystal
from repro.studies.interface_dcnn.figures import (
    CAPTIONS,
    CATIONS,
    METHODS,
    binned,
    figures,
    layers_of,
    whole_cells,
)

pytestmark = pytest.mark.slow

DOSES = np.array([0.0, 1e6, 1e5, 1e4, 1e3])
DESK = np.array([101.53, 148.39, 199.155, 249.92, 300.685])
SMOKE = np.array([50.765])


def arrays_of(seed, thicknesses=DESK, n_positions=13, n_bins=32, n_lines=4):
    """Return arrays as `evaluate` does, of the sizes of a preset."""
    draws = np.random.default_rng(seed)
    n_cells = crystal.whole_cells(thicknesses[-1])
    mixed = draws.random((n_cells, 2, 1))
    labels = np.arange(60) % 2
    probability = draws.random(60).astype(np.float32)
    k = (np.arange(n_bins) + 0.5) * 2.2 / n_bins - 1.1
    arrays = {
        "thicknesses": thicknesses,
        "doses": DOSES,
        "probe_x": 0.45 * np.arange(n_positions),
        "probe_y": np.linspace(0, crystal.A_SUBSTRATE / 2, n_lines),
        "k": k,
        "layer_x": 1.9525 * np.arange(-9, 11),
        "step_exchanged": crystal.step(n_cells, n_cells // 3).astype(np.uint8),
        "mixed_exchanged": crystal.intermixing(mixed, 0.2, 1, 0.5, False).astype(np.uint8),
        "class_label": labels,
        "class_probability": probability,
        "class_fraction": draws.uniform(0.1, 0.95, 60),
        "class_confusion": draws.integers(1, 40, (2, 2)),
        "step_fraction_true": draws.random(30),
        "step_fraction_found": draws.random(30),
    }
    for sample in ("step", "mixed"):
        image_shape = (len(thicknesses), n_lines, n_positions)
        arrays[f"{sample}_image"] = draws.random(image_shape, np.float32)
        arrays[f"{sample}_line"] = draws.random((n_positions, n_bins, n_bins), np.float32)
    for name in (f"{method}{task}_accuracy" for method in METHODS for task in ("class", "step")):
        arrays[name] = draws.random((len(DOSES), len(thicknesses)))
    for thickness in thicknesses:
        confusion = np.diag(np.arange(11))
        confusion[3, 4] = 12
        arrays[f"step_confusion_{round(thickness, -1):.0f}"] = confusion
    return arrays


def smoke(seed):
    return arrays_of(seed, SMOKE, n_positions=9, n_bins=16, n_lines=2)


@pytest.fixture(scope="module")
def drawn():
    return figures({2: arrays_of(2), 0: arrays_of(0), 1: arrays_of(1)})


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_every_figure_is_drawn_and_has_a_caption(drawn):
    # A figure without a caption would end every run with an error.
    assert list(drawn) == list(CAPTIONS)


def test_figures_of_desk_are_small_files_with_every_mark_inside(tmp_path, drawn):
    # Records with their figures are committed and embedded in one page.
    paths = [save(figure, tmp_path / f"{name}.svg") for name, figure in drawn.items()]
    assert sum(path.stat().st_size for path in paths) < 700_000
    for figure in drawn.values():
        check_inside(figure)


def test_same_arrays_give_the_same_bytes():
    check_same_bytes(lambda: figures({0: smoke(0)}))


def test_one_thickness_and_one_seed_are_enough(tmp_path):
    # Preset smoke has one thickness; its run must not fail at its last stage.
    for name, figure in figures({0: smoke(0)}).items():
        assert save(figure, tmp_path / f"{name}.svg").stat().st_size


@pytest.mark.parametrize(
    ("missing", "left_out"),
    [
        ("step_fraction_found", {"regression"}),
        ("mixed_image", {"intensity"}),
        ("doses", {"accuracy_dose", "accuracy_thickness"}),
        ("step_confusion_50", {"step_confusion"}),
        ("layer_x", set()),
        ("linear_class_accuracy", set()),
    ],
)
def test_figures_whose_arrays_are_missing_are_left_out(missing, left_out):
    # The improved variant has no regression; the other figures must not go with it.
    known = {name: values for name, values in smoke(0).items() if name != missing}
    assert set(CAPTIONS) - set(figures({0: known})) == left_out


def test_an_untrained_network_is_drawn(tmp_path):
    # All answers alike, all wrong, and a row without examples: nothing to divide by.
    known = smoke(0)
    known["class_probability"] = np.full(60, 0.5, np.float32)
    known["class_confusion"] = np.array([[0, 0], [30, 0]])
    known["step_confusion_50"] = np.zeros((11, 11), np.int64)
    for name, figure in figures({0: known}).items():
        save(figure, tmp_path / f"{name}.svg")


def test_counts_of_all_seeds_are_summed(drawn):
    # One seed's matrix would hide how the others fail.
    total = sum(arrays_of(seed)["class_confusion"] for seed in range(3))
    ax = drawn["class_confusion"].axes[0]
    shown = [int(text.split("\n")[0]) for text in texts(ax)]
    np.testing.assert_array_equal(shown, total.ravel())
    assert "36" in texts(drawn["step_confusion"].axes[0])


def test_rows_of_a_confusion_matrix_are_true_classes(drawn):
    # Turned over, the matrix would tell the opposite error.
    ax = drawn["step_confusion"].axes[0]
    (mark,) = (text for text in ax.texts if text.get_text() == "36")
    assert mark.get_position() == (4, 3)
    assert ax.yaxis.get_label_text().startswith("true")
    assert ax.yaxis_inverted()


def test_accuracy_is_the_mean_of_seeds_with_their_range(drawn):
    # The best seed alone would flatter the network.
    tables = np.stack([arrays_of(seed)["class_accuracy"] for seed in range(3)])
    accuracy = tables[:, 0]  # without noise
    network = next(
        bars
        for bars in drawn["accuracy_thickness"].axes[0].containers
        if bars.get_label() == "network"
    )
    line, _, (bar,) = network.lines
    np.testing.assert_allclose(line.get_ydata(), accuracy.mean(axis=0))
    ends = np.array([segment[:, 1] for segment in bar.get_segments()])
    np.testing.assert_allclose(ends, np.stack([accuracy.min(axis=0), accuracy.max(axis=0)], 1))


def test_patterns_without_noise_stand_apart_from_all_doses(drawn):
    # Dose 0 has no place on a logarithmic axis, and no line leads there.
    ax = drawn["accuracy_dose"].axes[0]
    lines = [bars.lines[0].get_xdata() for bars in ax.containers if bars.get_label() == "network"]
    np.testing.assert_array_equal(lines[0], DOSES[1:])
    assert lines[1] > DOSES.max()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[0] == "no noise"


def test_methods_are_told_apart_without_colour(drawn):
    # In a grey print, or to colour-blind eyes, only marks remain.
    markers = {
        (bars.get_label(), bars.lines[0].get_marker())
        for bars in drawn["accuracy_dose"].axes[0].containers
    }
    assert len({marker for _, marker in markers}) == len(METHODS) == len(markers)


def test_layers_of_a_step_and_of_intermixing_are_those_of_the_crystal():
    # The picture must show the structure that was simulated.
    film = crystal.Crystal(n_substrate=2, n_film=3, c_film=3.79, n_tiles=1)
    exchanged = np.array([[1, 0], [0, 2], [1, 3], [0, 0]])
    symbols, positions = film.atoms(exchanged)
    layers = layers_of(exchanged, n_film_layers=2)
    first = film.first_film_layer - 2
    for layer, (_, _, x) in zip(layers, film.layers[first:], strict=False):
        in_layer = np.isclose(positions[:, 0], x)
        cations = [s for s, taken in zip(symbols, in_layer, strict=True) if taken and s != "O"]
        assert list(layer) == cations


def test_exchanged_cations_are_drawn_as_what_they_are(drawn):
    # Ti on an Al site must look like Ti.
    known = arrays_of(0)
    ax = drawn["structures"].axes[1]
    first_aluminium_layer = [line for line in ax.lines if set(line.get_ydata()) == {3}]
    found = {line.get_label(): len(line.get_xdata()) for line in first_aluminium_layer}
    n_titanium = int(known["mixed_exchanged"][:, 1].sum())
    assert found == {"Ti": n_titanium, "Al": len(known["mixed_exchanged"]) - n_titanium}
    for line in first_aluminium_layer:
        assert to_hex(line.get_color()) == CATIONS[line.get_label()][0]


def test_half_a_cell_is_mirrored_and_a_whole_one_is_not():
    # A whole cell mirrored would double its width; a mirror line drawn twice would shift columns.
    half = np.arange(4.0)[:, None] + np.zeros(5)
    cells = whole_cells(half, np.linspace(0, crystal.A_SUBSTRATE / 2, 4))
    np.testing.assert_array_equal(cells[0], [0, 1, 2, 3, 2, 1] * 3)
    lines = np.arange(13) * crystal.A_SUBSTRATE / 13
    cells = whole_cells(np.arange(13.0)[:, None] + np.zeros(5), lines)
    np.testing.assert_array_equal(cells, np.tile(np.arange(13.0), (5, 3)))


def test_patterns_of_many_bins_keep_their_electrons():
    # Preset paper has 64 bins a side, more than a page shows.
    line = np.random.default_rng(0).random((3, 64, 64))
    np.testing.assert_allclose(binned(line).sum(axis=(1, 2)), line.sum(axis=(1, 2)))
    assert binned(line).shape == (3, 32, 32)
    assert binned(line[:, :50, :50]).shape == (3, 50, 50)


def test_wrong_answers_are_filled(drawn):
    # Wrong and certain: what a user of the network has to know.
    known = arrays_of(0)
    is_wrong = (known["class_probability"] > 0.5) != known["class_label"]
    filled = [line for line in drawn["certainty"].axes[0].lines if "wrong" in line.get_label()]
    assert sum(len(line.get_xdata()) for line in filled) == is_wrong.sum()
    assert all(line.get_markerfacecolor() != "none" for line in filled)


def test_reliability_counts_every_answer_of_every_seed(drawn):
    # A bin left out could be the one where the network errs.
    assert sum(int(text) for text in texts(drawn["certainty"].axes[1])) == 3 * 60


def test_error_of_the_regression_is_given_for_all_seeds(drawn):
    # The seed that is shown need not be a typical one.
    errors = [
        arrays_of(seed)["step_fraction_found"] - arrays_of(seed)["step_fraction_true"]
        for seed in range(3)
    ]
    rmse = np.sqrt(np.mean(np.square(errors), axis=1))
    (text,) = texts(drawn["regression"].axes[0])
    assert text == f"RMSE {rmse.mean():.3f}\n({rmse.min():.3f} to {rmse.max():.3f})"
