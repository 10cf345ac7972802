import pytest

from repro.reporting.forest import forest, margins_from_reported, stretched
from repro.reporting.tables import claim_rows


@pytest.fixture(scope="module")
def rows(gallery):
    folder, entries, studies = gallery
    return {row.claim: row for s in studies.values() for row in claim_rows(s, entries, folder)}


def test_paper_is_0_its_margin_1_and_better_positive(rows):
    # A sign or a scale that is wrong turns a failure into a success.
    lower = margins_from_reported(rows["mae_imaginary"])  # 0.1171 of 0.1231 with margin 0.003
    assert lower[0] == pytest.approx((0.1231 - 0.117133) / 0.003, abs=1e-3)
    assert lower[1] < lower[0] < lower[2]
    assert margins_from_reported(rows["mae_24"])[2] < -1
    higher = margins_from_reported(rows["r2_top"])  # 0.9493 of 0.95 with margin 0.002
    assert higher[0] == pytest.approx((0.949333 - 0.95) / 0.002, abs=1e-3)


def test_each_claim_with_a_number_has_a_row_on_the_axis(rows):
    # A row that is left out, or a mark outside the axis, would hide a result.
    plot = forest(list(rows.values()))
    shown = {row.claim.claim for row in plot.rows}
    placed = {n for n, r in rows.items() if r.value is not None and r.reported is not None}
    assert shown == placed
    for row in plot.rows:
        assert 0 <= row.low <= row.point <= row.high <= 100
    places = dict(plot.ticks)
    assert places["0"] == 50
    assert plot.band == (places["−1"], places["1"])
    assert [place for _, place in plot.ticks] == sorted(places.values())


def test_axis_is_linear_up_to_1_and_logarithmic_beyond():
    # The page says so.
    assert [stretched(x) for x in (-0.5, 0, 1)] == [-0.5, 0, 1]
    assert stretched(100) == pytest.approx(3)
    assert stretched(-10) == pytest.approx(-2)


def test_no_numbers_no_plot(rows):
    # An empty axis would look like a fault.
    assert forest([rows["plateau"], rows["mae_rough"]]) is None
