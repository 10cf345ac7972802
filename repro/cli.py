"""The command line: reads options, calls the stages, prints what they return.

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 a gate failed,
2 wrong use or bad input, 3 not possible on this machine, 4 a fault of the suite, 130 stopped by
Ctrl-C.
Everything but typer is imported where it is used, so that ``repro --help`` is quick.
"""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from repro import __version__
from repro.bench.commands import bench_app
from repro.boundary import INTERRUPTED, told
from repro.errors import GateFailed, ReproError

if TYPE_CHECKING:
    from repro.display import Display
    from repro.evaluation.records import Record
    from repro.reporting.costs import Cost
    from repro.runs.choices import Choices
    from repro.study import Trained

NAME_FILES = ("--out", "--data", "--json", "--records", "--results", "--weights", "--write")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "PJRT_NPROC",  # JAX on a processor
)


class Commands(TyperGroup):
    """Commands that tell a user's mistake in one sentence, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; tell in a sentence what ended it, with an exit status."""
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except BrokenPipeError:
            raise typer.Exit(0) from None  # who read has read enough
        except KeyboardInterrupt:
            print("stopped: give the same command again to go on from here.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            said, status = told(error)
            print(f"error: {said}{_did_you_mean(said)}", file=sys.stderr)
            raise typer.Exit(status) from None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse words that no file and no record could tell."""
        for before, word in pairwise(["", *args]):
            problem = _problem_of(word, before)
            if problem:
                print(f"error: {problem}", file=sys.stderr)
                raise typer.Exit(ReproError.exit_status)
        return super().parse_args(ctx, args)


def _did_you_mean(said: str) -> str:
    """Return a question where a message names one that is not there, then one much like it."""
    wrong = re.search(r"\bno [a-z ]+ '([^']+)'", said)
    if not wrong or "Did you mean" in said:
        return ""
    known = re.findall(r"[\w-]+", said[wrong.end() :])
    close = get_close_matches(wrong[1], known, n=1, cutoff=0.7)
    return f" Did you mean {close[0]}?" if close else ""


def _problem_of(word: str, before: str) -> str | None:
    if not word and (before in NAME_FILES or not before.startswith("--")):
        return "the name of a file or folder is empty: leave it out, or say what you mean."
    try:
        word.encode()
    except UnicodeEncodeError:
        return f"{word.encode(errors='replace').decode()} is not in UTF-8: rename it."
    return None


SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "context_settings": {"max_content_width": 100, "help_option_names": ["-h", "--help"]},
}
app = typer.Typer(
    cls=Commands, pretty_exceptions_enable=False, rich_markup_mode=None,
    **SETTINGS,
)  # fmt: skip
data_app = typer.Typer(help="Build, verify and describe data sets.", **SETTINGS)
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study; see `repro list`.")]
Preset = Annotated[str, typer.Option(help="Scale of the run: smoke, desk or paper.")]
Variant = Annotated[str, typer.Option(help="What is trained, such as faithful or improved.")]
Experiment = Annotated[str | None, typer.Option(help="A named set of the data's parameters.")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A data parameter, or recipe.NAME=VALUE."),
]
FileSetting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="What the study can be told of your file."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="One seed [default: 0].")]
Networks = Annotated[
    str | None, typer.Option(metavar="A,B*,...", help="Some networks alone [default: all].")
]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,...", help="Several seeds.")]
Precision = Annotated[
    str | None, typer.Option(help="float32, mixed_bfloat16 or mixed_float16 [default: the recipe].")
]
Xla = Annotated[
    bool | None, typer.Option("--xla/--no-xla", help="Compile the step [default: the recipe].")
]
Deterministic = Annotated[bool, typer.Option(help="The same bits each time; slower.")]
DataFile = Annotated[Path | None, typer.Option("--data", metavar="FILE", help="A built data set.")]
OutFolder = Annotated[Path | None, typer.Option(metavar="FOLDER", help="The run's folder.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that build the data set.")]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="tcp://HOST:PORT", help="Build on a dask cluster [default: here]."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads [default: all cores].")]
Devices = Annotated[int, typer.Option(help="Devices that share a batch; needs JAX.")]
Timeout = Annotated[
    float | None,
    typer.Option(min=1, metavar="SECONDS", help="No step for so long: a rank ends [default: 600]."),
]
Steps = Annotated[
    str | None,
    typer.Option(metavar="WAY", help="one_by_one; under JAX on_device [default] or scan."),
]
TimeBudget = Annotated[
    float | None,
    typer.Option(min=1, metavar="SECONDS", help="Stop in time; the same command goes on."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Records = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Where records are [default: results].")
]
Results = Annotated[Path, typer.Option(metavar="FOLDER", help="Where baseline records are.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"repro {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Published machine-learning systems for diffraction and electron microscopy, reproduced."""


@app.command("list")
def list_studies(json: AsJson = False) -> None:
    """List the studies."""
    from repro.reporting import terminal
    from repro.runs.baselines import ages_of
    from repro.study import studies

    ages = ages_of(_results_folder())
    rows = [terminal.study_facts(study, ages[name]) for name, study in studies().items()]
    _print(rows, json, lambda: terminal.study_table(rows))


@app.command()
def info(study: StudyName, json: AsJson = False) -> None:
    """Tell what a study is: its paper, claims, data, variants and deviations."""
    from repro.reporting import terminal
    from repro.runs.baselines import ages_of, powers_of
    from repro.study import get_study

    described = get_study(study)
    results = _results_folder()
    powers, ages = powers_of(described.name, results), ages_of(results)[described.name]
    facts = terminal.study_details(described, powers, ages)
    _print(facts, json, lambda: terminal.study_page(facts))


@data_app.command("build")
def data_build(
    study: StudyName,
    out: Annotated[Path, typer.Option(metavar="FILE.h5", help="The file to write.")],
    preset: Preset = "smoke",
    experiment: Experiment = None,
    seed: Annotated[int | None, typer.Option(min=0, help="[default: the data spec's]")] = None,
    settings: Setting = None,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Build a study's data set; stopped, go on shard by shard."""
    from repro.datasets.store import Dataset
    from repro.reporting import terminal
    from repro.runs.data import build_data

    choices = _choices(study=study, preset=preset, experiment=experiment, settings=settings)
    for cost in _costs(choices, 1, out.parent, workers, out):
        print(cost.said_of_data, file=sys.stderr)
    path = build_data(choices.checked(), choices, out, workers, _display(quiet), seed, scheduler)
    facts = terminal.dataset_facts(Dataset.open(path))
    _print(facts, json, lambda: terminal.dataset_page(facts))


@data_app.command("fetch")
def data_fetch(
    study: StudyName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
    weights: Annotated[bool, typer.Option("--weights", help="What the authors trained.")] = False,
) -> None:
    """Download the measurements that a paper published; their checksum is kept beside them."""
    from repro.study import get_study

    print(get_study(study).provided("released" if weights else "archive").fetch(out))


@data_app.command("verify")
def data_verify(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Check every variable of a data set against its checksum."""
    from repro.datasets.store import verify

    verify(file)
    print(f"{file.name}: every variable has the checksum it was written with.")


@data_app.command("info")
def data_info(file: Annotated[Path, typer.Argument(metavar="FILE")], json: AsJson = False) -> None:
    """Tell what a data set holds."""
    from repro.datasets.store import Dataset
    from repro.reporting import terminal

    facts = terminal.dataset_facts(Dataset.open(file))
    _print(facts, json, lambda: terminal.dataset_page(facts))


@data_app.command("croissant")
def data_croissant(
    study: StudyName,
    preset: Preset = "smoke",
    experiment: Experiment = None,
    settings: Setting = None,
    data: DataFile = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="[default: stdout]")] = None,
) -> None:
    """Describe a data set in Croissant (JSON-LD); with --data, checksums included."""
    from repro.datasets.croissant import croissant
    from repro.files import write_text
    from repro.runs.data import open_data

    choices = _choices(study=study, preset=preset, experiment=experiment, settings=settings)
    described_study = choices.checked()
    dataset = open_data(described_study, choices, data) if data else None
    spec = dataset.spec if dataset else choices.resolve_spec(described_study)
    described = croissant(spec, dataset)
    if out is None:
        _print(described, True)
    else:
        write_text(out, _as_json(described) + "\n")


@app.command()
def train(
    study: StudyName,
    variant: Variant = "faithful",
    preset: Preset = "smoke",
    experiment: Experiment = None,
    seed: Seed = None,
    seeds: Seeds = None,
    settings: Setting = None,
    networks: Networks = None,
    precision: Precision = None,
    xla: Xla = None,
    deterministic: Deterministic = False,
    data: DataFile = None,
    out: OutFolder = None,
    workers: Workers = 1,
    threads: Threads = None,
    devices: Devices = 1,
    timeout: Timeout = None,
    steps: Steps = None,
    time_budget: TimeBudget = None,
    quiet: Quiet = False,
) -> None:
    """Train a study's networks; the same command again resumes."""
    _limit_threads(threads)
    from repro.runs.budget import Stopped
    from repro.runs.choices import Execution
    from repro.runs.whole import prepare_and_train
    from repro.training.launchers import launched_as_leader

    choices = _choices(
        study=study, variant=variant, preset=preset, experiment=experiment, settings=settings,
        networks=_names(networks), precision=precision, xla=xla, deterministic=deterministic,
    )  # fmt: skip
    folder = out or _default_folder(choices)
    execution = Execution(workers, devices, timeout, steps, time_budget)
    chosen = _seeds(seed, seeds)
    for cost in _costs(choices, len(chosen), folder, workers, data):
        print(cost.said, file=sys.stderr)
    outcome = prepare_and_train(choices, chosen, folder, data, execution, _display(quiet))
    if launched_as_leader():
        print(outcome.said if isinstance(outcome, Stopped) else folder)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run's folder.")],
    data: DataFile = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Measure a run's trained networks and write its record and figures."""
    _limit_threads(threads)
    from repro.runs.evaluation import evaluate as evaluate_run
    from repro.runs.folder import held, run_files_of
    from repro.runs.run import Run
    from repro.training.launchers import launched_as_leader

    if launched_as_leader():
        run_files_of(folder)  # a folder that holds no run gets no lock
        with held(folder):
            record = evaluate_run(Run.open(folder, data), _display(quiet))
        _print_record(record, json)


@app.command()
def run(
    study: StudyName,
    variant: Variant = "faithful",
    preset: Preset = "smoke",
    experiment: Experiment = None,
    seed: Seed = None,
    seeds: Seeds = None,
    settings: Setting = None,
    networks: Networks = None,
    precision: Precision = None,
    xla: Xla = None,
    deterministic: Deterministic = False,
    data: DataFile = None,
    out: OutFolder = None,
    workers: Workers = 1,
    threads: Threads = None,
    devices: Devices = 1,
    timeout: Timeout = None,
    steps: Steps = None,
    time_budget: TimeBudget = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Go the whole way: data, training, evaluation, figures, record, outcomes."""
    _limit_threads(threads)
    from repro.runs import whole
    from repro.runs.budget import Stopped
    from repro.runs.choices import Execution

    choices = _choices(
        study=study, variant=variant, preset=preset, experiment=experiment, settings=settings,
        networks=_names(networks), precision=precision, xla=xla, deterministic=deterministic,
    )  # fmt: skip
    folder = out or _default_folder(choices)
    execution = Execution(workers, devices, timeout, steps, time_budget)
    chosen = _seeds(seed, seeds)
    for cost in _costs(choices, len(chosen), folder, workers, data):
        print(cost.said, file=sys.stderr)
    outcome = whole.run(choices, chosen, folder, data, execution, _display(quiet))
    if isinstance(outcome, Stopped):
        _print(outcome.facts, json, lambda: outcome.said)
    elif outcome is not None:
        _print_record(outcome, json)


@app.command()
def released(
    study: StudyName,
    weights: Annotated[Path, typer.Option(metavar="FILE", help="As PyTorch wrote them.")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="The published measurements.")],
    threads: Threads = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Hold weights that the authors released against their claims; nothing is trained."""
    _limit_threads(threads)
    from repro.runs.released import evaluate, facts, page
    from repro.study import get_study

    chosen = get_study(study)
    told = facts(chosen, evaluate(chosen, weights, data, _display(quiet)))
    _print(told, json, lambda: page(told))


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the parts go.")],
    parts: Annotated[float, typer.Option(min=0.1, metavar="MB", help="Size of a part.")] = 16,
    data: Annotated[bool, typer.Option("--data", help="Take the data set along.")] = False,
) -> None:
    """Write a run as parts of a limited size, to be carried elsewhere; unpack joins them."""
    from repro.runs.parts import pack as pack_run

    for path in pack_run(folder, out, parts, data):
        print(path)


@app.command()
def unpack(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What pack wrote.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run's folder to make.")],
) -> None:
    """Join the parts of a run, every one checked: the command that made it then goes on."""
    from repro.runs.parts import unpack as unpack_run

    print(unpack_run(folder, out))


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of other seeds.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The run's folder to make.")],
    data: DataFile = None,
    threads: Threads = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Put seeds and networks that were trained in different places into one run; evaluate it.

    Folders that hold a record alone, such as baseline records, give one record.
    """
    _limit_threads(threads)
    from repro.runs.folder import read_run_files
    from repro.runs.merging import merge as merge_runs
    from repro.runs.merging_records import merge_records

    if not all(read_run_files(folder) for folder in runs):
        _print_record(merge_records(runs, out), json)
        return
    merge_runs(runs, out, data)
    from repro.runs.evaluation import evaluate as evaluate_run
    from repro.runs.run import Run

    _print_record(evaluate_run(Run.open(out, data), _display(quiet)), json)


@app.command()
def reproduce(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Records and report.")] = Path(
        "results/latest"
    ),
    preset: Preset = "smoke",
    seed: Seed = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    threads: Threads = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Run every study, faithful and improved, then write the report and print the claims."""
    from repro.training.launchers import place

    if place() is not None:
        raise ReproError("reproduce is for a single process: start several for `repro run` only.")
    _limit_threads(threads)
    from repro.reporting import terminal
    from repro.reporting.tables import json_rows
    from repro.runs import baselines
    from repro.runs.reproduce import reproduce as reproduce_all
    from repro.runs.reproduce import run_folder, wanted_runs

    records = [folder for folder in [Path("results") / baselines.RECORDS] if folder.is_dir()]
    chosen = _seeds(seed, seeds)
    for choices in wanted_runs(preset):
        try:
            costs = [
                c.said for c in _costs(choices, len(chosen), run_folder(out, choices), workers)
            ]
        except ReproError as error:  # it keeps no other study from being run
            costs = [str(error)]
        for said in costs:
            print(f"{choices.study} {choices.variant}, {said}", file=sys.stderr)
    reproduce_all(preset, chosen, out, workers, _display(quiet), records)
    rows = baselines.judged_claims([out, *records])
    _print(json_rows(rows), json, lambda: terminal.claims_text(rows))


@app.command()
def claims(
    records: Records = None,
    study: Annotated[str | None, typer.Option(help="Only the claims of this study.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only the claims with this outcome, such as 'not run'.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Print the claims of the papers with what the records say of them."""
    from repro.reporting import terminal
    from repro.reporting.tables import json_rows, select
    from repro.runs.baselines import judged_claims

    rows = select(judged_claims(_record_folders(records)), study, status)
    _print(json_rows(rows), json, lambda: terminal.claims_text(rows))


@app.command()
def verify(
    claim: Annotated[str, typer.Argument(metavar="STUDY/CLAIM", help="See `repro info STUDY`.")],
    preset: Annotated[str | None, typer.Option(help="Scale [default: the claim's].")] = None,
    seed: Seed = None,
    seeds: Seeds = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the runs go.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it costs.")] = False,
    results: Results = Path("results"),
    workers: Workers = 1,
    threads: Threads = None,
    time_budget: TimeBudget = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Check one claim here: say what it costs, build the data, train, evaluate, judge."""
    _limit_threads(threads)
    from repro.reporting.verification import facts, verification
    from repro.runs.budget import Stopped
    from repro.runs.choices import Execution

    chosen = () if seed is None and seeds is None else _seeds(seed, seeds)
    verified = verification(claim, out, preset, chosen)
    costs = verified.costs(results, workers)
    for cost in costs:
        print(cost.said, file=sys.stderr)
    if dry_run:
        _print(facts(verified, costs, None), json, lambda: "nothing was started")
        return
    execution = Execution(workers, budget_s=time_budget)
    outcome = verified.outcome(results, execution, _display(quiet))
    if isinstance(outcome, Stopped):
        _print(outcome.facts, json, lambda: outcome.said)
    else:
        _print(facts(verified, costs, outcome), json, lambda: verified.line(outcome))


@app.command()
def matrix(
    study: StudyName,
    keras: Annotated[str | None, typer.Option(metavar="3.14,latest", help="Versions.")] = None,
    tensorflow: Annotated[str | None, typer.Option(metavar="2.20,2.21", help="Versions.")] = None,
    jax: Annotated[str | None, typer.Option(metavar="0.9,latest", help="Versions.")] = None,
    variant: Variant = "faithful",
    preset: Preset = "smoke",
    seeds: Annotated[str, typer.Option(metavar="0,1,...", help="Several seeds.")] = "0,1,2",
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Environments and runs.")] = Path(
        "runs/matrix"
    ),
    keep: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keep the table for the report.")
    ] = None,
    results: Results = Path("results"),
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Run a study under several versions of the libraries: exit 1 if one moved a number."""
    from repro.reporting import matrix as versions_matrix
    from repro.reporting.matrix import combinations, exit_status, facts, page, run_matrix

    kept = [out / versions_matrix.FILE]
    if keep is not None:
        kept.append(versions_matrix.kept_path(keep, results))
    asked = {"keras": keras, "tensorflow": tensorflow, "jax": jax}
    versions = {package: text.split(",") for package, text in asked.items() if text}
    task = [study, "--variant", variant, "--preset", preset, "--seeds", seeds]
    cells = run_matrix(task, combinations(**versions), out, _display(quiet))
    for path in kept:
        versions_matrix.write_matrix(versions_matrix.matrix_file(cells), path)
    _print(facts(cells), json, lambda: page(cells))
    raise typer.Exit(exit_status(cells))


@app.command()
def compare(
    baseline: Annotated[Path, typer.Argument(metavar="A", help="Record, run, or benchmarks.")],
    candidate: Annotated[Path, typer.Argument(metavar="B", help="The same, or a folder of them.")],
    accept_gain: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why a gain is sound; else it fails.")
    ] = None,
    only_changed: Annotated[
        bool, typer.Option("--only-changed", help="Leave out metrics that stayed.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Compare B with a baseline A, in Markdown: exit 1 on a regression, 2 if not comparable."""
    from repro.reporting.comparisons import compare_paths

    compared = compare_paths(baseline, candidate, accept_gain)
    _print(compared.facts(only_changed), json, lambda: compared.page(only_changed))
    raise typer.Exit(compared.exit_status)


@app.command()
def accept(
    runs: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Runs that ended well.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the ledger.")],
    results: Results = Path("results"),
    force: Annotated[
        bool, typer.Option("--force", help="Though a gate fails or it is worse; else exit 1.")
    ] = False,
) -> None:
    """Make runs' records baseline records; renew summary, README's claims and the ledger."""
    from repro.runs import baselines

    for path in baselines.accept(runs, results, reason, force):
        print(path)


@app.command()
def gates(
    study: Annotated[str | None, typer.Option(help="Only the gates of this study.")] = None,
    results: Results = Path("results"),
    json: AsJson = False,
) -> None:
    """Check what the baseline records must reach: exit 1 if a gate fails."""
    from repro.reporting import terminal
    from repro.runs.baselines import check_baselines

    checked = check_baselines(results, study=study)
    _print(terminal.gate_facts(checked), json, lambda: terminal.gates_text(checked))
    raise typer.Exit(0 if all(result.holds for result in checked) else GateFailed.exit_status)


@app.command()
def queue(
    study: Annotated[str | None, typer.Option(help="Only the runs of this study.")] = None,
    results: Results = Path("results"),
    time_budget: Annotated[
        float, typer.Option(min=60, metavar="SECONDS", help="Of a slice.")
    ] = 540,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Renew the queue in a document.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Print the runs at preset paper that no record answers yet, most valuable first."""
    from repro.reporting.queue import queue_text, update_document
    from repro.runs.baselines import wanted
    from repro.runs.queue import facts

    runs = wanted(results, time_budget, study)
    if write is not None:
        update_document(write, runs)
    _print(facts(runs), json, lambda: queue_text(runs))


@app.command()
def carry(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="A run's record, by old code.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="The same run's, by new code.")],
    results: Results = Path("results"),
) -> None:
    """Mark baseline records as reproduced by new code that gives the same bits as the old."""
    from repro.runs import baselines

    for path in baselines.carry(old, new, results):
        print(path)


@app.command()
def report(
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.")],
    records: Records = None,
) -> None:
    """Write the report of all records as one HTML file that needs no network."""
    from repro.runs import baselines

    if out.suffix.lower() not in (".html", ".htm"):
        raise ReproError(f"--out {out}: the report is a page: name a file that ends in .html.")
    folders = _record_folders(records)
    if not baselines.find_records(folders):
        raise ReproError(f"{folders[0]} holds no record: there is nothing to report.")
    baselines.report(folders, out)
    print(out)


@app.command()
def serve(
    study: StudyName,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A run [default: the newest here].")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open a web page on which a trained run answers questions; Ctrl-C ends it."""
    from repro.runs.folder import find_run
    from repro.study import get_study

    page = get_study(study).provided("page")
    found = find_run(study, folder)
    page(lambda: _open_trained(found), port, browser)


@app.command("apply")
def apply_run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run's folder.")],
    data: Annotated[Path, typer.Option(metavar="PATH", help="Your own file or folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A table, .csv, or maps, .h5.")],
    seed: Annotated[int | None, typer.Option(min=0, help="[default: the run's lowest]")] = None,
    settings: FileSetting = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Use a trained run on your own file: results with units and intervals, and pictures."""
    _limit_threads(threads)
    from repro.runs.apply import apply

    for path in apply(folder, data, out, seed, _display(quiet), _pairs(settings)):
        print(path)


@app.command()
def sysinfo(json: AsJson = False) -> None:
    """Tell what this machine has, as far as it matters to a run."""
    from repro.bench.device import sysinfo as read_sysinfo
    from repro.reporting import terminal

    facts = read_sysinfo()
    _print(facts, json, lambda: terminal.facts_page(facts))


def main() -> None:
    """Run the command line, on a terminal of any encoding."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        app(prog_name="repro")
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # told already; Python would tell it once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _choices(settings: list[str] | None, **chosen: Any) -> Choices:
    from repro.runs.choices import Choices

    return Choices(settings=_pairs(settings), **chosen)


def _pairs(settings: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ReproError(f"--set {text}: write it as KEY=VALUE.")
        if key in pairs:
            raise ReproError(f"--set {key}: given twice; give it once.")
        pairs[key] = value
    return pairs


def _seeds(seed: int | None, seeds: str | None) -> list[int]:
    if seed is not None and seeds is not None:
        raise ReproError("--seed and --seeds: give one of them.")
    if seeds is None:
        return [seed or 0]
    texts = [text.strip() for text in seeds.split(",")]
    if not all(text.isdecimal() for text in texts) or len(set(texts)) < len(texts):
        raise ReproError(f"--seeds {seeds}: write different whole numbers, such as 0,1,2.")
    return [int(text) for text in texts]


def _names(networks: str | None) -> tuple[str, ...]:
    if networks is None:
        return ()
    names = tuple(name.strip() for name in networks.split(","))
    if not all(names):
        raise ReproError(f"--networks {networks!r}: write names with commas between them.")
    return names


def _default_folder(choices: Choices) -> Path:
    parts = [choices.study, choices.variant, choices.preset, choices.experiment]
    return Path("runs") / "-".join(part for part in parts if part)


def _costs(
    choices: Choices, n_seeds: int, folder: Path, workers: int, data: Path | None = None
) -> list[Cost]:
    """Return what a run at the paper's scale takes, to be said before it starts; else nothing."""
    from repro.reporting.costs import cost_of
    from repro.runs.queue import PRESET
    from repro.training.launchers import launched_as_leader

    if choices.preset != PRESET or not launched_as_leader():
        return []
    return [cost_of(choices, n_seeds, folder, _results_folder(), workers, data)]


def _results_folder() -> Path:
    """Return the folder of results here, else that which came with the package."""
    from repro.runs.baselines import shipped_results

    here = Path("results")
    return here if here.is_dir() else shipped_results() or here


def _record_folders(records: Path | None) -> list[Path]:
    from repro.runs.baselines import shipped_results

    if records is not None:
        return [records]
    here = Path("results")
    if here.is_dir():
        return [here]
    shipped = shipped_results()
    if shipped is None:
        raise ReproError("There is no folder results here: name one with --records FOLDER.")
    print(
        "note: no folder results here; these are the records that repro came with.", file=sys.stderr
    )
    return [shipped]


def _open_trained(folder: Path) -> Trained:
    """Return the networks of a run's lowest seed."""
    from repro.runs.run import Run

    run = Run.open(folder)
    return run.trained(run.seeds[0])


def _limit_threads(threads: int | None) -> None:
    """Limit the libraries' thread pools, which read these variables when they are loaded.

    Processes that were started together on a machine share out its cores.
    """
    from repro.training.launchers import place

    together = place()
    if threads is None and together is not None and together.local_size > 1:
        threads = max(1, (os.cpu_count() or 1) // together.local_size)
    if threads is not None:
        for name in THREAD_VARIABLES:
            os.environ[name] = str(threads)


def _display(quiet: bool) -> Display:
    from repro.display import SILENT
    from repro.reporting.terminal import TerminalDisplay

    return SILENT if quiet else TerminalDisplay()


def _print_record(record: Record, json: bool) -> None:
    from repro.reporting import terminal
    from repro.runs.baselines import outcomes_of

    _print(record, json, lambda: terminal.record_page(record, outcomes_of(record)))


def _print(value: Any, json: bool, text: Any = None) -> None:
    print(_as_json(value) if json else text())


def _as_json(value: Any) -> str:
    from pydantic import TypeAdapter

    return TypeAdapter(Any).dump_json(value, indent=2, exclude_none=False).decode()
