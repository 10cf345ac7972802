"""Which code runs, told without a guess."""

from __future__ import annotations

import re
import subprocess

import pytest

import repro
from repro.bench import machine


@pytest.mark.parametrize("in_a_checkout", [False, True])
def test_a_package_that_is_no_part_of_a_checkout_tells_its_version(
    tmp_path, monkeypatch, in_a_checkout
):
    # Installed below the checkout of something else, it would tell the commit of that.
    package = tmp_path / "site-packages" / "repro"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    if in_a_checkout:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        for words in (["init", "--quiet"], [*who, "commit", "--quiet", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(repro, "__file__", str(package / "__init__.py"))
    assert machine.commit() is None
    assert machine.code_version() == f"repro {repro.__version__}"
    if in_a_checkout:
        subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
        assert re.fullmatch(r"[0-9a-f]{12} and changes", machine.code_version())
