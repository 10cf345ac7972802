"""The face that others script against: commands, exit statuses, what goes to which stream."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

import repro
from repro import cli
from repro.errors import NotPossibleHere, ReproError
from repro.evaluation.records import read_record, write_record
from repro.reporting.costs import cost_of
from repro.runs import baselines, reproduce, training, whole
from repro.runs.choices import Choices
from repro.runs.folder import held
from repro.study import get_study

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).parents[1] / "results"
COMMANDS = (
    "list", "info", "train", "evaluate", "run", "reproduce", "claims", "compare", "report",
    "sysinfo", "data", "gates", "carry", "queue", "merge", "pack", "unpack",
)  # fmt: skip


def call(*arguments):
    """Run a command as the shell would, without a new process."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def done(*arguments):
    """Run a command that must succeed; return what it prints on stdout."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def refused(*arguments, status=2):
    """Run a command that must fail; return the sentence that says why."""
    result = call(*arguments)
    assert result.exit_code == status, (result.stdout, result.stderr, result.exception)
    assert result.stdout == "", "an error is no result"
    assert "Traceback" not in result.stderr
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def finished(springs, tmp_path_factory):
    """The folder of a whole run of the smallest study, two seeds."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    done("run", springs, "--seeds", "0,1", "--out", folder, "--quiet")
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that run, to be played with."""
    return shutil.copytree(finished, tmp_path / "run")


def test_help_is_quick_and_loads_no_network_library():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from repro.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'matplotlib', 'pandas', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    command = [sys.executable, "-m", "repro", "--help"]
    assert min(_processor_time_of(command) for _ in range(2)) < 1.0


def _processor_time_of(command):
    """Return what a command takes of the processor [s]: a busy machine does not count."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_names_every_command():
    text = done("--help")
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", text, re.MULTILINE), command
        assert "Usage" in done(command, "--help")


ANSWERED_AT_ONCE = {  # exit statuses by command
    "list": 0,
    "info mamba": 0,
    "run mamba --precision fp16": 2,
    "run mamba --preset huge": 2,
    "run mamba --data none.h5": 2,
    "train mamba --set recipe.foo=1": 2,
    "train mamba --seeds 0,0": 2,
    "train mamba --steps leaps": 2,
    "train rheed_translator --data none.npz": 2,
    "evaluate none": 2,
    "apply none --data image.png --out readings.csv": 2,
    "compare a.json b.json": 2,
    "merge none other --out run": 2,
    "pack none --out parts": 2,
    "unpack none --out run": 2,
    "queue --study none": 2,
    "report --records none --out report.html": 2,
    "serve mamba": 2,
    "serve rheed_translator": 2,
    "serve rheed_translator none": 2,
}


def test_a_wrong_option_is_refused_before_a_network_library_is_loaded(tmp_path):
    # To load TensorFlow takes twenty seconds, on a slow disk a minute.
    code = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from repro.cli import app\n"
        "heavy, found = {'keras', 'tensorflow', 'jax', 'matplotlib'}, {}\n"
        "for command in sys.argv[1:]:\n"
        "    ran = CliRunner().invoke(app, command.split())\n"
        "    found[command] = [ran.exit_code, sorted(heavy & set(sys.modules))]\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", code, *ANSWERED_AT_ONCE]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    expected = {command: [status, []] for command, status in ANSWERED_AT_ONCE.items()}
    assert json.loads(ran.stdout) == expected
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


def test_list_gives_the_studies_as_json(springs):
    studies = {study["name"]: study for study in json.loads(done("list", "--json"))}
    assert {"mamba", springs} <= set(studies)
    assert studies[springs]["variants"] == ["faithful", "improved"]
    assert studies[springs]["presets"] == ["smoke", "desk", "paper"]
    assert springs in done("list")


def test_info_tells_paper_claims_data_and_deviations(springs):
    facts = json.loads(done("info", springs, "--json"))
    assert facts["paper"]["authors"] == ["Hooke"]
    assert [claim["id"] for claim in facts["claims"]] == ["error"]
    page = done("info", springs)
    for text in ("Hooke", "n_loads = 4", "error: The stiffness", "There is no such paper"):
        assert text in page


def test_info_has_no_heading_without_entries(decays):
    page = done("info", decays)
    assert "Time constants" in page
    assert ":\n\n" not in page, "a study that can do no more than it must would show an empty list"


def test_sysinfo_names_no_host_and_no_user():
    import getpass
    import platform

    facts = json.loads(done("sysinfo", "--json"))
    assert {"python", "packages", "processor", "cores", "memory_gb", "gpu"} <= set(facts)
    assert platform.node() not in facts.values()
    assert getpass.getuser() not in facts.values()
    assert "processor" in done("sysinfo")


def test_an_unknown_study_is_refused_with_those_there_are(tmp_path):
    assert "the studies are" in refused("train", "nothing", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--variant", "perfect"], "no variant 'perfect'"),
        (["--preset", "huge"], "no preset 'huge'"),
        (["--experiment", "none_such"], "no experiment 'none_such'"),
        (["--set", "n_loads"], "write it as KEY=VALUE"),
        (["--set", "n_loads=4", "--set", "n_loads=5"], "given twice"),
        (["--set", "n_loads=four"], "takes a whole number"),
        (["--set", "loads=4"], "no parameter 'loads'"),
        (["--seeds", "0,0"], "different whole numbers"),
        (["--seeds", "one"], "different whole numbers"),
        (["--seed", "0", "--seeds", "1"], "give one of them"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(springs, tmp_path, options, reason):
    assert reason in refused("run", springs, *options, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set", "recipe.epoch=2"], "a recipe has only epochs"),
        (["--set", "recipe.epochs=few"], "recipe.epochs=few"),
        (["--precision", "float8"], "Precision 'float8' is not known"),
    ],
)
def test_a_wrong_recipe_is_refused_before_training(springs, tmp_path, options, reason):
    assert reason in refused("train", springs, *options, "--out", tmp_path / "run", "--quiet")
    assert not (tmp_path / "run" / "seed-0").exists()


def test_an_unknown_option_is_wrong_use(springs):
    result = call("train", springs, "--epochs", "3")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_no_command_shows_the_help_and_is_wrong_use():
    assert call().exit_code == 2


def test_what_a_machine_cannot_do_has_its_own_exit_status(monkeypatch):
    def refuse():
        raise NotPossibleHere("There is no GPU here.")

    monkeypatch.setattr("repro.bench.device.sysinfo", refuse)
    assert refused("sysinfo", status=3) == "error: There is no GPU here."


def test_a_data_set_is_built_told_about_and_verified(springs, tmp_path):
    file = tmp_path / "data.h5"
    result = call("data", "build", springs, "--out", file, "--set", "train=10", "--seed", "3")
    assert result.exit_code == 0
    assert "samples: 10 train" in result.stdout
    assert "data springs smoke" in result.stderr, "progress belongs on stderr"
    with h5py.File(file) as opened:
        assert opened["elongation"].shape == (42, 4)
    facts = json.loads(done("data", "info", file, "--json"))
    assert (facts["seed"], facts["counts"]["train"]) == (3, 10)
    assert "every variable" in done("data", "verify", file)


def test_a_damaged_data_set_fails_the_gate(finished, tmp_path):
    file = shutil.copy(finished / "data.h5", tmp_path / "data.h5")
    with h5py.File(file, "r+") as opened:
        opened["stiffness"][3] += 1
    assert "'stiffness'" in refused("data", "verify", file, status=1)


def test_a_data_set_can_be_described_in_croissant(springs, finished, tmp_path):
    described = json.loads(done("data", "croissant", springs))
    assert described["@type"].endswith("Dataset")
    out = tmp_path / "springs.json"
    assert done("data", "croissant", springs, "--data", finished / "data.h5", "--out", out) == ""
    assert json.loads(out.read_text(encoding="utf-8"))["name"] == described["name"]


def test_a_run_writes_all_it_promises(finished):
    for file in (
        "data.h5", "record.json", "figures/found.svg", "seed-0/run.json",
        "seed-1/evaluation.npz", "seed-1/networks/stiffness/history.csv",
    ):  # fmt: skip
        assert (finished / file).is_file(), file
    record = json.loads((finished / "record.json").read_text(encoding="utf-8"))
    assert record["status"] == "ok"
    assert set(record["metrics"]["error"]["values"]) == {"0", "1"}
    assert record["timings"].keys() == {"data", "train stiffness", "evaluate"}
    assert record["networks"]["stiffness"]["parameters"] == 25
    assert record["metrics"]["error"]["sampled"]["n_units"] == record["data"]["counts"]["test"]


def test_a_run_states_its_resolved_configuration(finished):
    stated = json.loads((finished / "seed-1" / "run.json").read_text(encoding="utf-8"))
    assert stated["seed"] == 1
    assert stated["choices"]["variant"] == "faithful"
    assert stated["recipes"]["stiffness"]["precision"] == "float32"
    assert stated["data"].keys() == {"name", "version", "fingerprint", "checksum"}


def test_a_record_holds_no_path_of_this_machine(finished):
    text = (finished / "record.json").read_text(encoding="utf-8")
    assert str(finished.parent) not in text
    assert json.loads(text)["command"] == (
        "repro run springs --variant faithful --preset smoke --experiment few_loads "
        "--seeds 0,1 --out run"
    )


def test_evaluating_again_gives_the_same_record_but_for_the_time(copied):
    before = json.loads((copied / "record.json").read_text(encoding="utf-8"))
    (copied / "record.json").unlink()
    after = json.loads(done("evaluate", copied, "--json", "--quiet"))
    assert before.pop("seal"), "which covers the time too"
    for record in (before, after):
        record["timings"].pop("evaluate")
        assert record.pop("date")
    assert after == before
    assert (copied / "record.json").exists()


def test_training_again_on_the_same_folder_trains_nothing_anew(copied, springs):
    weights = copied / "seed-0" / "networks" / "stiffness" / "best.weights.h5"
    before = (weights.stat().st_mtime_ns, weights.read_bytes())
    assert done("train", springs, "--seeds", "0,1", "--out", copied, "--quiet") == f"{copied}\n"
    assert (weights.stat().st_mtime_ns, weights.read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--variant", "improved"], "choices.variant"),
        (["--set", "recipe.epochs=3"], "recipes.stiffness.epochs"),
        (["--precision", "mixed_bfloat16"], "recipes.stiffness.precision"),
        (["--experiment", "many_loads"], "experiment"),
        (["--seed", "7", "--variant", "improved"], "choices.variant"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(copied, springs, options, reason):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert reason in refused("train", springs, *options, "--out", copied, "--quiet")
    assert {p: p.stat().st_mtime_ns for p in copied.rglob("*") if p.is_file()} == before


def test_a_run_can_use_a_data_set_built_before(finished, springs, tmp_path):
    folder = tmp_path / "run"
    data = finished / "data.h5"
    train = ("train", springs, "--out", folder, "--data", data, "--quiet")
    done(*train, "--set", "recipe.epochs=1")
    assert not (folder / "data.h5").exists()
    assert "--data FILE" in refused("evaluate", folder, "--quiet")
    record = json.loads(done("evaluate", folder, "--data", data, "--json", "--quiet"))
    assert record["command"].endswith("--set recipe.epochs=1 --data data.h5 --out run")
    assert len(record["curves"]["stiffness"]["0"]["loss"]) == 1
    assert "data" not in record["timings"], "it was not built in this run"


def test_a_record_holds_the_commands_that_make_it_again_from_nothing(
    springs, tmp_path, monkeypatch
):
    # A command that names a file nobody can build is no way to the same numbers.
    first, again = tmp_path / "first", tmp_path / "again"
    records = []
    first.mkdir()
    monkeypatch.chdir(first)
    build = ("--experiment", "many_loads", "--seed", "5", "--set", "n_loads=6")
    done("data", "build", springs, *build, "--out", "loads.h5", "--quiet")
    few = ("--set", "n_loads=6", "--set", "recipe.epochs=1")
    done("run", springs, *few, "--experiment", "many_loads", "--data", "loads.h5", "--out", "run",
         "--quiet")  # fmt: skip
    records.append(read_record(first / "run" / "record.json"))
    again.mkdir()
    monkeypatch.chdir(again)
    for command in (records[0].data_command, records[0].command):
        program, *words = shlex.split(command)
        assert program == "repro"
        done(*words, "--quiet")
    records.append(read_record(again / "run" / "record.json"))
    assert records[1].metrics == records[0].metrics
    assert records[1].hashes == records[0].hashes
    assert records[1].data_command == records[0].data_command


def test_a_record_says_when_and_by_which_commit_it_was_made(finished):
    record = read_record(finished / "record.json")
    days = {(datetime.now(UTC) - timedelta(days=n)).date().isoformat() for n in (0, 1)}
    assert record.date in days
    assert re.fullmatch(r"[0-9a-f]{12}( and changes)?|repro [\d.]+", record.commit)
    assert record.data_command == "", "the run built its own"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--preset", "desk"], "preset smoke, this run asks for desk"),
        (["--experiment", "many_loads"], "experiment few_loads"),
        (["--set", "n_loads=5"], "other parameters"),
    ],
)
def test_a_data_set_of_another_kind_is_refused(finished, springs, tmp_path, options, reason):
    data = ("--data", finished / "data.h5")
    message = refused("train", springs, *data, *options, "--out", tmp_path / "run", "--quiet")
    assert reason in message


def test_evaluating_an_empty_folder_says_what_to_do(tmp_path):
    assert "make one with `repro train`" in refused("evaluate", tmp_path)


def test_a_training_that_did_not_end_cannot_be_evaluated(copied):
    (copied / "seed-1" / "networks" / "stiffness" / "done.json").unlink()
    before = (copied / "record.json").read_bytes()
    refused("evaluate", copied, "--quiet")
    assert (copied / "record.json").read_bytes() == before


def test_a_seed_under_the_name_of_another_is_refused(copied):
    # A copied folder counted as a second seed that agreed with the first to the last bit.
    shutil.copytree(copied / "seed-0", copied / "seed-7")
    assert "seed-7/run.json is of seed 0" in refused("evaluate", copied, "--quiet")


def test_a_network_under_the_seed_of_another_is_refused(copied):
    shutil.rmtree(copied / "seed-1" / "networks")
    shutil.copytree(copied / "seed-0" / "networks", copied / "seed-1" / "networks")
    assert "trained as seed 0, not 1" in refused("evaluate", copied, "--quiet")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data.seconds", "soon"),
        ("data.seconds", "nan"),
        ("seed-1/networks/stiffness/done.json", "{}"),
        ("seed-1/networks/stiffness/configuration.json", '{"recipe": {}}'),
        ("seed-1/networks/stiffness/history.csv", "epoch,loss\n1,0.1,0.2\n"),
        ("seed-1/networks/stiffness/history.csv", "epoch,loss\n1,nan\n"),
        ("seed-1/networks/stiffness/history.csv", ""),
        ("seed-1/run.json", "[]"),
    ],
)
def test_a_small_file_of_a_run_that_is_damaged_is_named(copied, file, content):
    # Each of them ended in a traceback with the status of a failed gate.
    (copied / file).write_text(content, encoding="utf-8")
    assert Path(file).name in refused("evaluate", copied, "--quiet")


def test_a_damaged_run_file_is_named(copied):
    (copied / "seed-1" / "run.json").write_text("{", encoding="utf-8")
    assert "seed-1/run.json is damaged" in refused("evaluate", copied, "--quiet")


def test_a_run_that_fails_leaves_a_record_that_says_why(springs, tmp_path, monkeypatch):
    def diverge(*arguments):
        raise ReproError("The loss became nan.")

    monkeypatch.setattr(training, "train_task", diverge)
    message = refused("run", springs, "--out", tmp_path / "run", "--quiet")
    assert message == "error: The loss became nan."
    record = json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))
    assert (record["status"], record["reason"]) == ("failed", "The loss became nan.")


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_file_in_the_place_of_a_folder_is_left_alone(springs, tmp_path, command):
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")
    assert str(file) in refused(command, springs, "--out", file, "--quiet")
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_data_set_can_go_into_a_folder_that_is_not_there_yet(springs, tmp_path):
    file = tmp_path / "new" / "folder" / "data.h5"
    done("data", "build", springs, "--out", file, "--quiet")
    assert file.is_file()


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(springs, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_task", interrupt)
    result = call("train", springs, "--out", tmp_path / "run", "--quiet")
    assert result.exit_code == 130
    assert "same command again" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_record_passes_against_itself_and_not_against_a_worse_one(copied, tmp_path):
    good = copied / "record.json"
    comparison = json.loads(done("compare", good, good, "--json"))
    assert comparison["status"] == "passed"
    record = read_record(good)
    metric = record.metrics["error"].model_copy(update={"values": {"0": 90.0, "1": 90.1}})
    worse = record.model_copy(update={"metrics": record.metrics | {"error": metric}})
    bad = write_record(worse, tmp_path / "bad.json")
    result = call("compare", good, bad)
    assert result.exit_code == 1
    assert "regression" in result.stdout


def test_verify_says_the_cost_first_and_then_judges(springs, tmp_path):
    command = ("verify", f"{springs}/error", "--preset", "smoke", "--out", tmp_path, "--seed", "0")
    told = call(*command, "--dry-run", "--results", RESULTS)
    assert told.exit_code == 0
    assert "disk" in told.stderr
    assert list(tmp_path.iterdir()) == [], "a dry run leaves nothing"
    facts = json.loads(done(*command, "--results", RESULTS, "--quiet", "--json"))
    assert facts["costs"][0]["disk_gb"] > 0
    assert facts["outcome"]["status"] == "not run", "a smoke run says nothing of the paper"
    (run,) = tmp_path.iterdir()
    assert read_record(run / "record.json").experiment == "few_loads"
    (line,) = done(*command, "--results", RESULTS, "--quiet").splitlines()
    assert line.startswith(f"{springs}/error: ")


def test_verify_knows_what_it_costs_from_records_and_refuses_what_is_not_there():
    costs = json.loads(
        done(
            *("verify", "mamba/field_mae_real", "--preset", "desk", "--seeds", "0,1"),
            *("--results", RESULTS, "--dry-run", "--json"),
        )
    )["costs"]
    timings = read_record(RESULTS / "records/mamba-faithful-desk/record.json").timings
    per_seed = sum(t.wall_s for name, t in timings.items() if name != "data") / 3
    assert costs[0]["training_s"] == pytest.approx(2 * per_seed)
    assert "mamba/field_mae_real?" in refused("verify", "mamba/field_mae_reel")


@pytest.mark.parametrize("command", ["run", "train"])
def test_at_the_papers_scale_the_cost_is_said_before_anything_starts(
    springs, tmp_path, monkeypatch, command
):
    folder, started = tmp_path / "run", []
    monkeypatch.setattr(whole, command if command == "run" else "prepare_and_train",
                        lambda *a: started.append(sorted(tmp_path.iterdir())))  # fmt: skip
    result = call(command, springs, "--preset", "paper", "--out", folder, "--quiet")
    (line,) = result.stderr.splitlines()[:1]
    assert re.match(r"few_loads: disk \S+ GB of \S+ GB free; data", line)
    assert started == [[]], "said first, nothing made"
    started.clear()
    assert call(command, springs, "--out", folder, "--quiet").stderr == ""


def test_the_cost_comes_from_a_record_else_from_the_queue_and_counts_the_seeds(tmp_path):
    record = read_record(RESULTS / "records" / "mamba-faithful-paper" / "record.json")
    choices = Choices(study="mamba", preset="paper", experiment=record.experiment)
    one, three = (cost_of(choices, n, tmp_path, RESULTS) for n in (1, 3))
    seconds = sum(t.wall_s for stage, t in record.timings.items() if stage != "data")
    assert one.training_s == pytest.approx(seconds / len(record.seeds))
    assert three.training_s == pytest.approx(3 * one.training_s)
    assert one.measured_on == record.environment.gpu
    assert one.disk_gb == pytest.approx(4.72, rel=0.01)
    queued = get_study("strain_ae").paper_runs.runs[0]
    asked = Choices(study="strain_ae", variant=queued.variant, preset="paper",
                    experiment=queued.experiment, networks=tuple(queued.networks))  # fmt: skip
    assert "queue" in cost_of(asked, 1, tmp_path, RESULTS).measured_on
    parts = get_study("interface_dcnn").paper_runs.runs
    every = Choices(study="interface_dcnn", preset="paper", experiment="b_site")
    separately = [
        cost_of(every.model_copy(update={"networks": tuple(run.networks)}), 1, tmp_path, RESULTS)
        for run in parts
    ]
    together = cost_of(every, 1, tmp_path, RESULTS).training_s
    assert together == pytest.approx(sum(cost.training_s for cost in separately))
    elsewhere = cost_of(choices, 1, tmp_path, tmp_path / "no results")
    assert elsewhere.training_s is None
    assert "no record tells" in elsewhere.said


def test_data_that_are_there_cost_nothing(springs, finished):
    choices = Choices(study=springs, preset="smoke")
    cost = cost_of(choices, 1, finished, RESULTS)
    assert (cost.disk_gb, cost.data_s) == (0, 0)
    assert "is there" in cost.said


def test_only_changed_leaves_out_what_stayed(copied):
    good = copied / "record.json"
    assert json.loads(done("compare", good, good, "--json", "--only-changed"))["rows"] == []
    assert "Nothing moved" in done("compare", copied, good, "--only-changed")


def test_the_version_and_the_help_have_the_usual_names():
    assert done("--version").split() == ["repro", repro.__version__]
    assert done("-h") == done("--help")
    assert done("compare", "-h") == done("compare", "--help")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        (("info", "mambo"), "mamba"),
        (("run", "mamba", "--preset", "desc"), "desk"),
        (("run", "mamba", "--variant", "faitful"), "faithful"),
        (("run", "mamba", "--experiment", "layers12"), "layers_12"),
    ],
)
def test_a_name_that_is_nearly_right_is_guessed(wrong, meant):
    assert f"Did you mean {meant}?" in refused(*wrong)
    assert "Did you mean" not in refused(*wrong[:-1], "zzz")


def test_claims_elsewhere_are_judged_by_the_records_that_came_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("claims", "--study", "mamba", "--json")
    assert "came with" in result.stderr
    assert {row["status"] for row in json.loads(result.stdout)} != {"not run"}


def test_a_report_is_a_page_of_records(tmp_path):
    assert ".html" in refused("report", "--records", RESULTS, "--out", tmp_path / "x.txt")
    (tmp_path / "empty").mkdir()
    assert "no record" in refused(
        "report", "--records", tmp_path / "empty", "--out", tmp_path / "x.html"
    )
    assert not list(tmp_path.glob("x.*"))


def test_comparing_what_is_no_record_is_bad_input(finished, tmp_path):
    assert "none.json" in refused("compare", finished / "record.json", tmp_path / "none.json")


def test_gates_are_checked_on_the_baseline_records_and_fail_without_them(tmp_path):
    rows = json.loads(done("gates", "--results", RESULTS, "--json"))
    assert all(row["holds"] and row["said"] for row in rows)
    text = done("gates", "--results", RESULTS, "--study", "mamba")
    assert text.endswith(f"0 of {sum(row['study'] == 'mamba' for row in rows)} gates failing.\n")
    result = call("gates", "--results", tmp_path)
    assert result.exit_code == 1
    assert "there is no record" in result.stdout


def test_a_code_is_not_carried_by_a_run_of_that_code(finished, tmp_path):
    record = finished / "record.json"
    assert "same code" in refused("carry", record, record, "--results", tmp_path, status=1)


def test_claims_are_judged_by_the_records_in_a_folder(finished):
    rows = json.loads(done("claims", "--records", finished.parent, "--json"))
    by_claim = {(row["study"], row["claim"]): row for row in rows}
    springs = by_claim["springs", "error"]
    assert springs["status"] == "not run", "a smoke run says nothing of the paper"
    assert "smoke" in springs["reason"]
    assert {row["status"] for row in rows if row["study"] == "mamba"} == {"not run"}
    assert "○ not run" in done("claims", "--records", finished.parent, "--study", "springs")
    some = done("claims", "--records", finished.parent, "--status", "not run", "--json")
    assert {row["status"] for row in json.loads(some)} == {"not run"}
    assert "There is no folder" in refused("claims", "--records", finished / "nowhere")


def test_the_report_is_written(finished, tmp_path):
    out = tmp_path / "report.html"
    assert done("report", "--out", out, "--records", finished.parent).strip() == str(out)
    assert "Stiffness of springs" in out.read_text(encoding="utf-8")


def test_a_second_run_in_a_busy_folder_is_refused_and_writes_nothing(copied, springs):
    # It wrote a record that says "failed" into the run that the first was at.
    (copied / "record.json").unlink()
    with held(copied):
        for command in (("run", springs), ("train", springs)):
            options = ("--seeds", "0,1", "--out", copied, "--quiet")
            assert "Another process is at work" in refused(*command, *options)
        assert "Another process is at work" in refused("evaluate", copied, "--quiet")
    assert not (copied / "record.json").exists()
    done("evaluate", copied, "--quiet")


def test_of_a_folder_that_was_empty_only_the_lock_goes(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new"):
        with held(tmp_path / name):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not list((tmp_path / "mine").iterdir())


def test_a_run_of_other_code_is_no_failure_of_the_run_that_is_there(copied, springs):
    (copied / "record.json").unlink()
    (copied / "seed-1" / "networks" / "stiffness" / "done.json").unlink()
    code = copied / "seed-1" / "code.json"
    code.write_text(json.dumps(json.loads(code.read_text()) | {"training/fit.py": "0"}))
    message = refused("run", springs, "--seeds", "0,1", "--out", copied, "--quiet")
    assert "training/fit.py" in message
    assert not (copied / "record.json").exists()


def test_only_one_reproduce_works_in_a_folder(tmp_path):
    # Two took studies from each other, and both ended with status 1.
    with held(tmp_path / "latest"):
        for _ in range(2):  # who is refused leaves the lock to its owner
            message = refused("reproduce", "--out", tmp_path / "latest", "--quiet")
            assert "Another process is at work" in message
    assert not list(tmp_path.iterdir())


def test_reproduce_at_a_preset_that_is_not_there_names_it(tmp_path):
    message = refused("reproduce", "--preset", "nope", "--out", tmp_path / "latest", "--quiet")
    assert "nope" in message
    assert "smoke" in message
    assert not list(tmp_path.iterdir())


def test_reproduce_runs_both_variants_of_every_study_and_reports(springs, tmp_path, monkeypatch):
    for module in (reproduce, baselines):
        monkeypatch.setattr(module, "studies", lambda: {springs: get_study(springs)})
    rows = json.loads(done("reproduce", "--out", tmp_path / "latest", "--quiet", "--json"))
    assert [row["claim"] for row in rows] == ["error"]
    for variant in ("faithful", "improved"):
        assert (tmp_path / "latest" / f"springs-{variant}" / "record.json").is_file()
    assert not (tmp_path / "latest" / "springs-improved" / "data.h5").exists(), "built twice"
    assert (tmp_path / "latest" / "report.html").is_file()


def test_reproduce_goes_on_after_a_failure_and_fails_at_the_end(springs, tmp_path, monkeypatch):
    tried = []

    def fail(choices, *arguments):
        tried.append(choices.variant)
        raise ReproError("The loss became nan.")

    for module in (reproduce, baselines):
        monkeypatch.setattr(module, "studies", lambda: {springs: get_study(springs)})
    monkeypatch.setattr(whole, "run", fail)
    (tmp_path / "latest").mkdir()
    message = refused("reproduce", "--out", tmp_path / "latest", "--quiet", status=1)
    assert "springs faithful: The loss became nan." in message
    assert tried == ["faithful", "improved"]


def test_threads_are_limited_before_a_network_library_is_loaded():
    code = (
        "import os, sys\n"
        "from repro.cli import _limit_threads\n"
        "_limit_threads(1)\n"
        "assert 'keras' not in sys.modules\n"
        "print(os.environ['TF_NUM_INTRAOP_THREADS'], os.environ['OMP_NUM_THREADS'])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1", "1"]


def test_quiet_shows_no_progress(springs, tmp_path):
    result = call("data", "build", springs, "--out", tmp_path / "data.h5", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_the_module_runs_as_the_command_does():
    ran = subprocess.run(
        [sys.executable, "-m", "repro", "train", "nothing"], capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: There is no study 'nothing'")
    assert ran.stdout == ""
