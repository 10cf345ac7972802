"""Two files of timings: which side wins, and what fails."""

import pytest

from repro.bench.compare import compare, page
from repro.errors import ReproError


def results(comparison):
    return [(pair.result, pair.fails) for pair in comparison.pairs]


def test_a_speed_up_has_an_interval_and_says_who_wins(bench_row, bench_file):
    (pair,) = compare(bench_file(bench_row(0.2)), bench_file(bench_row(0.1))).pairs
    assert pair.speedup == pytest.approx(2)
    assert pair.low == pytest.approx(2 * 0.95 / 1.05)
    assert pair.high == pytest.approx(2 * 1.05 / 0.95)
    assert (pair.result, pair.fails) == ("B faster", False)


def test_slower_by_more_than_the_factor_fails(bench_row, bench_file):
    slower = compare(bench_file(bench_row(0.1)), bench_file(bench_row(0.15)), factor=1.2)
    assert results(slower) == [("A faster", True)]
    assert slower.exit_status == 1
    assert (
        compare(bench_file(bench_row(0.1)), bench_file(bench_row(0.15)), factor=2).exit_status == 0
    )


def test_what_lies_within_the_intervals_is_no_difference_and_does_not_fail(bench_row, bench_file):
    assert results(compare(bench_file(bench_row(0.1)), bench_file(bench_row(0.105)), 1.01)) == [
        ("no difference", False)
    ]


def test_a_lost_row_fails_and_a_new_one_does_not(bench_row, bench_file):
    both, one = bench_file(bench_row(), bench_row(phase="infer")), bench_file(bench_row())
    assert results(compare(both, one)) == [("no difference", False), ("lost", True)]
    assert results(compare(one, both)) == [("no difference", False), ("new", False)]


def test_another_definition_is_not_compared(bench_row, bench_file):
    assert results(
        compare(bench_file(bench_row()), bench_file(bench_row(9.0, definition="xyz")))
    ) == [("another network", False)]


def test_another_machine_is_named(bench_row, bench_file):
    comparison = compare(bench_file(bench_row()), bench_file(bench_row(), machine={"gpu": "H100"}))
    assert comparison.differing == ("gpu",)
    assert "gpu differ" in page(comparison, ("a.json", "b.json"))


def test_one_backend_is_compared_with_the_other(bench_row, bench_file):
    other = bench_file(bench_row(0.05, backend="jax"), machine={"backend": "jax"})
    assert results(compare(bench_file(bench_row(0.1)), other)) == [("B faster", False)]


def test_the_page_is_markdown_and_names_what_is_not_to_be_trusted(bench_row, bench_file):
    text = page(
        compare(bench_file(bench_row(0.1)), bench_file(bench_row(0.3, marks=["busy"]))),
        ("a.json", "b.json"),
    )
    assert "| 0.33 × (0.30 to 0.37) | FAILS: A faster (unreliable: busy) |" in text
    assert text.startswith("A is a.json, B is b.json: the same machine and software; the same code")


def test_nothing_in_common_and_a_factor_below_1_are_refused(bench_row, bench_file):
    with pytest.raises(ReproError, match="no row in common"):
        compare(bench_file(bench_row()), bench_file(bench_row(study="other")))
    with pytest.raises(ReproError, match="at least 1"):
        compare(bench_file(bench_row()), bench_file(bench_row()), factor=0.5)
