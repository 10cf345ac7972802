"""Errors against background are drawn as they were measured, each in its own unit."""

import numpy as np

from repro.studies.strain_ae.figures import PUBLISHED_LEVELS, PUBLISHED_WIDTHS, across
from repro.studies.strain_ae.lattice import COMPONENTS


def metrics(error):
    found = {f"unseen/rms/{name}": error for name in COMPONENTS}
    return found | {f"limit/unseen/{name}": error / 2 for name in COMPONENTS}


def test_one_level_is_no_comparison():
    assert across({"noise_25": metrics(0.001)}) == {}


def test_strain_is_drawn_in_thousandths_and_rotation_in_degrees():
    figure = across({"noise_60": metrics(0.004), "noise_05": metrics(0.001)})["across_noise"]
    for ax, scale in zip(figure.axes, (1e3, 1e3, 1e3, 1), strict=True):
        lines = {line.get_label(): line.get_xydata() for line in ax.lines}
        np.testing.assert_allclose(lines["this variant"], [[5, 0.001 * scale], [60, 0.004 * scale]])
        np.testing.assert_allclose(
            lines["limit of one pattern"][:, 1], [0.0005 * scale, 0.002 * scale]
        )
        assert "with neighbours" not in lines, "what was not measured is not drawn"


def test_every_published_width_has_its_level():
    assert all(len(widths) == len(PUBLISHED_LEVELS) for widths in PUBLISHED_WIDTHS.values())
