"""A sixth study, as small as a study can be, put beside the others from outside."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repro.studies
from repro.datasets.spec import specs_folder
from repro.evaluation import provenance

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
