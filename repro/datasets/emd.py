"""EMD 1.0 (emdatasets.com/format): how other microscopy programs find the variables of a file.

The tree links to the variables at the file's top level, so that nothing is stored twice, and adds
the coordinates along their axes.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import h5py
import numpy as np

from repro.datasets.spec import ResolvedSpec, load_function
from repro.errors import ReproError

# HyperSpy walks through a file and meets each array once, at the path that sorts first: this name
# stands before all variables, and since it is no identifier no variable can have it.
ROOT = "0_emd"


@dataclass(frozen=True)
class Axis:
    """Coordinates along one axis of a variable.

    Parameters
    ----------
    name : str
        As in the data spec, or ``sample``.
    values : numpy.ndarray
        One for each entry along the axis, ``(n,)`` [unit].
    unit : str
        Their unit.
    """

    name: str
    values: np.ndarray
    unit: str


def find_axes(spec: ResolvedSpec) -> dict[str, list[Axis]]:
    """Return the axes, that of the samples first, of every variable that names them.

    Raises
    ------
    ReproError
        If the data spec's function `axes` does not give an axis, or one of another length.
    """
    named = {name: v for name, v in spec.variables.items() if v.axes is not None}
    offered = _offered_axes(spec) if named else {}
    samples = Axis("sample", np.arange(spec.n_samples), "")
    return {
        name: [
            samples,
            *(
                _find_axis(spec, name, axis, size, offered)
                for axis, size in zip(variable.axes, variable.shape, strict=True)
            ),
        ]
        for name, variable in named.items()
    }


def write_tree(file: h5py.File, spec: ResolvedSpec, axes: dict[str, list[Axis]]) -> None:
    """Add the tree to a data set's file; without axes there is none.

    Parameters
    ----------
    file : h5py.File
        The file, open for writing, with all variables.
    spec : ResolvedSpec
        What the data set is.
    axes : dict
        The axes of variables, from `find_axes`.
    """
    units = {name: spec.variables[name].unit for name in axes}
    write_arrays(file, units, axes, spec.fingerprint)


def write_arrays(
    file: h5py.File, units: dict[str, str], axes: dict[str, list[Axis]], identity: str
) -> None:
    """Add a tree to a file with arrays at its top level; without axes there is none.

    Parameters
    ----------
    file : h5py.File
        The file, open for writing, with all arrays.
    units : dict
        The unit of each array.
    axes : dict
        The axes of each.
    identity : str
        What the file's UUID is made of.
    """
    if not axes:
        return
    file.attrs["emd_group_type"] = "file"
    file.attrs["version_major"] = 1
    file.attrs["version_minor"] = 0
    file.attrs["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, identity))
    file.attrs["authoring_program"] = "repro"
    file.attrs["authoring_user"] = ""
    root = _add_node(file, ROOT, "root", "Root")
    for name, its_axes in axes.items():
        array = _add_node(root, name, "array", "Array")
        array["data"] = file[name]  # a hard link
        array["data"].attrs["units"] = units[name]
        for number, axis in enumerate(its_axes):
            dimension = array.create_dataset(f"dim{number}", data=_stored(axis.values))
            dimension.attrs["name"] = axis.name
            dimension.attrs["units"] = axis.unit
        _add_nexus(array, its_axes)
    root.attrs["NX_class"] = "NXentry"
    root.attrs["default"] = next(iter(axes))
    file.attrs["default"] = ROOT


def _add_nexus(array: h5py.Group, axes: list[Axis]) -> None:
    """Say what is plotted against what, as viewers of NeXus files ask for it (NXdata)."""
    array.attrs["NX_class"] = "NXdata"
    array.attrs["signal"] = "data"
    names = [f"dim{number}" for number in range(len(axes))]
    array.attrs["axes"] = np.array(names, h5py.string_dtype("ascii", len(names[0])))
    for name, axis in zip(names, axes, strict=True):
        array[name].attrs["long_name"] = f"{axis.name} [{axis.unit}]" if axis.unit else axis.name


def _stored(values: np.ndarray) -> np.ndarray:
    """Return an axis as EMD keeps it: a single place has no step, and gets one."""
    return np.append(values, values + 1) if len(values) == 1 else values


def stored_bytes(axes: dict[str, list[Axis]]) -> int:
    """Return the size of the coordinates [bytes]."""
    return sum(_stored(axis.values).nbytes for its_axes in axes.values() for axis in its_axes)


def _add_node(parent: h5py.Group, name: str, group_type: str, python_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["emd_group_type"] = group_type
    group.attrs["python_class"] = python_class
    return group


def _offered_axes(spec: ResolvedSpec) -> dict[str, tuple[np.ndarray, str]]:
    return load_function(spec.axes)(dict(spec.parameters)) if spec.axes else {}


def _find_axis(
    spec: ResolvedSpec,
    variable: str,
    name: str,
    size: int,
    offered: dict[str, tuple[np.ndarray, str]],
) -> Axis:
    where, source = f"Data spec '{spec.name}', variable '{variable}'", spec.axes
    if source is None:
        raise ReproError(f"{where} names axes, but the data spec has no function 'axes'.")
    if name not in offered:
        raise ReproError(
            f"{where}: {source} gives no axis '{name}', it gives {', '.join(offered) or 'none'}."
        )
    values, unit = offered[name]
    if np.shape(values) != (size,):
        raise ReproError(
            f"{where}: {source} gives the axis '{name}' with shape {np.shape(values)}, but the "
            f"variable has {size} entries there."
        )
    return Axis(name, np.asarray(values), unit)
