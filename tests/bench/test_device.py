import json
import platform
import subprocess
import sys

import pytest

from repro.bench import device


def test_sysinfo_is_plain_json_and_names_no_host():
    facts = device.sysinfo()
    assert set(facts) == {"python", "packages", "processor", "cores", "memory_gb", "gpu"}
    assert facts["cores"] >= 1
    assert facts["memory_gb"] > 0
    assert "numpy" in facts["packages"]
    assert platform.node() not in json.dumps(facts)


def test_packages_that_are_not_installed_are_left_out():
    assert list(device.package_versions(["numpy", "no-such-package"])) == ["numpy"]


def test_sysinfo_does_not_load_a_backend():
    code = (
        "import sys; from repro.bench.device import sysinfo; sysinfo();"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("", None),
        ("NVIDIA H200\n", "NVIDIA H200"),
        ("NVIDIA H200\nNVIDIA H200\n", "2 × NVIDIA H200"),
    ],
)
def test_gpus_are_counted_where_no_backend_is_loaded(monkeypatch, printed, name):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(device, "output_of", lambda *command: printed)
    assert device.gpu_name() == name


def test_a_command_that_is_missing_or_fails_gives_no_answer():
    assert device.output_of("no-such-command-here") == ""
    assert device.output_of(sys.executable, "-c", "raise SystemExit(3)") == ""
    assert device.output_of(sys.executable, "-c", "print(5)") == "5"
