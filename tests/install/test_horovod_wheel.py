import configparser
import sys
from pathlib import Path

import pytest

from repro.errors import NotPossibleHere, ReproError
from repro.install.horovod_found import Nccl, require_horovod
from repro.install.horovod_patches import LOCAL_VERSION, PATCHES, VERSION
from repro.install.horovod_wheel import Build, possible_build, wheel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TENSORFLOW = "tensorflow-cpu 2.21.0"
NCCL = Nccl(Path("cuda"), Path("include"), Path("libnccl.so.2"))


def write(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def add_tensorflow(packages: Path, name: str = "tensorflow_cpu", cuda: str | None = None) -> None:
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.21.0\n"
    write(packages / f"{name}-2.21.0.dist-info" / "METADATA", metadata)
    write(packages / "tensorflow" / "__init__.py")
    facts = {"cuda_version": cuda} if cuda else {}
    write(packages / "tensorflow/python/platform/build_info.py", f"build_info = {facts}")


def add_horovod(packages: Path, metadata: str | None) -> None:
    write(packages / "horovod" / "__init__.py", "raise ImportError('looked at, not imported')")
    if metadata is not None:
        write(packages / "horovod" / "metadata.json", metadata)


def add_nccl(packages: Path) -> None:
    write(packages / "nvidia/nccl/include/nccl.h")
    write(packages / "nvidia/nccl/lib/libnccl.so.2")


def make_cuda(home: Path, version: int) -> dict[str, str]:
    write(home / "bin" / "nvcc")
    write(home / "include/cuda_runtime_api.h", f"#define CUDART_VERSION  {version}\n")
    return {"HOROVOD_CUDA_HOME": str(home), "PATH": ""}


def test_the_version_is_the_one_that_setup_cfg_and_the_pins_name():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert setup["options.extras_require"]["horovod"] == f"horovod=={VERSION}"
    assert f"horovod=={VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_every_tool_that_the_build_needs_is_pinned():
    (line,) = [x for x in (ROOT / "Makefile").read_text().splitlines() if "HOROVOD_NEEDS :=" in x]
    pins = {pin.partition("==")[0] for pin in (ROOT / "constraints.txt").read_text().splitlines()}
    assert set(line.partition(":=")[2].split()) <= pins


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: Path(patch.file).name)
def test_a_patch_changes_its_place_and_nothing_else(patch):
    before, after = "#include <vector>\n", "int main();\n"
    assert patch.applied(before + patch.old + after) == before + patch.new + after


@pytest.mark.parametrize("text", ["", "twice"])
def test_another_source_package_is_refused_before_it_is_built(text):
    patch = PATCHES[0]
    with pytest.raises(ReproError, match=r"lacks 'list\(APPEND TF_SOURCES .*use another"):
        patch.applied(patch.old * 2 if text else "list(APPEND TF_SOURCES mpi_ops.cc)\n")


def test_builds_that_cannot_stand_for_each_other_are_kept_apart():
    builds = [
        Build(TENSORFLOW),
        Build("tensorflow-cpu 2.21.1"),
        Build("tensorflow 2.21.0"),
        Build(TENSORFLOW, mpi=True),
        Build(TENSORFLOW, nccl=NCCL),
        Build(TENSORFLOW, mpi=True, nccl=NCCL),
    ]
    assert len({build.key for build in builds}) == len(builds)


def test_a_wheel_is_kept_under_all_that_it_depends_on():
    key = Build(TENSORFLOW).key
    assert key.startswith(f"horovod-{LOCAL_VERSION}-tensorflow-cpu-2.21.0-")
    assert sys.implementation.cache_tag in key
    assert key.endswith("-gloo")


def test_a_wheel_that_is_kept_is_not_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    build = Build(TENSORFLOW)
    kept = tmp_path / "repro" / "wheels" / build.key / "horovod-0.28.1-cp311.whl"
    write(kept)
    assert wheel(build) == kept


def test_a_machine_without_a_compiler_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPossibleHere, match=r"needs .*g\+\+.* install"):
        wheel(Build(TENSORFLOW))
    assert not list(tmp_path.iterdir()), "a folder without a wheel is left"


def test_a_fitting_horovod_is_accepted_without_being_imported(tmp_path):
    add_tensorflow(tmp_path)
    add_horovod(tmp_path, '{"tensorflow": "2.21.0", "dummy": "none"}')
    require_horovod([str(tmp_path)])


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ('{"tensorflow": "2.20.0", "dummy": "none"}', "for TensorFlow 2.20.0, but 2.21.0 is"),
        ('{"tensorflow": "2.21.1", "dummy": "none"}', "for TensorFlow 2.21.1, but 2.21.0 is"),
        ('{"pytorch": "2.0.0", "dummy": "none"}', "without TensorFlow"),
        ('{"tensorflow": "2.2', "without TensorFlow"),
        (None, "without TensorFlow"),
    ],
)
def test_a_horovod_that_does_not_fit_is_refused(tmp_path, metadata, named):
    add_tensorflow(tmp_path)
    add_horovod(tmp_path, metadata)
    with pytest.raises(NotPossibleHere, match=f"{named}.*run make horovod"):
        require_horovod([str(tmp_path)])


def test_a_missing_horovod_is_told(tmp_path):
    add_tensorflow(tmp_path)
    with pytest.raises(NotPossibleHere, match="not installed: run make horovod"):
        require_horovod([str(tmp_path)])


def test_a_missing_tensorflow_is_told(tmp_path):
    add_horovod(tmp_path, '{"tensorflow": "2.21.0", "dummy": "none"}')
    with pytest.raises(NotPossibleHere, match="TensorFlow is not installed: run make setup"):
        require_horovod([str(tmp_path)])


def test_mpi_is_built_in_where_its_compiler_is_found(tmp_path):
    add_tensorflow(tmp_path)
    write(tmp_path / "bin" / "mpicxx")
    (tmp_path / "bin" / "mpicxx").chmod(0o755)
    path = [str(tmp_path)]
    assert possible_build(path, {"PATH": ""}) == Build(TENSORFLOW)
    assert possible_build(path, {"PATH": str(tmp_path / "bin")}) == Build(TENSORFLOW, mpi=True)


def test_nccl_is_built_in_where_tensorflow_computes_on_gpus(tmp_path):
    add_tensorflow(tmp_path, "tensorflow", cuda="12.5.1")
    add_nccl(tmp_path)
    build = possible_build([str(tmp_path)], make_cuda(tmp_path / "cuda", 12080))
    assert build.parts == {"Gloo", "NCCL"}
    assert build.nccl.library == tmp_path / "nvidia/nccl/lib/libnccl.so.2"


def test_nccl_is_not_built_in_for_a_tensorflow_without_gpus(tmp_path):
    add_tensorflow(tmp_path)
    add_nccl(tmp_path)
    assert possible_build([str(tmp_path)], make_cuda(tmp_path / "cuda", 12080)).nccl is None


def test_nccl_is_not_built_in_by_the_compiler_of_another_cuda_release(tmp_path):
    add_tensorflow(tmp_path, "tensorflow", cuda="1.0")
    add_nccl(tmp_path)
    assert possible_build([str(tmp_path)], make_cuda(tmp_path / "cuda", 12080)).nccl is None
