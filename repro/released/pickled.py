"""The program in a file that ``torch.save`` wrote, followed without running it.

A pickle is a program that may call anything. Of its instructions those alone are understood that
write down a dict of tensors, and of all that it could call, what PyTorch needs for one; their names
are compared, and nothing is imported or called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What a program may call, by module and name; storages with the type of their numbers.
DICT, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
STORAGES = {
    "torch DoubleStorage": "f8",
    "torch FloatStorage": "f4",
    "torch HalfStorage": "f2",
    "torch LongStorage": "i8",
    "torch IntStorage": "i4",
    "torch ShortStorage": "i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "?",
}
STATED_FIRST = 4  # of what a tensor is made of: storage, offset, shape, strides


class NotOnlyTensors(ValueError):
    """A program does what no dict of tensors needs, or is none: a phrase says what."""


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, in a file of their own.

    Parameters
    ----------
    key : str
        The file's name.
    dtype : str
        Of the numbers, as numpy calls it, without the order of bytes.
    count : int
        How many there are, as the program states.
    """

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """Where the numbers of a tensor are.

    Parameters
    ----------
    storage : Storage
        The numbers, which tensors may share.
    offset : int
        Which of them is the first.
    shape, strides : tuple of int
        Of the tensor, in numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def stored_tensors(program: bytes) -> dict[str, StoredTensor]:
    """Return the tensors that a program writes down, by name and in its order.

    Raises
    ------
    NotOnlyTensors
        If it does anything else, naming that, or is cut off.
    """
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(program):
            if instruction.name not in STEPS:
                raise NotOnlyTensors(f"has the instruction {instruction.name}")
            STEPS[instruction.name](machine, argument)
        (found,) = machine.stack
    except NotOnlyTensors:
        raise
    except (ValueError, LookupError, TypeError, AttributeError):
        raise NotOnlyTensors("is damaged") from None
    if not isinstance(found, dict) or not found:
        raise NotOnlyTensors("holds no dict of tensors")
    for name, value in found.items():
        if not isinstance(value, StoredTensor):
            raise NotOnlyTensors(f"holds {name!r}, which is no tensor")
    return found


@dataclass(frozen=True)
class _Named:
    """What the program could call, by the words it says."""

    words: str


class _Machine:
    """What the program has written down so far."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def name(self, words: str) -> None:
        if words not in (DICT, TENSOR, *STORAGES):
            raise NotOnlyTensors(f"asks for {words.replace(' ', '.')!r}")
        self.push(_Named(words))

    def mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def last(self, n: int) -> list[Any]:
        return [self.stack.pop() for _ in range(n)][::-1]

    def remember(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def call(self, _: None) -> None:
        called, arguments = self.last(2)
        if called == _Named(DICT) and arguments == ():
            self.push({})
        elif called == _Named(TENSOR) and isinstance(arguments, tuple):
            self.push(_tensor(*arguments[:STATED_FIRST]))
        else:
            raise NotOnlyTensors("calls what it should not")

    def refer(self, _: None) -> None:
        kind, named, key, _place, count = self.stack.pop()
        if kind != "storage" or not isinstance(key, str) or not _are_counts(count):
            raise NotOnlyTensors("refers to numbers in an unknown way")
        self.push(Storage(key, STORAGES[named.words], count))

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str):
                raise NotOnlyTensors("has a name that is no text")
            target[key] = value

    def describe(self, _: None) -> None:
        """Let a dict of tensors have its description, the versions of its layers: no use here."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise NotOnlyTensors("calls what it should not")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor:
    are_rows = isinstance(shape, tuple) and isinstance(strides, tuple)
    if not (isinstance(storage, Storage) and are_rows and len(shape) == len(strides)):
        raise NotOnlyTensors("has a tensor without numbers, shape or strides")
    if not _are_counts(offset, *shape, *strides):
        raise NotOnlyTensors("has a tensor whose shape is none")
    return StoredTensor(storage, offset, shape, strides)


def _are_counts(*numbers: Any) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def _nothing(machine: _Machine, argument: Any) -> None:
    pass


STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "STOP": _nothing,
    "GLOBAL": _Machine.name,
    "MARK": _Machine.mark,
    "REDUCE": _Machine.call,
    "BINPERSID": _Machine.refer,
    "BUILD": _Machine.describe,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.last(3))),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "BINGET": lambda machine, number: machine.push(machine.memo[number]),
    "LONG_BINGET": lambda machine, number: machine.push(machine.memo[number]),
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    **dict.fromkeys(
        ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"), _Machine.push
    ),
}  # fmt: skip
