"""What the program that started this process says of its place among others.

``horovodrun`` tells Horovod all it needs. Under ``mpirun`` and ``srun`` with a Horovod that has
Gloo but not MPI, `adopt` tells it in their stead, and rank 0 serves the ranks' first meeting.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import psutil

from repro.errors import NotPossibleHere, ReproError

DEFAULT_PORT = 29_430
ADDRESS = "HOROVOD_GLOO_RENDEZVOUS_ADDR"
PORT = "HOROVOD_GLOO_RENDEZVOUS_PORT"
SECONDS_BETWEEN_TRIES = 0.2
# Rank, size, local rank and local size, as Open MPI and as MPICH and its kin call them.
MPI_VARIABLES = (
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


@dataclass(frozen=True)
class Place:
    """A process's place among those that were started together.

    Parameters
    ----------
    launcher : str
        ``"horovodrun"``, ``"mpirun"`` or ``"srun"``.
    rank, size : int
        Which of how many processes.
    local_rank, local_size : int
        Which of how many on this machine.
    node, nodes : int
        Which of how many machines.
    """

    launcher: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    node: int
    nodes: int

    def __post_init__(self):
        pairs = {
            "rank": (self.rank, self.size),
            "local rank": (self.local_rank, self.local_size),
            "machine": (self.node, self.nodes),
        }
        for name, (index, count) in pairs.items():
            if not 0 <= index < count:
                raise ReproError(
                    f"{self.launcher} started this process as {name} {index} of {count}: a count "
                    "is at least 1, and numbers begin at 0; start it anew, without variables "
                    "left over from another run."
                )


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return this process's place, or None if it was started alone.

    Parameters
    ----------
    environment : mapping
        The environment variables.

    Raises
    ------
    ReproError
        If a launcher's variables make no sense, such as a size of 0.
    """
    if "HOROVOD_SIZE" in environment:
        return _horovodrun(environment)
    # A batch script runs as a step of one task of its own, whatever was asked for.
    if _number(environment, "SLURM_STEP_NUM_TASKS", 1) != 1 and "SLURM_PROCID" in environment:
        return _srun(environment)
    for names in MPI_VARIABLES:
        if _number(environment, names[1], 1) != 1:
            return _mpirun(environment, *names)
    return None


def launched_as_leader(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process was started alone, or as the first of several."""
    found = place(environment)
    return found is None or found.rank == 0


def adopt(
    found: Place, timeout_s: float, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Tell Horovod this process's place, and let rank 0 serve the ranks' first meeting.

    Parameters
    ----------
    found : Place
        From `place`; nothing is done if Horovod's own launcher started it.
    timeout_s : float
        How long to wait for rank 0 [s].
    environment : mapping
        The environment variables; those that are set already are kept.

    Raises
    ------
    NotPossibleHere
        If rank 0 does not answer, or its port is taken.
    """
    if found.launcher == "horovodrun":
        return
    address, port = _meeting_point(environment)
    for name, value in _horovod_variables(found, address, port).items():
        environment.setdefault(name, str(value))
    if found.rank == 0:
        _serve(found, port)
    else:
        _wait_for(address, port, timeout_s)


def _horovodrun(environment: Mapping[str, str]) -> Place:
    return Place(
        launcher="horovodrun",
        rank=_number(environment, "HOROVOD_RANK", 0),
        size=_number(environment, "HOROVOD_SIZE", 1),
        local_rank=_number(environment, "HOROVOD_LOCAL_RANK", 0),
        local_size=_number(environment, "HOROVOD_LOCAL_SIZE", 1),
        node=_number(environment, "HOROVOD_CROSS_RANK", 0),
        nodes=_number(environment, "HOROVOD_CROSS_SIZE", 1),
    )


def _mpirun(
    environment: Mapping[str, str], rank: str, size: str, local_rank: str, local_size: str
) -> Place:
    number, count = _number(environment, rank, 0), _number(environment, size, 1)
    on_machine = max(_number(environment, local_size, 1), 1)
    return Place(
        launcher="mpirun",
        rank=number,
        size=count,
        local_rank=_number(environment, local_rank, 0),
        local_size=on_machine,
        node=number // on_machine,
        nodes=-(-count // on_machine),
    )


def _srun(environment: Mapping[str, str]) -> Place:
    size = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
    nodes = max(_number(environment, "SLURM_STEP_NUM_NODES", 1), 1)
    return Place(
        launcher="srun",
        rank=_number(environment, "SLURM_PROCID", 0),
        size=size,
        local_rank=_number(environment, "SLURM_LOCALID", 0),
        local_size=-(-size // nodes),
        node=_number(environment, "SLURM_NODEID", 0),
        nodes=nodes,
    )


def _meeting_point(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return address and port of rank 0: as the user says, or where ``srun`` was called."""
    address = environment.get(ADDRESS) or environment.get("SLURM_LAUNCH_NODE_IPADDR")
    if not address:
        raise ReproError(
            f"No rank knows where rank 0 is: set {ADDRESS} to the address of its machine, as the "
            "templates in docs/cluster do."
        )
    # Jobs that share a machine meet at different ports.
    job = _number(environment, "SLURM_JOB_ID", 0) % 10_000
    return address, _number(environment, PORT, DEFAULT_PORT + job)


def _horovod_variables(found: Place, address: str, port: int) -> dict[str, object]:
    return {
        "HOROVOD_HOSTNAME": f"machine-{found.node}",
        "HOROVOD_RANK": found.rank,
        "HOROVOD_SIZE": found.size,
        "HOROVOD_LOCAL_RANK": found.local_rank,
        "HOROVOD_LOCAL_SIZE": found.local_size,
        "HOROVOD_CROSS_RANK": found.node,
        "HOROVOD_CROSS_SIZE": found.nodes,
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": _interface_towards(address),
        ADDRESS: address,
        PORT: port,
    }


def _interface_towards(address: str) -> str:
    """Return the network interface by which this machine reaches an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 1))  # sends nothing
        except OSError as error:
            raise NotPossibleHere(
                f"This machine cannot reach {address} ({error}): set {ADDRESS} to the address of "
                "rank 0's machine."
            ) from None
        ours = probe.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == ours for entry in addresses):
            return name
    return ""


def _serve(found: Place, port: int) -> None:
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    try:
        server = RendezvousHTTPServer(("", port), RendezvousHandler, 0)
    except OSError as error:
        raise NotPossibleHere(
            f"Rank 0 cannot serve port {port} ({error.strerror}): set {PORT} to a free one."
        ) from None
    server.scope_size = {
        "global": found.size,
        **{f"local_machine-{node}": found.local_size for node in range(found.nodes)},
        **{f"cross_{rank}": found.nodes for rank in range(found.local_size)},
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _wait_for(address: str, port: int, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise NotPossibleHere(
                    f"Rank 0 does not answer at {address} port {port} ({error}): see whether it "
                    f"was started, and whether {ADDRESS} is its machine."
                ) from None
        time.sleep(SECONDS_BETWEEN_TRIES)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise ReproError(f"{name} is '{text}', which is no whole number.") from None
