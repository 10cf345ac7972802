"""The figures of `rheed_translator` show what their captions say, for every variant."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from bench import check_inside

from repro.reporting.figures import image, save
from repro.studies.rheed_translator.figures import (
    CAPTIONS,
    FIELDS,
    FIGURES,
    N_FILMS_SHOWN,
    N_WORST,
    figures,
    principal,
    spread,
    unseen,
)

pytestmark = pytest.mark.slow

VARIANTS = ("faithful", "corrected", "improved")
OF_VARIANT = ("paths", "predicted_against_true")  # show what not every variant has
SIZE = (54, 72)


def patterns(draws, n_films):
    """Return streaks on a background, with shifts and noise as measured ones have."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / 8.0
    streaks = np.cos(np.pi * (x[None] - draws.uniform(0, 1, (n_films, 1, 1)) - 4.5)) ** 8
    noise = draws.normal(0, 0.004, (n_films, *SIZE))
    return (0.07 + 0.9 * streaks * np.exp(-((y - 2) ** 2)) + noise).astype(np.float16)


def group_of(draws, n_films, has_intervals):
    """Return what `evaluate` keeps of a group of unseen films."""
    true = draws.uniform(33, 70, n_films)
    found = true + draws.normal(0, 3, n_films)
    width = draws.uniform(3, 8, n_films) if has_intervals else np.full(n_films, np.nan)
    images = [patterns(draws, n_films) for _ in range(3)]
    values = (true, found, true + 0.5, found - width, found + width, *images)
    return dict(zip(FIELDS, values, strict=True))


def arrays_of(seed, variant="faithful", groups=("held_out", "test"), n_films=12):
    """Return arrays as `evaluate` does for a variant."""
    films, draws = np.random.default_rng(9), np.random.default_rng(seed)
    contents = films.uniform(33, 70, n_films)
    asked = np.linspace(contents.min(), contents.max(), 9)
    arrays = {
        "code_image": draws.normal(0, 1, (n_films, 12)).astype(np.float32),
        "code_stoichiometry": draws.normal(0, 1, (n_films, 12)).astype(np.float32),
        "code_content": contents,
        "train_found": contents.astype(np.float32),
        "sweep_content": asked,
        "sweep_drawn": patterns(draws, 9),
        "sweep_nearest": patterns(draws, 9),
        "sweep_nearest_content": asked + 0.3,
        "is_synthetic": np.array(False),
    }
    for group in groups:
        values = group_of(draws, n_films, variant == "improved")
        arrays |= {f"{group}_{field}": array for field, array in values.items()}
    if variant == "faithful":
        arrays |= {"gated_true": contents, "gated_found": contents + draws.normal(0, 4, n_films)}
    return arrays


def without(arrays, begin):
    return {name: array for name, array in arrays.items() if not name.startswith(begin)}


def alone(name, arrays):
    """Draw one figure as `figures` does, without the others."""
    draw, _ = FIGURES[name]
    return draw({seed: of_seed | unseen(of_seed) for seed, of_seed in arrays.items()})


@pytest.fixture(scope="module")
def by_variant():
    """The figures of three seeds of every variant, drawn when they are first asked for."""
    return cache(lambda v: figures({seed: arrays_of(seed, v) for seed in (2, 0, 1)}))


@pytest.fixture(params=VARIANTS)
def drawn(request, by_variant):
    return by_variant(request.param)


@pytest.fixture(scope="module")
def known():
    """The arrays of one seed; tests that alter them make their own."""
    return arrays_of(0)


@pytest.fixture(scope="module")
def shown(known):
    """Their figures."""
    return figures({0: known})


def panels(figure):
    """Return the panels that are images, row by row."""
    return [ax for ax in figure.axes if len(ax.images) == 1]


def pixels(ax):
    return np.asarray(ax.images[0].get_array())


def texts(ax):
    return [text.get_text() for text in ax.texts]


def readings(ax):
    """Return true and read Sr content of the marks in a panel, ``(n, 2)``."""
    marks = [line for line in ax.lines if line.get_linestyle() == "None"]
    return np.concatenate([line.get_xydata() for line in marks])


def in_order(points):
    return points[np.lexsort(points.T)]


def test_every_figure_is_drawn_and_has_a_caption(drawn):
    # A figure without a caption would end every run with an error.
    assert list(drawn) == list(CAPTIONS)


@pytest.fixture(scope="module")
def saved(by_variant, tmp_path_factory):
    """Files of all figures of one variant, and of those that are drawn otherwise for another."""
    folder = tmp_path_factory.mktemp("figures")
    return {
        (variant, name): save(figure, folder / f"{variant}_{name}.svg")
        for variant in VARIANTS
        for name, figure in by_variant(variant).items()
        if variant == VARIANTS[0] or name in OF_VARIANT
    }


def test_figures_are_small_files_with_every_mark_inside(saved, by_variant):
    # Records with their figures are committed and embedded in one page.
    assert {name for _, name in saved} == set(CAPTIONS)
    for (variant, name), path in saved.items():
        assert path.stat().st_size < 120_000, (variant, name)
        check_inside(by_variant(variant)[name])


def test_same_arrays_give_the_same_bytes(saved):
    # Else results would seem to change.
    again = figures({seed: arrays_of(seed) for seed in (2, 0, 1)})
    for name, figure in again.items():
        assert image(figure, ".svg") == saved[VARIANTS[0], name].read_bytes(), name


@pytest.mark.parametrize(
    ("missing", "left_out"),
    [
        ("code_image", {"latent"}),
        ("sweep_drawn", {"sweep"}),
        ("held_out_drawn", {"paths"}),
        ("gated", set()),
        ("test", set()),
        ("held_out", set()),
        ("is_synthetic", set()),
        (("held_out", "test"), {"paths", "predicted_against_true", "worst"}),
        (("held_out", "test", "gated"), {"paths", "predicted_against_true", "worst"}),
    ],
)
def test_absent_arrays_leave_out_only_their_figure(missing, left_out):
    # A data set without test films, or too few films to hold some out, must not end the run.
    found = figures({0: without(arrays_of(0, n_films=1), missing)})
    assert set(CAPTIONS) - set(found) == left_out


def test_synthetic_films_are_named_so_in_every_figure(shown):
    # A figure out of its page must not pass for a measurement, nor a measurement for synthetic.
    synthetic = figures({0: arrays_of(0, n_films=1) | {"is_synthetic": np.array(True)}})
    assert list(synthetic) == list(shown)
    for found, title in ((synthetic, "SYNTHETIC films"), (shown, "")):
        assert {figure.get_suptitle() for figure in found.values()} == {title}


def test_an_untrained_network_is_drawn(tmp_path):
    # All answers and codes alike, perfect or wild: nothing to divide by, nothing off the page.
    known = arrays_of(0)
    for name in ("held_out_found", "test_found"):
        known[name] = np.full(12, 50.0, np.float32)
    known["gated_found"] = np.full(12, -700.0)
    for kind in ("held_out", "test"):
        known[f"{kind}_reconstructed"] = known[f"{kind}_images"]
    for name in ("code_image", "code_stoichiometry"):
        known[name] = np.zeros((12, 12), np.float32)
    for name, figure in figures({0: known}).items():
        save(figure, tmp_path / f"{name}.svg")
        assert figure.get_tightbbox().height < 1.05 * figure.get_size_inches()[1], name


def test_one_film_of_each_kind_is_enough(tmp_path):
    # Preset smoke on a handful of films must not fail at its last stage.
    for name, figure in figures({0: arrays_of(0, n_films=1)}).items():
        save(figure, tmp_path / f"{name}.svg")


# ---- images


def test_films_of_all_four_paths_are_spread_from_the_lowest_to_the_highest_content():
    # A choice by hand, or of good cases only, would flatter the network.
    contents = np.array([40.0, 33.0, 34.0, 70.0, 46.0, 57.0])
    assert spread(contents, 4).tolist() == [1, 4, 5, 3]
    assert spread(np.array([40.0, 60.0]), 4).tolist() == [0, 1]


def test_a_row_of_the_four_paths_is_one_film():
    # Images of one film beside numbers of another would be read as an error of the network.
    known = arrays_of(0, "improved", ("held_out",))
    shown = panels(alone("paths", {1: arrays_of(1), 0: known}))
    films = spread(known["held_out_true"], N_FILMS_SHOWN)
    assert len(shown) == 3 * len(films)
    for place, film in enumerate(films):
        row = shown[3 * place : 3 * place + 3]
        for ax, field in zip(row, ("images", "reconstructed", "drawn"), strict=True):
            np.testing.assert_array_equal(pixels(ax), known[f"held_out_{field}"][film])
        true, found, echoed, low, high = (
            f"{known[f'held_out_{field}'][film]:.1f}"
            for field in ("true", "found", "echoed", "low", "high")
        )
        beside = texts(row[-1])
        assert beside[beside.index("true") + 1] == true
        assert beside[beside.index("image → Sr") + 1] == f"{found} ({low} to {high})"
        assert beside[beside.index("Sr → Sr") + 1] == echoed
        assert beside[beside.index("film") + 1] == "held out"


def test_no_interval_is_written_where_the_variant_states_none(drawn):
    # "nan to nan" is no answer.
    for figure in drawn.values():
        assert not any("nan" in text for ax in figure.axes for text in texts(ax))


def test_a_generated_pattern_stands_above_its_nearest_film(known, shown):
    # Columns that do not belong together would hide how far the network is off.
    shown = panels(shown["sweep"])
    n_columns = len(shown) // 2
    titles = [ax.get_title(loc="left") for ax in shown]
    for column, place in enumerate((0, 2, 4, 6, 8)):
        above, below = column, n_columns + column
        np.testing.assert_array_equal(pixels(shown[above]), known["sweep_drawn"][place])
        np.testing.assert_array_equal(pixels(shown[below]), known["sweep_nearest"][place])
        assert titles[above] == f"{known['sweep_content'][place]:.1f} at.%"
        assert titles[below] == f"{known['sweep_nearest_content'][place]:.1f} at.%"


def test_the_worst_films_are_those_misread_most_of_held_out_and_test():
    # The worst case must not stay out because of where it was asked.
    known = arrays_of(0)
    known["held_out_found"][3] = known["held_out_true"][3] - 30
    known["test_found"][5] = known["test_true"][5] + 40
    shown = panels(alone("worst", {0: known}))
    assert len(shown) == 3 * N_WORST
    for row, (kind, film, error) in zip(
        (shown[:3], shown[3:6]), (("test", 5, "+40.0"), ("held_out", 3, "−30.0")), strict=True
    ):
        true, found = (
            known[f"{kind}_{field}"][film].astype(float) for field in ("images", "reconstructed")
        )
        for ax, expected in zip(row, (true, found, found - true), strict=True):
            np.testing.assert_allclose(pixels(ax), expected, atol=1e-6)
        assert error in texts(row[-1])


def test_images_of_a_figure_share_their_colours(shown):
    # With a scale for each image a flat one would look like a pattern.
    for name, of_row in (("paths", (0, 1, 2)), ("sweep", range(5)), ("worst", (0, 1))):
        images = panels(shown[name])
        for first in range(0, len(images), 5 if name == "sweep" else 3):
            scales = {images[first + place].images[0].get_clim() for place in of_row}
            assert len(scales) == 1, name
    low, high = panels(shown["worst"])[2].images[0].get_clim()
    assert low == -high


def test_a_reconstruction_of_another_size_is_subtracted_all_the_same():
    # Networks draw at their own size, which need not be that of the films.
    known = arrays_of(0, groups=("held_out",))
    known["held_out_images"] = np.full((12, 48, 64), 0.5, np.float16)
    known["held_out_reconstructed"] = np.full((12, *SIZE), 0.75, np.float16)
    difference = panels(alone("worst", {0: known}))[2]
    np.testing.assert_allclose(pixels(difference), np.full((48, 64), 0.25), atol=1e-3)


# ---- codes and Sr content


def test_the_two_codes_of_a_film_are_joined(known, shown):
    # A line to another film's code would say that the modalities disagree.
    ax = shown["latent"].axes[0]
    ends = np.stack([marks.get_offsets() for marks in ax.collections])
    lines = np.stack([line.get_xydata() for line in ax.lines])
    np.testing.assert_allclose(lines, ends.transpose(1, 0, 2))
    for marks in ax.collections:
        np.testing.assert_array_equal(marks.get_array(), known["code_content"])
    assert [marks.get_label() for marks in ax.collections] == [
        "code of the image",
        "code of the Sr content",
    ]


def test_axes_of_the_codes_are_the_principal_ones_of_both_modalities():
    # Axes of one modality alone could hide how the other varies.
    draws = np.random.default_rng(0)
    codes = draws.normal(0, 1, (2, 20, 5)) * [5, 3, 1, 1, 1]
    contents = draws.uniform(33, 70, 20)
    points, shares = principal(codes, contents)
    pooled = codes.reshape(40, 5)
    variances, directions = np.linalg.eigh(np.cov(pooled.T))
    np.testing.assert_allclose(shares, variances[::-1][:2] / variances.sum())
    expected = (pooled - pooled.mean(axis=0)) @ directions[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(points.reshape(40, 2)), np.abs(expected), atol=1e-9)
    assert (np.tensordot(contents - contents.mean(), points.sum(axis=0), 1) > 0).all()


def test_every_reading_of_every_seed_is_drawn(by_variant):
    # The best seed alone, or one film less, would flatter the network.
    arrays = {seed: arrays_of(seed) for seed in range(3)}
    network, gated = by_variant("faithful")["predicted_against_true"].axes
    for ax, kinds in ((network, ("held_out", "test")), (gated, ("gated",))):
        expected = [
            np.stack([known[f"{kind}_true"], known[f"{kind}_found"]], axis=1)
            for known in arrays.values()
            for kind in kinds
        ]
        np.testing.assert_allclose(in_order(readings(ax)), in_order(np.concatenate(expected)))


def test_the_legend_states_the_mean_error_over_seeds_and_its_range(by_variant):
    # The number that is compared must be that of the points.
    arrays = {seed: arrays_of(seed) for seed in range(3)}
    ax = by_variant("faithful")["predicted_against_true"].axes[0]
    legend = ax.get_legend()
    mae = [np.abs(k["test_found"] - k["test_true"]).mean() for k in arrays.values()]
    assert legend.get_texts()[1].get_text() == (
        f"test: MAE {np.mean(mae):.2f} at.% ({min(mae):.2f} to {max(mae):.2f})"
    )
    assert legend.get_title().get_text() == "network, 3 seeds"


def test_intervals_are_drawn_where_the_variant_states_them(shown):
    # Bars of the wrong film would spoil the coverage to the eye.
    known = arrays_of(0, "improved", ("held_out",))
    (ax,) = alone("predicted_against_true", {0: known}).axes
    (bars,) = ax.collections
    ends = np.array(bars.get_segments())
    np.testing.assert_allclose(ends[:, 0, 0], known["held_out_true"])
    np.testing.assert_allclose(ends[:, 0, 1], known["held_out_low"])
    np.testing.assert_allclose(ends[:, 1, 1], known["held_out_high"])
    (without_intervals, _) = shown["predicted_against_true"].axes
    assert not without_intervals.collections


def test_wild_readings_are_marked_at_the_edge_and_the_others_stay_apart():
    # A diverged network on the same axis would press all other points into a line.
    known = arrays_of(0)
    known["gated_found"] = known["gated_found"].copy()
    known["gated_found"][:4] = -700
    ax = alone("predicted_against_true", {0: known}).axes[1]
    low, high = ax.get_ylim()
    assert high - low < 4 * np.ptp(known["gated_true"])
    (at_edge,) = (line for line in ax.lines if line.get_marker() == "v")
    np.testing.assert_array_equal(at_edge.get_xdata(), known["gated_true"][:4])
    np.testing.assert_array_equal(at_edge.get_ydata(), low)
