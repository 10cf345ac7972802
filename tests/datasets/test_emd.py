"""What other programs find in a data set's file."""

import uuid

import h5py
import numpy as np
import pytest

from repro.datasets import emd
from repro.datasets.build import build
from repro.datasets.spec import load_spec, spec_names
from repro.datasets.store import Dataset, verify, write_dataset
from repro.errors import ReproError

GENERATORS = """
import numpy as np
from toy_generators import numbers


def axes(parameters):
    return {
        "place": (0.25 * np.arange(parameters["width"]) - 0.5, "Å⁻¹"),
        "depth": (np.array([1.0, 2.0, 4.0]), "Å"),
        "short": (np.zeros(2), "Å"),
    }
"""


@pytest.fixture
def load_described(tmp_path, monkeypatch, toy_content, load_toy):
    """A function that loads a toy whose variables have the axes given."""
    (tmp_path / "described_generators.py").write_text(GENERATORS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def load(offered="described_generators:axes", **axes):
        toy_content["generator"] = "described_generators:numbers"
        if offered:
            toy_content["axes"] = offered
        for name, names in axes.items():
            toy_content["variables"][name]["axes"] = names
        return load_toy(toy_content).resolve("tiny")

    return load


@pytest.fixture
def spec(load_described):
    return load_described(x=["place"], constant=["depth"], index=[])


@pytest.fixture
def path(spec, tmp_path):
    return build(spec, tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["x", "constant", "index"])
def test_emdfile_reads_values_axes_and_units(path, spec, name):
    emdfile = pytest.importorskip("emdfile", reason="emdfile, the readers' side, is not installed")
    array = emdfile.read(path, emdpath=f"{emd.ROOT}/{name}")
    stored = Dataset.open(path).array(name)
    np.testing.assert_array_equal(array.data, stored)
    assert array.data.dtype == stored.dtype
    assert array.units == "Å"
    expected = {
        "x": [("place", "Å⁻¹", [-0.5, -0.25, 0.0, 0.25])],
        "constant": [("depth", "Å", [1.0, 2.0, 4.0])],
        "index": [],
    }[name]
    expected = [("sample", "", range(17)), *expected]
    assert [(n, u) for n, u, _ in expected] == list(
        zip(array.dim_names, array.dim_units, strict=True)
    )
    for values, (_, _, wanted) in zip(array.dims, expected, strict=True):
        np.testing.assert_array_equal(values, wanted)


def test_emdfile_finds_every_described_variable_by_itself(path):
    emdfile = pytest.importorskip("emdfile", reason="emdfile, the readers' side, is not installed")
    tree = emdfile.read(path)
    assert sorted(tree._branch.keys()) == ["constant", "index", "x"]


def test_tree_has_the_attributes_of_emd_1_0(path, spec):
    with h5py.File(path) as file:
        assert {name: file.attrs[name] for name in file.attrs if name in HEADER} == HEADER | {
            "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, spec.fingerprint))
        }
        root = file[emd.ROOT]
        emd_root = {"emd_group_type": "root", "python_class": "Root"}
        assert dict(root.attrs) == emd_root | {"NX_class": "NXentry", "default": "x"}
        assert set(root) == {"constant", "index", "x"}
        for name, dimensions in [("x", 2), ("constant", 2), ("index", 1)]:
            emd_array = {"emd_group_type": "array", "python_class": "Array"}
            assert emd_array.items() <= dict(root[name].attrs).items()
            assert set(root[name]) == {"data", *(f"dim{i}" for i in range(dimensions))}


HEADER = {
    "emd_group_type": "file",
    "version_major": 1,
    "version_minor": 0,
    "UUID": "",
    "authoring_program": "repro",
    "authoring_user": "",
}


def test_a_viewer_of_nexus_files_is_led_to_a_signal_with_axes_and_units(path):
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        group = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], group.attrs["NX_class"]) == ("NXentry", "NXdata")
        signal, axes = group[group.attrs["signal"]], [group[n] for n in group.attrs["axes"]]
        assert [axis.shape for axis in axes] == [(n,) for n in signal.shape]
        assert signal.attrs["units"] == "Å"
        assert [axis.attrs["long_name"] for axis in axes] == ["sample", "place [Å⁻¹]"]


def test_an_axis_of_one_entry_has_a_step(load_described, tmp_path):
    # Its step is a mean over no difference: HyperSpy showed a scale that is not a number.
    spec = load_described(x=["place"], constant=["depth"], index=[])
    one = spec.model_copy(update={"counts": {"train": 1, "validation": 0, "test": 0}})
    with h5py.File(build(one, tmp_path / "one.h5")) as file:
        samples = file[f"{emd.ROOT}/x/dim0"][()]
        assert np.diff(samples).mean() == 1.0
    emdfile = pytest.importorskip("emdfile", reason="emdfile, the readers' side, is not installed")
    array = emdfile.read(tmp_path / "one.h5", emdpath=f"{emd.ROOT}/x")
    assert [len(values) for values in array.dims] == list(array.data.shape)


@pytest.mark.parametrize("name", [name for name in spec_names() if name != "ws2_published"])
def test_every_data_spec_names_axes_so_that_other_programs_find_the_data(name):
    assert any(variable.axes for variable in load_spec(name).variables.values())


def test_data_in_the_tree_are_those_of_the_top_level(path):
    with h5py.File(path) as file:
        for name in ("x", "constant", "index"):
            ours, linked = file[name], file[f"{emd.ROOT}/{name}/data"]
            assert h5py.h5o.get_info(ours.id).addr == h5py.h5o.get_info(linked.id).addr
            assert ours.id.get_offset() == linked.id.get_offset()


def test_a_walk_through_the_file_meets_the_data_within_the_tree(path):
    # So HyperSpy searches; it would not know the data by any other path.
    met = []
    with h5py.File(path) as file:
        file.visit(met.append)
    assert {f"{emd.ROOT}/{name}/data" for name in ("x", "constant", "index")} <= set(met)


def test_tree_takes_a_few_kilobytes_at_most(path, load_toy, tmp_path):
    bare = build(load_toy().resolve("tiny"), tmp_path / "bare.h5")
    assert path.stat().st_size - bare.stat().st_size < 12_000


def test_room_is_reserved_for_long_axes(load_described):
    spec = load_described(x=["place"], index=[])
    axes = emd.find_axes(spec.model_copy(update={"counts": {"train": 10**6}}))
    assert emd.stored_bytes(axes) == 8 * (2 * 10**6 + 4)


def test_axes_do_not_alter_data_and_checksums(path, load_toy, tmp_path):
    verify(path)
    bare = Dataset.open(build(load_toy().resolve("tiny"), tmp_path / "bare.h5"))
    dataset = Dataset.open(path)
    assert dataset.checksum == bare.checksum
    for name in dataset.names:
        np.testing.assert_array_equal(dataset.array(name), bare.array(name))


def test_two_builds_give_the_same_bytes(spec, path, tmp_path):
    assert build(spec, tmp_path / "b.h5", workers=1).read_bytes() == path.read_bytes()


def test_opened_data_set_still_names_its_axes(path):
    variables = Dataset.open(path).spec.variables
    assert (variables["x"].axes, variables["index"].axes) == (("place",), ())
    assert variables["level"].axes is None


def test_without_axes_there_is_no_tree(load_toy, tmp_path):
    with h5py.File(build(load_toy().resolve("tiny"), tmp_path / "bare.h5")) as file:
        assert emd.ROOT not in file
        assert not HEADER.keys() & set(file.attrs)


def remove_tree(file):
    del file[emd.ROOT]


def remove_header(file):
    for name in HEADER:
        del file.attrs[name]


def break_link(file):
    del file[f"{emd.ROOT}/x/data"]
    file[f"{emd.ROOT}/x/data"] = h5py.SoftLink("/nowhere")


def replace_tree(file):
    del file[emd.ROOT]
    file[emd.ROOT] = np.zeros(3)


@pytest.mark.parametrize("edit", [remove_tree, remove_header, break_link, replace_tree])
def test_damage_to_the_tree_is_none_to_the_data_set(path, edit):
    before = np.array(Dataset.open(path).array("x"))
    with h5py.File(path, "r+") as file:
        edit(file)
    np.testing.assert_array_equal(Dataset.open(path).array("x"), before)
    verify(path)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"x": ["height"]},
            "^Data spec 'toy', variable 'x': described_generators:axes gives no axis 'height', "
            r"it gives place, depth, short\.$",
        ),
        (
            {"constant": ["short"]},
            "^Data spec 'toy', variable 'constant': described_generators:axes gives the axis "
            r"'short' with shape \(2,\), but the variable has 3 entries there\.$",
        ),
        (
            {"offered": None, "x": ["place"]},
            "^Data spec 'toy', variable 'x' names axes, but the data spec has no function 'axes'",
        ),
    ],
)
def test_axes_that_the_generator_does_not_give_are_refused(
    load_described, tmp_path, choices, message
):
    spec, chunks = load_described(**choices), iter([{}])
    with pytest.raises(ReproError, match=message):
        write_dataset(tmp_path / "a.h5", spec, chunks)
    assert list(chunks) == [{}], "refused before any data are read"
    assert not list(tmp_path.glob("a.h5*"))


def test_every_data_spec_of_the_repository_has_the_axes_it_names():
    for name in spec_names():
        spec = load_spec(name)
        for preset in spec.presets:
            for experiment in spec.experiments:
                resolved = spec.resolve(preset, experiment)
                for axes in emd.find_axes(resolved).values():
                    assert all(np.isfinite(axis.values).all() for axis in axes)
                    assert all((np.diff(axis.values) > 0).all() for axis in axes)
