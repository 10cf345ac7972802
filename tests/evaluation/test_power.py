import pytest

from repro.evaluation.power import power


def test_a_margin_far_above_the_spread_is_always_recognised_and_never_mistaken(
    make_claim, make_record
):
    told = power(make_claim(margin=0.05), [make_record({"mae": [0.123, 0.124, 0.125]})])
    assert told.recognised == 1
    assert told.mistaken == 0
    assert told.suffices


def test_a_margin_below_the_spread_recognises_nothing(make_claim, make_record):
    told = power(make_claim(), [make_record({"mae": [0.11, 0.124, 0.14]})])
    assert told.recognised < 0.1
    assert not told.suffices


def test_a_run_that_is_far_off_lends_no_spread(make_claim, make_record):
    # Errors of a network that finds nothing scatter by far more than those of one that does.
    claim = make_claim(margin=0.005)
    near, off = (
        make_record({"mae": [value - 0.0001, value, value + 0.0001]}) for value in (0.21, 0.24)
    )
    assert power(claim, [near]) is not None
    assert power(claim, [off]) is None


def test_the_share_that_is_recognised_follows_from_the_normal_distribution(make_claim, make_record):
    # No spread over seeds to speak of, and samples whose standard error is half the margin: the
    # estimate must come 1.96 standard errors or more above the threshold, two below the true value.
    claim = make_claim(kind="bound", better="higher", reported=0.8, margin=0.1)
    record = make_record({"mae": [0.8, 0.8, 0.8]}, reach=0.05 * 1.959964 / 0.95)
    told = power(claim, [record])
    assert told.recognised == pytest.approx(0.516, abs=0.03)
    assert told.mistaken < 0.001


def test_few_right_answers_tell_little(make_claim, make_record):
    claim = make_claim(kind="bound", better="higher", reported=0.98, margin=0.08)
    few, many = (
        power(claim, [make_record({"mae": [0.98, 0.98, 0.98]}, n_units=n, is_share=True)])
        for n in (20, 400)
    )
    assert few.recognised < 0.5
    assert many.suffices


def test_every_condition_must_hold_and_one_that_is_far_must_be_noticed(make_claim, make_record):
    fields = {"kind": "bound", "metric": "", "better": "higher", "reported": 0.8, "margin": 0.1}
    names = ["a", "b", "c", "d", "e"]
    record = make_record({name: [0.79, 0.8, 0.81] for name in names}, reach=0.06)
    one = power(make_claim(**fields | {"each": names[:1]}), [record])
    five = power(make_claim(**fields | {"each": names}), [record])
    assert five.recognised == pytest.approx(one.recognised**5, abs=0.05)
    assert five.mistaken < 0.05


def test_samples_count_as_at_the_papers_scale(make_claim, make_record):
    counts = {"train": 48000, "validation": 1000, "test": 500}
    desk = make_record({"mae": [0.124, 0.124, 0.124]}, reach=0.005, n_units=500, preset="desk")
    data = desk.data.model_copy(update={"counts": counts})
    desk = desk.model_copy(update={"data": data})
    small, large = (
        power(make_claim(data_protocol={"layers_12": {"data.counts.test": n}}), [desk]).recognised
        for n in (500, 50000)
    )
    assert small < large == 1


def test_a_stated_spread_goes_before_that_of_a_smaller_run(make_claim, make_record):
    record = make_record({"mae": [0.18, 0.20, 0.22]}, preset="desk")
    stated = {"seeds": 0.0005, "reason": "the published log"}
    assert power(make_claim(), [record]).recognised < 0.1
    told = power(make_claim(expected_spread=stated), [record])
    assert told.suffices
    assert told.source == "the claim"


def test_no_record_no_power(make_claim, make_record):
    assert power(make_claim(), []) is None
    assert power(make_claim(), [make_record({"mae": [0.124]})]) is None
