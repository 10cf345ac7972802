from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.evaluation.metrics import Metric
from repro.evaluation.provenance import (
    OF_ARITHMETIC,
    command_line,
    environment,
    hash_data,
    hash_environment,
    hash_json,
    hash_metrics,
    hashes,
)

MAE = Metric(0.1, "1", "lower", "mean of |x - y|")


def test_metric_hash_follows_the_meaning_and_not_the_value():
    same = Metric(0.2, "1", "lower", "mean of |x - y|")
    assert hash_metrics({"mae": MAE}) == hash_metrics({"mae": same})
    for other in (
        Metric(0.1, "Å", "lower", "mean of |x - y|"),
        Metric(0.1, "1", "higher", "mean of |x - y|"),
        Metric(0.1, "1", "lower", "median of |x - y|"),
    ):
        assert hash_metrics({"mae": MAE}) != hash_metrics({"mae": other})
    assert hash_metrics({"mae": MAE}) != hash_metrics({"mse": MAE})


def test_configuration_hash_ignores_the_order_of_keys():
    assert hash_json({"a": 1, "b": [2]}) == hash_json({"b": [2], "a": 1})
    assert hash_json({"a": 1}) != hash_json({"a": 2})


@pytest.mark.parametrize("content", [{"a": {1, 2}}, {"a": float("nan")}, object()])
def test_a_configuration_that_json_cannot_state_is_refused(content):
    with pytest.raises(ReproError, match="JSON"):
        hash_json(content)


def test_data_hash_follows_spec_and_content(make_record):
    data = make_record({}).data
    for field in ("fingerprint", "checksum"):
        assert hash_data(data) != hash_data(data.model_copy(update={field: "0"}))


def test_environment_hash_ignores_the_memory_alone(make_record):
    here = make_record({}).environment
    assert hash_environment(here) == hash_environment(here.model_copy(update={"memory_gb": 1.0}))
    for change in ({"gpu": "Some GPU"}, {"packages": {}}, {"processor": "Another"}):
        assert hash_environment(here) != hash_environment(here.model_copy(update=change))


def test_rounding_to_tf32_is_told_and_moves_the_hash_on_a_gpu_alone(monkeypatch):
    import tensorflow as tf

    here = environment("float32", xla=False)
    assert here.flags.tf32 is False, "a processor has no such format"
    monkeypatch.setattr("repro.evaluation.provenance.gpu_name", lambda: "Some GPU")
    on_gpu = environment("float32", xla=False)
    assert on_gpu.flags.tf32 is tf.config.experimental.tensor_float_32_execution_enabled() is True
    assert hash_environment(on_gpu) != hash_environment(here)
    # Records from before the flag say nothing of it.
    flags = here.flags.model_dump(exclude={"tf32"})
    before = here.model_copy(update={"flags": type(here.flags)(**flags)})
    assert hash_environment(before) == hash_environment(here)


def test_another_way_of_taking_steps_moves_the_hash_and_records_from_before_keep_theirs():
    here = environment("float32", xla=False)
    on_device = environment("float32", xla=False, steps="on_device")
    assert hash_environment(on_device) != hash_environment(here)
    before = here.model_dump(exclude={"memory_gb"})
    del before["flags"]["steps"], before["flags"]["tf32"]
    assert hash_environment(here) == hash_json(before)


def test_five_hashes_tell_apart_what_changed(make_record):
    record = make_record({"mae": [0.1]})
    one = hashes("mamba", record.metrics, record.data, {"epochs": 1}, record.environment)
    two = hashes("mamba", record.metrics, record.data, {"epochs": 2}, record.environment)
    differing = {
        name for name in type(one).model_fields if getattr(one, name) != getattr(two, name)
    }
    assert differing == {"configuration"}


def test_command_is_what_a_reader_would_type():
    assert command_line(["run", "mamba", "--out", "/srv/ann/my run"]) == (
        "repro run mamba --out 'my run'"
    )


def test_environment_states_the_settings_in_force_and_nothing_personal():
    facts = environment(precision="float32", xla=False, world_size=2)
    assert facts.flags.backend in {"tensorflow", "jax", "torch"}
    assert facts.flags.world_size == 2
    assert facts.flags.determinism is False
    assert environment("float32", xla=False, determinism=True).flags.determinism is True
    text = facts.model_dump_json()
    assert Path.home().name not in text or Path.home().name in {"", "root"}


def test_variables_of_the_shell_that_move_numbers_move_the_hash(monkeypatch):
    # With oneDNN off the same code gave other numbers under the same hash.
    for name in OF_ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    plain = environment("float32", xla=False)
    assert plain.flags.variables == {}
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    assert environment("float32", xla=False) == plain, "a flag of its own tells that"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    other = environment("float32", xla=False)
    assert other.flags.variables == {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert hash_environment(other) != hash_environment(plain)
