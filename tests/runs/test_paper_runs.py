"""The runs that the studies want at the paper's scale, and the document that lists them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from repro.reporting.queue import update_document
from repro.runs import baselines
from repro.runs.choices import Choices
from repro.study import studies

ROOT = Path(__file__).parents[2]


def test_the_most_valuable_come_first_and_every_command_is_one_that_runs():
    runs = baselines.wanted(ROOT / "results")
    assert [run.priority for run in runs] == sorted(run.priority for run in runs)
    assert {run.study for run in runs} <= set(studies())
    for run in runs:
        words = shlex.split(run.command)
        options = dict(zip(words[4::2], words[5::2], strict=True))
        choices = Choices(
            study=words[3],
            variant=options["--variant"],
            preset=options["--preset"],
            experiment=options["--experiment"],
            precision=options.get("--precision"),
        )
        choices.checked()  # an option that does not exist would be refused
        assert run.claims > 0, f"{run.study} {run.run} answers no claim"
    wanted = {(run.study, run.run) for run in runs}
    first = [("mamba", "layers_12"), ("interface_dcnn", "b_site_class")]
    assert [name for name in first if name in wanted] == [(r.study, r.run) for r in runs[:2]]


def test_every_claim_at_the_papers_scale_has_a_run_that_answers_it():
    for name, study in studies().items():
        listed = {(run.variant, run.experiment) for run in study.paper_runs.runs}
        asked = {
            (claim.variant, claim.experiment)
            for claim in study.claims.claims
            if claim.preset == "paper"
            # No run can be listed that needs a file which the suite does not make.
            and claim.data_name in (None, name)
        }
        assert asked <= listed, name


def test_the_document_is_what_the_records_and_rates_say(tmp_path):
    # A figure edited by hand, or a rate measured anew without the table, would be no result.
    document = shutil.copy(ROOT / "docs" / "paper_runs.md", tmp_path)
    runs = baselines.wanted(ROOT / "results")
    assert not update_document(Path(document), runs), (
        "run `repro queue --write docs/paper_runs.md` again"
    )
