from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.evaluation.metrics import Metric
from repro.evaluation.provenance import (
    code_files,
    command_line,
    environment,
    hash_code,
    hash_data,
    hash_environment,
    hash_json,
    hash_metrics,
    hashes,
)

MAE = Metric(0.1, "1", "lower", "mean of |x - y|")


@pytest.fixture
def package(tmp_path):
    """A package laid out as ours, with two studies and no git anywhere."""
    files = ("seeds.py", "cli.py", "training/fit.py", "reporting/report.py", "bench/flops.py")
    studies = ("studies/__init__.py", "studies/one/model.py", "studies/two/model.py")
    for name in (*files, *studies, "studies/one/claims.yaml"):
        path = tmp_path / "repro" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return tmp_path / "repro"


def test_code_that_can_move_a_number_is_hashed_and_no_other(package):
    names = [file.relative_to(package).as_posix() for file in code_files("one", package)]
    assert names == ["seeds.py", "studies/__init__.py", "studies/one/model.py", "training/fit.py"]


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("seeds.py", True),
        ("training/fit.py", True),
        ("studies/one/model.py", True),
        ("studies/two/model.py", False),
        ("reporting/report.py", False),
        ("cli.py", False),
        ("studies/one/claims.yaml", False),
    ],
)
def test_code_hash_follows_what_matters(package, name, matters):
    before = hash_code("one", package)
    (package / name).write_text("x = 1\n")
    assert (hash_code("one", package) != before) == matters


def test_code_hash_sees_a_file_that_is_renamed_or_added(package):
    before = hash_code("one", package)
    (package / "studies/one/model.py").rename(package / "studies/one/network.py")
    renamed = hash_code("one", package)
    (package / "studies/one/new.py").write_text("")
    assert len({before, renamed, hash_code("one", package)}) == 3


def test_code_hash_ignores_the_line_ends_of_the_checkout(package):
    before = hash_code("one", package)
    for file in package.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert hash_code("one", package) == before


def test_code_hash_of_an_unknown_study_is_refused(package):
    with pytest.raises(ReproError, match="no study 'three'"):
        hash_code("three", package)


def test_code_of_this_package_can_be_hashed():
    assert hash_code("mamba") == hash_code("mamba")


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
