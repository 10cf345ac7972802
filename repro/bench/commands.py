"""``repro bench``: times networks, compares two files of timings, adds one to the results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from repro.backend import check_backend
from repro.errors import ReproError

if TYPE_CHECKING:
    from repro.bench.rows import BenchmarkFile, Row
    from repro.bench.session import Session

DEFAULT = "time"


class TimesByDefault(TyperGroup):
    """Commands of which the first word may be left out: then it times."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front unless another is named."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [DEFAULT, *args])


bench_app = typer.Typer(
    cls=TimesByDefault,
    help="Time networks; compare two files of timings.",
    context_settings={"max_content_width": 100},
)


@bench_app.command(
    DEFAULT, epilog="See also `repro bench compare`, `turns` and `accept`, with --help."
)
def time_networks(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="[default: all]")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="A,B", help="[default: all]")] = None,
    preset: Annotated[str, typer.Option(metavar="A,B", help="Sizes of the networks.")] = (
        "paper,desk"
    ),
    phase: Annotated[str, typer.Option(metavar="A,B", help="Of train, infer, data.")] = (
        "train,infer,data"
    ),
    precision: Annotated[
        str | None, typer.Option(metavar="A,B", help="Keras dtype policies [default: the recipe's]")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="16,64,max", help="max doubles it to the limit [default: recipe's]"),
    ] = None,
    devices: Annotated[int, typer.Option(help="Devices that share a batch; needs JAX.")] = 1,
    backend: Annotated[
        str | None, typer.Option(help="Refuse another than this Keras backend.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(metavar="WAY", help="one_by_one; under JAX on_device [default] or scan."),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="For all of it [default: 900, on a GPU 480]."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="The file to add the rows to.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Time training, answering and the making of batches; without STUDY, of all studies."""
    from repro.bench.session import Session, Wanted
    from repro.bench.tables import terminal_table
    from repro.display import SILENT
    from repro.reporting.terminal import TerminalDisplay

    wanted = Wanted(
        studies=tuple(studies or ()),
        variants=_listed(variant),
        presets=_listed(preset),
        phases=_listed(phase),
        precisions=_listed(precision),
        batches=_listed(batch),
        devices=devices,
        way=steps,
    )
    _check_process(backend)
    display = SILENT if quiet else TerminalDisplay()
    made = _timed(Session(wanted, time_budget, display), json)
    if made.rows:
        typer.echo(terminal_table(made.rows))
    for item in made.left_out:
        typer.echo(f"left out: {item.what}: {item.reason}")
    for note in made.notes:
        typer.echo(note)


@bench_app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json")],
    after: Annotated[Path, typer.Argument(metavar="B.json")],
    factor: Annotated[float, typer.Option(help="How much slower B may be.")] = 1.1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, not Markdown.")] = False,
) -> None:
    """Compare timings B with A: exit 1 if a row is slower by more than the factor, or lost."""
    from json import dumps

    from repro.bench.compare import compare as compare_files
    from repro.bench.compare import page
    from repro.bench.rows import read_benchmarks

    comparison = compare_files(read_benchmarks(before), read_benchmarks(after), factor)
    names = before.name, after.name
    typer.echo(dumps(comparison.facts(), indent=1) if json else page(comparison, names))
    raise typer.Exit(comparison.exit_status)


@bench_app.command()
def turns(
    other: Annotated[Path, typer.Argument(metavar="CHECKOUT", help="Other code, such as before.")],
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="[default: all]")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="A,B", help="[default: all]")] = None,
    preset: Annotated[str, typer.Option(metavar="A,B", help="Sizes of the networks.")] = "desk",
    phase: Annotated[str, typer.Option(help="train, infer or data.")] = "train",
    rounds: Annotated[int, typer.Option(help="Fewest; a busy machine gets more.")] = 40,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, not Markdown.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Time another checkout and this code in turns: exit 1 if a step got slower, or is lost."""
    from json import dumps

    from repro.bench.session import Wanted
    from repro.bench.turns import time_in_turns
    from repro.display import SILENT
    from repro.reporting.terminal import TerminalDisplay

    chosen = Wanted(
        studies=tuple(studies or ()), variants=_listed(variant),
        presets=_listed(preset), phases=(phase,),
    )  # fmt: skip
    groups = [(study.name, name, size) for study, name, size in chosen.groups]
    display = SILENT if quiet else TerminalDisplay()
    timed = time_in_turns(other, groups, phase, rounds, display)
    typer.echo(dumps(timed.facts(), indent=1) if json else timed.page())
    raise typer.Exit(timed.exit_status)


@bench_app.command()
def accept(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="What --json wrote.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The machine's, such as h100.")],
    results: Annotated[Path, typer.Option(metavar="FOLDER", help="The results.")] = Path("results"),
) -> None:
    """Keep timings under the results, and renew the README's table."""
    from repro.bench.accept import accept as accept_file

    typer.echo(accept_file(file, name, results))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def _check_process(backend: str | None) -> None:
    """Refuse another backend than this process's, and one of several processes."""
    from repro.training.launchers import place

    if place() is not None:
        raise ReproError(
            "repro bench times one process: start it without a launcher; the benchmarks of "
            "several workers are `make bench-ratios`."
        )
    check_backend()
    here = os.environ["KERAS_BACKEND"]
    if backend is not None and backend != here:
        raise ReproError(
            f"This process uses {here}, and a process has one backend: start it as "
            f"KERAS_BACKEND={backend} repro bench."
        )


def _timed(session: Session, out: Path | None) -> BenchmarkFile:
    """Time all that is wanted; each row is kept as soon as it is there."""
    from repro.bench.rows import check_output, write_benchmarks
    from repro.bench.session import benchmark_file

    rows: dict[tuple, Row] = {}
    with session.sharing():
        made = benchmark_file(session, [])
        if out is not None:
            check_output(out, made)
        for row in session.rows():
            rows[row.key] = row
            made = made.model_copy(update={"rows": [*rows.values()], "left_out": session.left_out})
            if out is not None:
                write_benchmarks(out, made)
    return made.model_copy(update={"left_out": session.left_out})
