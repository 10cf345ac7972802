import pytest

from repro.errors import ReproError
from repro.evaluation.regression import Margins, compare

SPREAD = [0.120, 0.124, 0.128]
NEW_CODE = {"code": "other"}


def only_row(comparison):
    (row,) = comparison.rows
    return row


def test_a_record_passes_against_itself(make_record):
    record = make_record({"mae": SPREAD, "r2": [0.9, 0.91, 0.92]})
    comparison = compare(record, record)
    assert (comparison.status, comparison.exit_status, comparison.changed) == ("passed", 0, ())


def test_a_collapse_fails(make_record):
    old = make_record({"r2": [0.99, 0.98, 0.99]}, better="higher")
    new = make_record({"r2": [0.10, 0.11, 0.10]}, better="higher", hashes=NEW_CODE)
    comparison = compare(old, new)
    assert (only_row(comparison).status, comparison.exit_status) == ("regression", 1)
    assert comparison.changed == ("code",)


def test_one_seed_that_collapses_cannot_widen_its_own_tolerance(make_record):
    old = make_record({"r2": [0.99, 0.98, 0.99]}, better="higher")
    new = make_record({"r2": [0.99, 0.98, 0.10]}, better="higher", hashes=NEW_CODE)
    assert compare(old, new).exit_status == 1


def test_a_move_within_the_spread_of_seeds_passes_when_the_code_changed(make_record):
    old, new = make_record({"mae": SPREAD}), make_record({"mae": [0.122, 0.126, 0.130]})
    moved = new.model_copy(update={"hashes": old.hashes.model_copy(update=NEW_CODE)})
    assert compare(old, moved).exit_status == 0
    assert compare(old, new).exit_status == 1  # nothing changed, so it ought to repeat


def test_a_rerun_on_a_gpu_without_determinism_may_scatter(make_record):
    old, new = make_record({"mae": SPREAD}), make_record({"mae": [0.122, 0.126, 0.130]})
    flags = old.environment.flags.model_copy(update={"determinism": False})
    gpu = old.environment.model_copy(update={"gpu": "Some GPU", "flags": flags})
    old, new = (record.model_copy(update={"environment": gpu}) for record in (old, new))
    assert compare(old, new).exit_status == 0


@pytest.mark.parametrize(
    ("hashes", "value", "exit_status"),
    [
        (NEW_CODE, 0.1009, 0),
        (NEW_CODE, 0.102, 1),
        ({"environment": "other"}, 0.102, 0),
        ({"environment": "other"}, 0.106, 1),
    ],
)
def test_a_single_seed_is_held_to_a_stated_margin_tighter_on_one_machine(
    make_record, hashes, value, exit_status
):
    old, new = make_record({"mae": [0.1]}), make_record({"mae": [value]}, hashes=hashes)
    assert compare(old, new).exit_status == exit_status


def test_margins_can_be_stated(make_record):
    old, new = make_record({"gap": [0.0]}), make_record({"gap": [0.001]}, hashes=NEW_CODE)
    assert compare(old, new).exit_status == 1
    assert compare(old, new, margins=Margins(absolute=0.002)).exit_status == 0


def test_a_metric_that_disappeared_fails(make_record):
    old, new = make_record({"mae": SPREAD, "r2": SPREAD}), make_record({"mae": SPREAD})
    comparison = compare(old, new)
    assert (comparison.exit_status, [r.metric for r in comparison.failures]) == (1, ["r2"])
    assert comparison.failures[0].status == "missing"


def test_a_seed_that_disappeared_from_one_metric_fails(make_record):
    old = make_record({"mae": SPREAD, "r2": SPREAD})
    new = make_record({"mae": SPREAD, "r2": SPREAD[:2]})
    (row,) = compare(old, new).failures
    assert (row.metric, row.status, row.reason) == ("r2", "missing", "no value for seed 2")


def test_a_run_that_failed_fails(make_record):
    new = make_record({}, status="failed", reason="the loss is not finite")
    comparison = compare(make_record({"mae": SPREAD}), new)
    assert comparison.exit_status == 1
    assert only_row(comparison).reason == "the run failed: the loss is not finite"


def test_a_new_metric_passes(make_record):
    comparison = compare(make_record({"mae": SPREAD}), make_record({"mae": SPREAD, "r2": SPREAD}))
    assert (comparison.exit_status, comparison.rows[1].status) == (0, "new")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_a_regression_even_where_lower_is_better(make_record, value):
    comparison = compare(make_record({"mae": SPREAD}), make_record({"mae": [value, 0.1, 0.1]}))
    assert (only_row(comparison).status, comparison.exit_status) == ("regression", 1)


def test_a_baseline_that_is_no_number_cannot_be_compared(make_record):
    old = make_record({"mae": [float("nan")]})
    assert compare(old, make_record({"mae": [0.1]})).exit_status == 2
    assert compare(old, old).exit_status == 1


def test_a_gain_that_nobody_acknowledged_fails_and_an_accepted_one_passes(make_record):
    old, new = make_record({"mae": SPREAD}), make_record({"mae": [0.05] * 3}, hashes=NEW_CODE)
    assert only_row(compare(old, new)).status == "unacknowledged gain"
    assert compare(old, new).exit_status == 1
    accepted = compare(old, new, accept_gain="wider network")
    assert (only_row(accepted).status, accepted.exit_status) == ("accepted gain", 0)
    assert accepted.accepted == "wider network"


def test_a_gain_that_no_hash_explains_fails_whatever_is_said_of_it(make_record):
    old, new = make_record({"mae": SPREAD}), make_record({"mae": [0.05] * 3})
    comparison = compare(old, new, accept_gain="luck")
    assert (only_row(comparison).status, comparison.exit_status) == ("unexplained gain", 1)


def test_an_accepted_gain_does_not_cover_a_regression(make_record):
    old = make_record({"mae": SPREAD, "other": SPREAD})
    new = make_record({"mae": [0.05] * 3, "other": [0.9] * 3}, hashes=NEW_CODE)
    assert compare(old, new, accept_gain="wider network").exit_status == 1


def test_an_empty_reason_is_refused(make_record):
    record = make_record({"mae": SPREAD})
    with pytest.raises(ReproError, match="reason"):
        compare(record, record, accept_gain=" ")


def test_a_metric_without_a_better_side_may_move_if_something_changed(make_record):
    old = make_record({"decline": [0.1]}, better="neither")
    new = make_record({"decline": [0.2]}, better="neither", hashes=NEW_CODE)
    same = make_record({"decline": [0.2]}, better="neither")
    assert (only_row(compare(old, new)).status, compare(old, new).exit_status) == ("changed", 0)
    assert compare(old, same).exit_status == 1


@pytest.mark.parametrize("field", ["study", "variant", "preset", "experiment"])
def test_another_protocol_is_not_comparable_and_the_figures_are_shown(make_record, field):
    old, new = make_record({"mae": SPREAD}), make_record({"mae": [9.0] * 3}, **{field: "other"})
    comparison = compare(old, new)
    assert (comparison.status, comparison.exit_status) == ("not comparable", 2)
    assert comparison.differences[0].startswith(f"{field} other instead of")
    assert only_row(comparison).candidate == 9.0


def test_other_data_are_not_comparable(make_record):
    old = make_record({"mae": SPREAD})
    data = old.data.model_copy(update={"fingerprint": "0" * 64})
    new = old.model_copy(update={"data": data})
    assert compare(old, new).exit_status == 2


def test_a_generator_that_changed_shows_on_one_machine_and_rounding_elsewhere_does_not(
    make_record,
):
    old = make_record({"mae": SPREAD})
    here = make_record({"mae": SPREAD}, hashes={"data": "other"})
    elsewhere = make_record({"mae": SPREAD}, hashes={"data": "other", "environment": "other"})
    assert "generator changed" in compare(old, here).differences[0]
    assert compare(old, elsewhere).exit_status == 0


@pytest.mark.parametrize(
    "meaning", [{"definition": "another"}, {"unit": "Å"}, {"better": "higher"}]
)
def test_a_metric_that_means_something_else_is_not_comparable(make_record, meaning):
    old, new = make_record({"mae": SPREAD}), make_record({"mae": [0.9] * 3}, **meaning)
    comparison = compare(old, new)
    assert (comparison.status, comparison.exit_status) == ("not comparable", 2)
    assert next(iter(meaning)) in only_row(comparison).reason


def test_a_failure_outweighs_a_metric_that_cannot_be_compared(make_record):
    old = make_record({"mae": SPREAD, "r2": SPREAD})
    new = make_record({"mae": SPREAD}, definition="another")
    assert compare(old, new).exit_status == 1


def test_a_baseline_that_failed_is_refused(make_record):
    failed = make_record({}, status="failed", reason="stopped")
    with pytest.raises(ReproError, match="baseline"):
        compare(failed, make_record({"mae": SPREAD}))
