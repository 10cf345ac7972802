import pytest

from repro.errors import ReproError
from repro.evaluation.verdicts import best_record, judge, metric_values

TIGHT = [-0.0005, 0.0, 0.0005]


def around(centre, shifts=TIGHT):
    return [centre + shift for shift in shifts]


@pytest.mark.parametrize(
    ("centre", "better", "status"),
    [
        (0.124, "lower", "reproduced"),
        (0.128, "lower", "reproduced"),
        (0.110, "lower", "better"),
        (0.140, "lower", "below"),
        (0.110, "higher", "below"),
        (0.140, "higher", "better"),
        (0.130, "lower", "inconclusive"),
    ],
)
def test_number_is_judged_by_where_the_whole_interval_lies(
    make_claim, make_record, centre, better, status
):
    verdict = judge(make_claim(better=better), [make_record({"mae": around(centre)})])
    assert verdict.status == status
    assert verdict.value == pytest.approx(centre)
    assert verdict.interval[0] < centre < verdict.interval[1]
    assert verdict.seeds == [0, 1, 2]
    assert verdict.source == "mamba faithful paper layers_12"


def test_scattered_seeds_cannot_pass_by_being_vague(make_claim, make_record):
    verdict = judge(make_claim(), [make_record({"mae": [0.114, 0.124, 0.134]})])
    assert verdict.status == "inconclusive"
    assert "13 - 3" not in verdict.reason
    assert "more seeds needed" in verdict.reason


def test_inconclusive_says_how_many_more_seeds_would_settle_it(make_claim, make_record):
    values = [0.121, 0.124, 0.127]
    verdict = judge(make_claim(margin=0.005), [make_record({"mae": values})])
    assert verdict.status == "inconclusive"
    assert verdict.reason.endswith("; 1 more seed needed")
    settled = judge(make_claim(margin=0.005), [make_record({"mae": [*values, 0.124]})])
    assert settled.status == "reproduced"


def test_a_single_seed_has_no_interval_and_is_inconclusive(make_claim, make_record):
    verdict = judge(make_claim(), [make_record({"mae": [0.124]})])
    assert (verdict.status, verdict.value, verdict.interval) == ("inconclusive", 0.124, None)
    assert verdict.reason == "1 of 3 seeds run; 2 more seeds needed"


def test_fewer_seeds_than_the_claim_asks_for_are_inconclusive(make_claim, make_record):
    verdict = judge(make_claim(), [make_record({"mae": [0.124, 0.1241]})])
    assert verdict.reason == "2 of 3 seeds run; 1 more seed needed"


@pytest.mark.parametrize(
    ("field", "value"), [("preset", "desk"), ("preset", "smoke"), ("variant", "improved")]
)
def test_another_preset_or_variant_is_never_judged_but_shown(make_claim, make_record, field, value):
    verdict = judge(make_claim(), [make_record({"mae": around(0.124)}, **{field: value})])
    assert verdict.status == "not comparable"
    assert f"{field} {value} instead of" in verdict.reason
    assert verdict.value == pytest.approx(0.124)
    assert verdict.interval is not None


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ({"data.counts.train": 100000}, "data.counts.train 90000 instead of 100000"),
        ({"networks.*.recipe.epochs": 40}, "networks.*.recipe.epochs 30 instead of 40"),
        ({"networks.*.recipe.loss": "mae"}, "networks.*.recipe.loss nothing instead of mae"),
        ({"data.parameters.n_layers": 16}, "data.parameters.n_layers 12 instead of 16"),
    ],
)
def test_a_protocol_that_differs_is_named_field_by_field(make_claim, make_record, protocol, said):
    verdict = judge(make_claim(protocol=protocol), [make_record({"mae": around(0.124)})])
    assert (verdict.status, verdict.reason) == ("not comparable", said)


def test_a_protocol_that_holds_is_judged(make_claim, make_record):
    protocol = {"data.counts.train": 90000, "networks.*.recipe.epochs": 30}
    record = make_record({"mae": around(0.124)})
    assert judge(make_claim(protocol=protocol), [record]).status == "reproduced"


def test_what_was_not_run_says_why(make_claim, make_record):
    failed = make_record({}, status="failed", reason="the loss is not finite")
    other = make_record({"mae": around(0.124)}, experiment="rough")
    lacking = make_record({"r2": around(0.9)})
    assert judge(make_claim(), []).reason == "no record of the experiment layers_12"
    assert judge(make_claim(), [other]).reason == "no record of the experiment layers_12"
    assert "failed: the loss is not finite" in judge(make_claim(), [failed]).reason
    assert "has no metric mae" in judge(make_claim(), [lacking]).reason
    for records in ([], [other], [failed], [lacking]):
        assert judge(make_claim(), records).status == "not run"


def test_a_metric_that_is_no_number_does_not_reproduce(make_claim, make_record):
    verdict = judge(make_claim(), [make_record({"mae": [0.124, float("nan"), 0.124]})])
    assert (verdict.status, verdict.value) == ("below", None)


@pytest.mark.parametrize(
    ("better", "centre", "status"),
    [
        ("lower", 0.4, "reproduced"),
        ("lower", 0.6, "below"),
        ("lower", 0.5003, "inconclusive"),
        ("higher", 0.6, "reproduced"),
        ("higher", 0.4, "below"),
    ],
)
def test_bound(make_claim, make_record, better, centre, status):
    claim = make_claim(kind="bound", reported=None, margin=None, limit=0.5, better=better)
    assert judge(claim, [make_record({"mae": around(centre)})]).status == status


@pytest.mark.parametrize(
    ("c", "small", "status"),
    [(0.9, 0.7, "reproduced"), (0.7, 0.9, "below"), (0.7, 0.7, "below")],
)
def test_order_within_one_record(make_claim, make_record, c, small, status):
    claim = make_claim(kind="order", order=["r2/c", "r2/small_atoms"])
    verdict = judge(claim, [make_record({"r2/c": around(c), "r2/small_atoms": around(small)})])
    assert verdict.status == status
    assert verdict.value == pytest.approx(c - small)


def test_order_pairs_the_seeds_so_a_spread_they_share_does_not_hide_it(make_claim, make_record):
    shared = [-0.2, 0.0, 0.2]
    metrics = {"r2/c": around(0.71, shared), "r2/small_atoms": around(0.70, shared)}
    claim = make_claim(kind="order", order=list(metrics))
    assert judge(claim, [make_record(metrics)]).status == "reproduced"


def test_order_that_seeds_disagree_on_is_inconclusive(make_claim, make_record):
    metrics = {"r2/c": [0.9, 0.7, 0.8], "r2/small_atoms": [0.7, 0.8, 0.7]}
    verdict = judge(make_claim(kind="order", order=list(metrics)), [make_record(metrics)])
    assert verdict.status == "inconclusive"
    assert "more seeds needed" in verdict.reason


def test_order_needs_every_neighbour_and_the_minimum_difference(make_claim, make_record):
    metrics = {"a": around(0.9), "b": around(0.8), "c": around(0.75)}
    records = [make_record(metrics)]
    order = list(metrics)
    assert judge(make_claim(kind="order", order=order), records).status == "reproduced"
    stricter = judge(make_claim(kind="order", order=order, minimum_difference=0.07), records)
    assert stricter.status == "below"
    assert "b exceeds c" in stricter.reason


def test_order_across_experiments_takes_each_metric_from_its_own_record(make_claim, make_record):
    claim = make_claim(kind="order", order=["layers_4:r2/c", "r2/c", "layers_24:r2/c"], seeds=3)
    values = {"layers_4": 0.99, "layers_12": 0.9, "layers_24": 0.7}
    records = [make_record({"r2/c": around(v)}, experiment=e) for e, v in values.items()]
    verdict = judge(claim, records)
    assert verdict.status == "reproduced"
    assert verdict.value == pytest.approx(0.09)
    assert verdict.source.count(";") == 2
    assert judge(claim, records[:2]).reason == "no record of the experiment layers_24"


def test_order_across_experiments_names_the_record_that_differs(make_claim, make_record):
    claim = make_claim(kind="order", order=["layers_4:r2/c", "r2/c"])
    records = [
        make_record({"r2/c": around(0.99)}, experiment="layers_4", preset="desk"),
        make_record({"r2/c": around(0.9)}),
    ]
    verdict = judge(claim, records)
    assert verdict.status == "not comparable"
    assert verdict.reason == "layers_4: preset desk instead of paper"
    assert verdict.value == pytest.approx(0.09)


def test_order_of_experiments_run_with_other_seeds_is_inconclusive(make_claim, make_record):
    one = make_record({"r2/c": around(0.99)}, experiment="layers_4")
    two = make_record({"r2/c": around(0.9)})
    moved = two.metrics["r2/c"].model_copy(update={"values": {"7": 0.9, "8": 0.9, "9": 0.9}})
    two = two.model_copy(update={"metrics": {"r2/c": moved}, "seeds": [7, 8, 9]})
    verdict = judge(make_claim(kind="order", order=["layers_4:r2/c", "r2/c"]), [one, two])
    assert (verdict.status, verdict.value) == ("inconclusive", None)


def test_a_name_that_ends_in_a_star_is_the_mean_of_all_that_match(make_record):
    record = make_record({"r2/c/01": [0.8, 0.9], "r2/c/02": [0.6], "r2/cx": [0.0, 0.0]})
    assert metric_values(record, "r2/c/*") == {0: pytest.approx(0.7)}
    assert metric_values(record, "r2/d/*") == {}


def test_the_record_closest_to_the_claim_is_judged(make_claim, make_record):
    ok = make_record({"mae": around(0.124)})
    others = [
        make_record({"mae": around(0.2)}, preset="smoke"),
        make_record({"mae": around(0.2)}, preset="desk"),
        make_record({"mae": around(0.1)}, variant="improved"),
        make_record({}, status="failed", reason="stopped"),
    ]
    assert judge(make_claim(), [ok, *others]).status == "reproduced"
    assert judge(make_claim(), [*others, ok]).status == "reproduced"
    assert best_record(make_claim(), "layers_12", others).preset == "desk"


def test_a_run_in_float32_is_judged_before_one_in_16_bits(make_claim, make_record):
    # The authors trained in float32; another format is our choice.
    record = make_record({"mae": around(0.124)})
    flags = record.environment.flags.model_copy(update={"precision": "mixed_bfloat16"})
    environment = record.environment.model_copy(update={"flags": flags})
    other = record.model_copy(update={"environment": environment})
    for records in ([record, other], [other, record]):
        assert best_record(make_claim(), "layers_12", records) is record


def test_records_of_two_studies_are_refused(make_claim, make_record):
    records = [make_record({"mae": [0.1]}), make_record({"mae": [0.1]}, study="strain_ae")]
    with pytest.raises(ReproError, match="its own study"):
        judge(make_claim(), records)
