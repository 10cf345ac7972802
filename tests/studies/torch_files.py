"""Files as PyTorch writes them, and such as it never would; tests import it as ``torch_files``."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

CALL_DICT = b"ccollections\nOrderedDict\n)R"


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words.encode())) + words.encode()


def count(number: int) -> bytes:
    digits = number.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + digits  # LONG1


def counts(numbers) -> bytes:
    return b"(" + b"".join(map(count, numbers)) + b"t"


def tensor(
    key: str, stated: int, shape, strides, offset: int = 0, kind: str = "torch\nFloatStorage"
) -> bytes:
    """Return the instructions that write down a tensor."""
    storage = b"(" + text("storage") + f"c{kind}\n".encode() + text(key) + text("cpu")
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (storage + count(stated) + b"tQ" + count(offset) + counts(shape) + counts(strides))
        + (b"\x89" + CALL_DICT + b"tR")
    )


def program(items: Mapping[str, bytes]) -> bytes:
    """Return the program that writes down a state dict, of the instructions of its tensors."""
    pairs = b"".join(text(name) + written for name, written in items.items())
    return b"\x80\x02" + CALL_DICT + b"(" + pairs + b"u."


def steps(shape) -> list[int]:
    return [int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape))]


def state_dict(path: Path, tensors: Mapping[str, np.ndarray], **changes: bytes | None) -> Path:
    """Write float32 tensors as ``torch.save`` writes a state dict.

    Parameters
    ----------
    path : Path
        The file.
    tensors : mapping
        By name.
    changes : bytes, optional
        Other contents of files within: ``program``, ``byteorder``, ``data_0`` and so on; None
        leaves one out.
    """
    written = {
        name: tensor(str(place), values.size, values.shape, steps(values.shape))
        for place, (name, values) in enumerate(tensors.items())
    }
    members = {"program": program(written), "byteorder": b"little", "version": b"3\n"}
    members |= {
        f"data_{place}": values.astype("<f4").tobytes()
        for place, values in enumerate(tensors.values())
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | changes).items():
            if content is not None:
                inner = "data.pkl" if name == "program" else name.replace("_", "/")
                archive.writestr(f"translator/{inner}", content)
    return path
