import pytest
import yaml
from scipy import stats

from repro.errors import ReproError
from repro.evaluation.gates import Gates, check_gates, load_gates

GATE = {
    "id": "mae",
    "statement": "The error is small.",
    "record": "ours",
    "metric": "mae",
    "at_most": 0.2,
    "reason": "fixed for this test",
}
RECORDS = {"ours": {"variant": "faithful"}, "theirs": {}}


def gate(**fields):
    """Return the fields of a gate without a bound, with some changed."""
    return {key: value for key, value in GATE.items() if key != "at_most"} | fields


def checked(gates, records, **more):
    content = {"records": RECORDS, "gates": gates, **more}
    return check_gates("mamba", Gates.model_validate(content), records)


@pytest.fixture
def check(make_record):
    """A function from a gate's fields and metrics of two records to the gate's result."""

    def run(fields, ours, theirs=None):
        records = {"ours": make_record(ours)}
        if theirs is not None:
            records["theirs"] = make_record(theirs)
        (result,) = checked([gate(**fields)], records)
        return result

    return run


@pytest.mark.parametrize(
    ("fields", "holds", "figure"),
    [
        ({"at_least": 0.25}, True, 0.25),
        ({"at_least": 0.26}, False, 0.25),
        ({"at_least": 0.5, "over": "mean"}, True, 0.5),
        ({"at_least": 0.51, "over": "mean"}, False, 0.5),
        ({"at_most": 0.75}, True, 0.75),
        ({"at_most": 0.74}, False, 0.75),
        ({"at_most": 0.5, "over": "mean"}, True, 0.5),
        ({"at_most": 0.49, "over": "mean"}, False, 0.5),
        # The 95 % interval is 0.5 ± 4.303 · 0.25 / √3.
        ({"at_least": -0.13, "over": "interval"}, True, -0.1210),
        ({"at_least": -0.12, "over": "interval"}, False, -0.1210),
        ({"at_most": 1.13, "over": "interval"}, True, 1.1210),
        ({"at_most": 1.12, "over": "interval"}, False, 1.1210),
    ],
)
def test_a_number_bounds_every_seed_the_mean_or_the_interval(check, fields, holds, figure):
    result = check(fields, {"mae": [0.25, 0.5, 0.75]})
    assert result.holds is holds
    assert result.figure == pytest.approx(figure, abs=1e-4)


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        # The worst seed of the one is no better than the best seed of the other.
        ({"below": "line"}, False),
        ({"below": "line", "times": 1.01}, True),
        ({"below": "line", "over": "mean"}, True),
        ({"below": "line", "over": "mean", "times": 0.6}, False),
        ({"above": "line", "over": "mean"}, False),
        ({"above": "line", "times": 0.33}, True),
        ({"above": "line", "times": 0.34}, False),
        # Seed by seed the difference is the same, so its interval has no width.
        ({"below": "line", "over": "interval"}, True),
        ({"above": "line", "over": "interval"}, False),
        ({"within": 0.125, "of": "line", "over": "mean"}, True),
        ({"within": 0.124, "of": "line", "over": "mean"}, False),
        ({"within": 0.125, "of": "line", "over": "interval"}, True),
        ({"within": 0.25, "of": "line"}, True),
        ({"within": 0.249, "of": "line"}, False),
    ],
)
def test_another_metric_of_the_record_bounds_it(check, fields, holds):
    assert check(fields, {"mae": [0.125, 0.25], "line": [0.25, 0.375]}).holds is holds


def test_another_record_bounds_it(check):
    fields = {"below": "theirs:mae"}
    assert check(fields, {"mae": [0.1, 0.2]}, {"mae": [0.3, 0.4, 0.21]}).holds
    assert not check(fields, {"mae": [0.1, 0.2]}, {"mae": [0.3, 0.4, 0.2]}).holds


def test_seeds_explain_a_difference_or_do_not(check):
    fields = {"indistinguishable_from": "theirs:mae"}
    ours, near, far = [0.100, 0.103, 0.106], [0.102, 0.104, 0.109], [0.200, 0.204, 0.209]
    result = check(fields, {"mae": ours}, {"mae": near})
    assert result.holds
    assert result.figure == pytest.approx(stats.ttest_ind(ours, near, equal_var=False).pvalue)
    assert not check(fields, {"mae": ours}, {"mae": far}).holds
    assert "two seeds" in check(fields, {"mae": [0.1]}, {"mae": [0.1]}).said


@pytest.mark.parametrize(
    ("values", "count", "holds", "said"),
    [
        ([0.9, 0.8, 0.7], 3, True, "r2/03: 0.7"),
        ([0.9, 0.5, 0.7], 3, False, "r2/02: 0.5"),
        ([0.9, 0.5, 0.6], 3, False, "r2/02: 0.5"),
        ([0.9, 0.8], 3, False, "2 of 3 metrics"),
        ([0.9, 0.8, 0.7], 2, False, "3 of 2 metrics"),
    ],
)
def test_every_metric_of_a_pattern_keeps_the_bound_and_none_is_missing(
    check, values, count, holds, said
):
    metrics = {f"r2/{i + 1:02d}": [value] for i, value in enumerate(values)}
    fields = {"metric": "r2/??", "count": count, "at_least": 0.7}
    result = check(fields, metrics | {"r2/lowest": [0.0]})
    assert result.holds is holds
    assert said in result.said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_finite_number_keeps_no_bound(check, value):
    for bound in ({"at_least": 0}, {"at_most": 1}, {"below": "line"}, {"above": "line"}):
        assert not check(bound, {"mae": [0.5, value], "line": [value, 0.5]}).holds


def test_stages_are_bounded_by_their_wall_time_together(make_record):
    timings = {"data": {"wall_s": 10.0}, "train a": {"wall_s": 20.0}, "train b": {"wall_s": 30.0}}
    records = {"ours": make_record({"mae": [0.1]}, timings=timings)}
    fields = {key: value for key, value in gate().items() if key != "metric"}
    for stages, seconds in (("*", 60), ("train *", 50), ("data", 10)):
        for limit in (seconds, seconds - 1):
            (result,) = checked([fields | {"stages": stages, "at_most": limit}], records)
            assert result.figure == seconds
            assert result.holds == (limit == seconds)
    (result,) = checked([fields | {"stages": "evaluate", "at_most": 60}], records)
    assert (result.holds, result.figure) == (False, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "improved"}, "variant improved instead of faithful"),
        ({"study": "other"}, "study other instead of mamba"),
        ({"status": "failed"}, "status failed instead of ok"),
    ],
)
def test_a_record_of_another_kind_says_nothing(make_record, changes, said):
    (result,) = checked([GATE], {"ours": make_record({"mae": [0.1]}, **changes)})
    assert not result.holds
    assert said in result.said


def test_a_record_that_is_missing_or_lacks_something_fails_the_gate(make_record, check):
    (result,) = checked([GATE], {})
    assert not result.holds
    assert "no record ours" in result.said
    assert "2 of the 3 seeds" in check({"at_most": 1, "seeds": 3}, {"mae": [0.1, 0.2]}).said
    assert "0 of 1 metrics" in check({"at_most": 1}, {"error": [0.1]}).said
    assert "no record theirs" in check({"below": "theirs:mae"}, {"mae": [0.1]}).said
    gap = make_record({"mae": [0.1], "line": [0.1, 0.2]})
    (result,) = checked([GATE], {"ours": gap})
    assert "every seed" in result.said


def test_only_the_gates_of_the_records_asked_about_are_checked(make_record):
    gates = Gates(records=RECORDS, gates=[GATE, GATE | {"id": "other", "record": "theirs"}])
    records = {name: make_record({"mae": [0.1]}) for name in RECORDS}
    results = check_gates("mamba", gates, records, about=["theirs"])
    assert [result.gate.id for result in results] == ["other"]


def write(path, gates, records=RECORDS):
    path.write_text(yaml.safe_dump({"records": records, "gates": gates}))
    return path


def test_a_study_without_the_file_has_no_gates(tmp_path):
    assert load_gates(tmp_path / "gates.yaml").gates == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at_most": "0.2"}, "mae.at_most"),
        ({"at_most": float("nan")}, "mae.at_most"),
        ({"at_most": None}, "one bound"),
        ({"at_least": 0.1}, "one bound"),
        ({"att_most": 0.1}, "mae.att_most"),
        ({"over": "median"}, "mae.over"),
        ({"seeds": 0}, "mae.seeds"),
        ({"reason": ""}, "mae.reason"),
        ({"metric": ""}, "mae: give either metric or stages"),
        ({"metric": "mae/*"}, "count"),
        ({"count": 2}, "count"),
        ({"stages": "data"}, "either metric or stages"),
        ({"metric": "", "stages": "data", "over": "mean"}, "over"),
        ({"times": 2}, "times"),
        ({"at_most": None, "within": 0.1}, "of"),
        ({"of": "line"}, "within"),
        ({"at_most": None, "indistinguishable_from": "line", "over": "mean"}, "over"),
        ({"record": "nowhere"}, "nowhere is not listed"),
        ({"at_most": None, "below": "nowhere:mae"}, "nowhere is not listed"),
    ],
)
def test_a_wrong_gate_is_named_with_file_and_field(tmp_path, change, said):
    with pytest.raises(ReproError, match=r"gates\.yaml") as error:
        load_gates(write(tmp_path / "gates.yaml", [GATE | change]))
    assert said in str(error.value)
    assert "mae" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_gate_id_used_twice_is_refused(tmp_path):
    with pytest.raises(ReproError, match="mae is used 2 times"):
        load_gates(write(tmp_path / "gates.yaml", [GATE, GATE]))
