"""A sixth study, as small as a study can be, put beside the others from outside; a browser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repro.studies
from repro.datasets.spec import specs_folder
from repro.evaluation import provenance

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIXTH_STUDY = Path(__file__).parent / "sixth_study"


@pytest.fixture(scope="module")
def springs(tmp_path_factory) -> Iterator[str]:
    """Add the study ``springs``: its folder with its claims, and its data spec, nothing else."""
    specs = shutil.copytree(specs_folder(), tmp_path_factory.mktemp("sixth") / "data_specs")
    shutil.copy(SIXTH_STUDY / "data_specs" / "springs.yaml", specs)
    path = [*repro.studies.__path__, str(SIXTH_STUDY / "studies")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_DATA_SPECS", str(specs))
        patch.setattr(repro.studies, "__path__", path)
        # Code is hashed in the package's own folder, where this study is not.
        patch.setattr(provenance, "hash_code", lambda study: "0" * 64)
        yield "springs"
    for name in [name for name in sys.modules if name.startswith("repro.studies.springs")]:
        del sys.modules[name]
    vars(repro.studies).pop("springs", None)


@pytest.fixture(scope="module")
def browser():
    """A headless browser; tests that need one are skipped, with the reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield running
        running.close()
