"""Synthetic films: they show what was measured on the real ones, and are the same bytes again."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import pearsonr, spearmanr

from repro.datasets.build import build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.studies.rheed_translator.data import simulate
from repro.studies.rheed_translator.data.archive import read_archive
from repro.studies.rheed_translator.data.simulate import Simulation, films

SHARED = Path(__file__).resolve().parents[4] / "shared"
REAL = Path(os.environ.get("REPRO_RHEED_FILMS") or SHARED / "refs/rheed/rheed_sto_24.npz")
SIZE = {"height": 105, "width": 140}


def parameters(experiment=None, preset="desk", **changes):
    return dict(load_spec("rheed_translator").resolve(preset, experiment, changes).parameters)


SMOKE = parameters(preset="smoke")


# Measuring, in pixels of a frame of 210 by 280


def five_rods(x, level, slope, centre, spacing, *rest):
    """Return five Gaussians on a sloping background."""
    heights, widths = rest[:5], [rest[5 + abs(n)] for n in range(-2, 3)]
    return (
        level
        + slope * (x - 140)
        + sum(
            height * np.exp(-4 * np.log(2) * ((x - centre - n * spacing) / width) ** 2)
            for height, width, n in zip(heights, widths, range(-2, 3), strict=True)
        )
    )


def row_means(image):
    """Return places along x, and the mean of rows 45 to 100."""
    scale = 280 / image.shape[1]
    x = (np.arange(image.shape[1]) + 0.5) * scale
    return x, image[int(45 / scale) : int(100 / scale)].mean(axis=0)


def measure(image):
    """Return place, spacing, A01/A00, A02/A00, widths of (00), (01), (02), row of the maximum."""
    x, profile = row_means(image)
    inner = (x > 110) & (x < 165)
    centre, level = x[inner][profile[inner].argmax()], np.median(profile)
    peak = profile.max() - level
    guess = [level, 0, centre, 47.2, *(peak * np.array([0.2, 0.4, 1, 0.4, 0.2])), 13, 14, 15]
    lower = [-1, -0.01, centre - 10, 43] + 5 * [0] + 3 * [6]
    upper = [1, 0.01, centre + 10, 51] + 5 * [3] + 3 * [30]
    fit, _ = curve_fit(five_rods, x, profile, guess, bounds=(lower, upper))
    a = fit[4:9]
    column = image[:, np.abs(x - fit[2]) < 6].mean(axis=1)
    row = (column.argmax() + 0.5) * 210 / len(image)
    return [*fit[2:4], (a[1] + a[3]) / 2 / a[2], (a[0] + a[4]) / 2 / a[2], *fit[9:], row]


CUES = ("centre", "spacing", "first", "second", "width_0", "width_1", "width_2", "brightest")


def measured(images, stoichiometry):
    """Return the cues of films by name, with their Sr content."""
    table = np.array([measure(image) for image in images]).T
    return dict(zip(CUES, table, strict=True)) | {"content": stoichiometry}


@pytest.fixture(scope="module")
def typical():
    """Return 120 films without outliers."""
    return films(0, 120, 0, parameters("typical", **SIZE))


@pytest.fixture(scope="module")
def cues(typical):
    return measured(typical["images"], typical["stoichiometry"])


@pytest.fixture(scope="module")
def real():
    """Return the cues of the real films that have five rods."""
    if not REAL.exists():
        pytest.skip("the real films are not on this machine")
    archive = read_archive(REAL)
    is_typical = np.abs(archive.stoichiometry - 68.998) > 0.01
    return measured(archive.images[is_typical], archive.stoichiometry[is_typical])


# What is measured on the real films shows


def test_intensity_over_that_of_00_falls_with_the_sr_content(cues):
    assert spearmanr(cues["content"], cues["first"]).statistic < -0.7
    assert spearmanr(cues["content"], cues["second"]).statistic < -0.8
    assert pearsonr(cues["content"], cues["second"]).statistic < -0.9


@pytest.mark.parametrize(
    ("cue", "low", "high", "mean", "tolerance"),
    [
        ("second", 33, 37, 0.19, 0.015),
        ("second", 40, 45, 0.16, 0.015),
        ("second", 52, 56, 0.08, 0.015),
        ("second", 61, 70.5, 0.03, 0.01),
        ("first", 33, 45, 0.38, 0.03),
        ("first", 61, 70.5, 0.155, 0.02),
        ("width_0", 33, 48, 14.8, 0.5),
        ("width_0", 55, 61, 12.1, 0.7),
        ("width_0", 67, 70.5, 10.1, 0.7),
        ("spacing", 33, 70.5, 47.2, 0.3),
        ("centre", 33, 70.5, 135.8, 2),
    ],
)
def test_cues_have_the_size_measured_on_the_real_films(cues, cue, low, high, mean, tolerance):
    inside = (cues["content"] >= low) & (cues["content"] <= high)
    assert cues[cue][inside].mean() == pytest.approx(mean, abs=tolerance)


def test_rods_of_higher_order_are_wider_and_all_are_narrower_with_sr(cues):
    ti_rich = cues["content"] < 48
    zeroth, first, second = (cues[f"width_{n}"][ti_rich].mean() for n in range(3))
    assert zeroth < first < second
    assert pearsonr(cues["content"], cues["width_0"]).statistic < -0.75


def test_the_brightest_part_lies_lower_in_films_rich_in_sr(cues):
    ti_rich, sr_rich = (cues["brightest"][m] for m in (cues["content"] < 44, cues["content"] > 52))
    assert np.median(ti_rich) < 30 < np.median(sr_rich)
    assert spearmanr(cues["content"], cues["brightest"]).statistic > 0.4


def test_films_scatter_about_the_trends_and_do_not_without_scatter(cues):
    exact = films(0, 60, 0, parameters("no_scatter", **SIZE))
    without = measured(exact["images"], exact["stoichiometry"])
    for cue, corners in (("first", simulate.FIRST_ORDER), ("second", simulate.SECOND_ORDER)):
        ratio = without[cue] / simulate.trend(corners, without["content"])
        assert ratio.std() < 0.05
        assert (cues[cue] / simulate.trend(corners, cues["content"])).std() > 1.5 * ratio.std()


def test_the_pattern_moves_along_x_as_the_real_ones_do(cues):
    assert cues["centre"].std() == pytest.approx(6, abs=1.2)
    assert np.ptp(cues["centre"]) <= 2 * 2 * 6 + 2


def half_order_bump(image):
    """Return how far the halfway points stand above the line between their neighbours."""
    x, profile = row_means(image)
    centre, spacing = measure(image)[:2]
    at = centre + spacing * np.array([-0.5, 0.5])
    around = [np.interp(at + d, x, profile) for d in (-0.2 * spacing, 0.2 * spacing)]
    return (np.interp(at, x, profile) - np.mean(around, axis=0)).max() / profile.max()


def test_no_half_order_rods_stand_between_the_others_unless_asked_for(typical):
    as_measured = np.array([half_order_bump(image) for image in typical["images"][:40]])
    assert as_measured.max() < 0.003
    asked = films(0, 40, 0, parameters("half_order", outlier_share=0.0, **SIZE))
    bumps = np.array([half_order_bump(image) for image in asked["images"]])
    assert (bumps > as_measured + 0.02).all()


def test_kikuchi_arcs_are_of_ti_rich_films_and_the_fan_of_the_others():
    drawn = simulate.draw_films(Simulation(**parameters("typical")), 0, 400, 0)
    content = drawn.stoichiometry
    with_arcs = content[drawn.arcs > 0]
    assert with_arcs.min() > 36
    assert with_arcs.max() < 46.5
    assert 0.4 < len(with_arcs) / ((content > 36.5) & (content < 46)).sum() < 0.8
    assert (drawn.fan[content < 47] == 0).all()
    assert (drawn.fan[content > 48] > 0).all()


def test_the_defect_of_the_screen_stays_where_it_is(typical):
    images = typical["images"]
    scale = 140 / 280
    rows, row_above = images[:, int(26 * scale)], images[:, int(40 * scale)]
    darker = (rows[:, int(146 * scale)] < rows[:, int(166 * scale)]).mean()
    assert darker > 0.5, "the dark spot does not show"
    assert np.median(rows[:, int(160 * scale)] / row_above[:, int(160 * scale)]) > 1


def test_trends_are_those_of_the_real_films(cues, real):
    for low, high in ((33, 37.5), (37.5, 42.5), (42.5, 48), (49, 56)):
        means = [
            {cue: c[cue][(c["content"] > low) & (c["content"] < high)].mean() for cue in CUES}
            for c in (cues, real)
        ]
        for cue, within in (("first", 0.06), ("second", 0.025), ("width_0", 1.2), ("spacing", 0.9)):
            assert means[0][cue] == pytest.approx(means[1][cue], abs=within), (cue, low)


def test_a_straight_line_on_the_second_order_errs_as_on_the_real_films(cues, real):
    def error(c):
        line = np.polyfit(c["second"], c["content"], 1)
        return np.abs(np.polyval(line, c["second"]) - c["content"]).mean()

    assert error(cues) == pytest.approx(error(real), rel=0.6)


# What is drawn


def test_sr_contents_are_spread_as_those_of_the_real_films():
    drawn = simulate.draw_films(Simulation(**parameters()), 0, 4000, 0)
    content = drawn.stoichiometry
    assert 33 <= content.min() < 33.1
    assert 70.4 < content.max() <= 70.5
    assert (content < 50).mean() == pytest.approx(23 / 31, abs=0.02)
    assert np.median(content[content < 50]) == pytest.approx(41.5, abs=0.4)


def test_outliers_come_in_their_share_and_show_nothing_of_the_sr_content():
    made = films(0, 1000, 0, SMOKE)
    is_outlier = made["is_outlier"].astype(bool)
    assert is_outlier.mean() == pytest.approx(0.1, abs=0.025)
    drawn = simulate.draw_films(Simulation(**SMOKE), 0, 1000, 0)
    np.testing.assert_array_equal(drawn.is_lattice | drawn.is_spot, is_outlier)
    assert not (drawn.is_lattice & drawn.is_spot).any()
    assert min(drawn.is_lattice.sum(), drawn.is_spot.sum()) > 25
    assert (drawn.arcs[is_outlier] == 0).all()
    assert (drawn.fan[is_outlier] == 0).all()
    everyone = films(0, 20, 0, parameters(preset="smoke", outlier_share=1.0))
    assert everyone["is_outlier"].all()


def test_a_three_dimensional_film_has_spots_in_a_centred_lattice():
    made = parameters(preset="smoke", outlier_share=1.0, height=210, width=280)
    simulation = Simulation(**made)
    drawn = simulate.draw_films(simulation, 0, 20, 0)
    which = int(np.argmax(drawn.is_lattice))
    image = simulate.pattern(simulation, drawn)[which]
    centre = drawn.centre[which]

    def column(order):
        return image[:, round(centre + order * drawn.spacing[which] - 0.5)]

    middle, beside = column(0), column(1)
    assert middle[74] > 3 * middle[46]
    assert beside[46] > 3 * beside[74]


def test_images_are_fractions_of_their_own_maximum(typical):
    images = typical["images"]
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images.max(axis=(1, 2)), 1)
    assert images.min() >= 0


def test_backgrounds_and_noise_are_those_of_the_real_films(typical):
    level = np.percentile(typical["images"], 5, axis=(1, 2))
    assert 0.01 < level.min() < 0.04
    assert 0.1 < level.max() < 0.25
    assert np.mean(level) == pytest.approx(0.065, abs=0.02)
    corner = typical["images"][:, 85:, 110:]
    rough = np.diff(corner, axis=2).std(axis=(1, 2)) / np.sqrt(2)
    assert 0.0002 < rough.min() < rough.max() < 0.008
    assert spearmanr(rough, level).statistic > 0.8, "dark films are not noisier"


def test_an_image_of_another_size_shows_the_same_film():
    small, large = (
        films(3, 4, 0, parameters("typical", height=h, width=w))["images"][0]
        for h, w in ((54, 72), (540, 720))
    )
    averaged = large.reshape(54, 10, 72, 10).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), averaged.ravel())[0, 1] > 0.99


# Ewald construction


def test_spots_stand_on_a_circle_about_the_shadow_edge():
    specular, spacing, edge = np.array([[20.0]]), np.array([[47.2]]), np.array([[-100.0]])
    heights = simulate.ewald_height(specular, spacing, edge)
    assert heights[0, 0] == 20
    radii = np.hypot(heights - edge, simulate.ORDERS * spacing)
    np.testing.assert_allclose(radii, 120)


def test_a_rod_outside_the_circle_has_no_spot_and_still_a_streak():
    edgeless = parameters("typical", edge_distance=0.0, **SIZE)
    drawn = simulate.draw_films(Simulation(**edgeless), 0, 10, 0)
    assert np.isnan(drawn.spot_height[:, 2:]).all()
    images = films(0, 10, 0, edgeless)["images"]
    assert np.isfinite(images).all()
    assert all(measure(image)[2] > 0.1 for image in images)


# The same bytes


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2, 5), (6, 7)])
def test_a_film_does_not_depend_on_those_made_with_it(start, stop):
    together, apart = films(0, 7, 5, SMOKE), films(start, stop, 5, SMOKE)
    assert together.keys() == apart.keys() == {"images", "stoichiometry", "is_outlier"}
    for name, values in apart.items():
        np.testing.assert_array_equal(values, together[name][start:stop], err_msg=name)


def test_another_seed_gives_other_films():
    one, other = films(0, 3, 0, SMOKE), films(0, 3, 1, SMOKE)
    assert not (one["stoichiometry"] == other["stoichiometry"]).any()
    assert not np.array_equal(one["images"], other["images"])


def test_a_data_set_is_built_from_the_data_spec_and_says_that_it_is_synthetic(tmp_path):
    spec = load_spec("rheed_translator").resolve("smoke")
    dataset = Dataset.open(build(spec, tmp_path / "films.h5"))
    assert dataset.array("images").shape == (36, 48, 64)
    np.testing.assert_array_equal(dataset.array("images"), films(0, 36, 0, SMOKE)["images"])
    assert "SYNTHETIC" in spec.card.title
    assert spec.card.kind == "simulated"


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 4}, "image of 4 by 64 pixels holds no pattern"),
        ({"stoichiometry_range": [70.0, 33.0]}, "below and above 50, not"),
        ({"stoichiometry_range": [51.0, 70.0]}, "below and above 50, not"),
        ({"stoichiometry_range": [-1.0, 70.0]}, "below and above 50, not"),
        ({"stoichiometry_range": [33.0]}, "below and above 50, not"),
        ({"ti_rich_share": 1.5}, "ti_rich_share is 1.5: give a share"),
        ({"outlier_share": -0.1}, "outlier_share is -0.1: give a share"),
        ({"scatter": -1.0}, "scatter is -1.0: give 0 or more"),
        ({"edge_distance": -1.0}, "edge_distance is -1.0: give 0 or more"),
        ({"shift": -1.0}, "shift is -1.0: give 0 or more"),
        ({"half_order": -0.1}, "half_order is -0.1: give 0 or more"),
        ({"spacing": 0.4}, "With a spacing of 0.4 the five rods do not stand in the frame"),
        ({"spacing": 0.0}, "With a spacing of 0.0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_in_a_sentence(changes, message):
    with pytest.raises(ReproError, match=message):
        films(0, 1, 0, SMOKE | changes)
