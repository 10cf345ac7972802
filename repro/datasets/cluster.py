"""Calling a function on the workers of a dask cluster, a few calls at a time.

The workers share no file system with this machine: arguments go out, results come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import re
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import scipy
from threadpoolctl import threadpool_limits

from repro.code_hash import hash_file, hash_files, source_files
from repro.errors import NotPossibleHere, ReproError

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10
WORKER_SECONDS = 30
LOOK_AGAIN_SECONDS = 5
CALLS_PER_THREAD = 2  # one runs, the next lies ready: no worker waits, no memory fills up

ADDRESS = re.compile(r"tcp://([\w.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")
ABOVE_ALL_LEVELS = logging.CRITICAL + 1
KEPT = "what was finished is kept"


def check_address(address: str) -> None:
    """Refuse what is no address of a scheduler.

    Parameters
    ----------
    address : str
        Such as ``tcp://127.0.0.1:8786``.

    Raises
    ------
    ReproError
        If it is written in another way.
    """
    found = ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[2]) < 2**16:
        raise ReproError(
            f"'{address}' is no address of a dask scheduler: write it as tcp://HOST:PORT, such as "
            "tcp://127.0.0.1:8786."
        )


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler; when left, for whatever reason, what still waits there is dropped.

    Parameters
    ----------
    address : str
        The scheduler's, ``tcp://HOST:PORT``.

    Raises
    ------
    NotPossibleHere
        If dask is not installed, or no scheduler answers at the address in time.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise NotPossibleHere(
            "A cluster needs dask, which is not installed here: pip install 'repro[cluster]'."
        ) from None
    with _dask_silent():
        client = _open_client(address)
        try:
            yield client
        finally:
            with contextlib.suppress(TimeoutError):
                client.close()


def results(
    client: Client, function: Callable, calls: dict[Any, tuple], module: str
) -> Iterator[tuple[Any, Any]]:
    """Call a function on the cluster; yield each call's name and result as they come.

    At most `CALLS_PER_THREAD` calls are under way for each thread of the cluster, so that few
    results wait for this machine. A call whose worker is lost is made again by another one.

    Parameters
    ----------
    client : distributed.Client
        From `connected`.
    function : callable
        What is called, on one thread; a function that can be imported on the workers.
    calls : dict
        The arguments of each call, by any name for it.
    module : str
        The workers must have the code of this module that this machine has: see `running_code`.

    Raises
    ------
    ReproError
        If a worker runs other code or lacks it, or a call ends worker after worker; and whatever
        the function raises.
    NotPossibleHere
        If the cluster has no workers, or the scheduler is lost.
    """
    code = running_code(module)
    waiting, sent = deque(calls), {}
    while waiting or sent:
        with _plain_errors():
            room = CALLS_PER_THREAD * _count_threads(client) - len(sent)
            for name in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                call = pickle.dumps(_Call(_call_alike, (code, module, function, *calls[name])))
                sent[client.submit(pickle.loads, call, pure=False)] = name
            done = _some_done(sent)
        for future in done:
            with _plain_errors():
                result = _outcome(future)
            yield sent.pop(future), result


def running_code(module: str) -> dict[str, str]:
    """Return what the numbers of a module's functions depend on, a text for each.

    The code is that of `repro.code_hash.source_files` and of ``repro.datasets``. It is read once,
    when it is loaded: a process that outlives a change of its files goes on with what it loaded.

    Parameters
    ----------
    module : str
        Such as ``repro.studies.mamba.simulate``.
    """
    here = {f"datasets/{file.name}": file for file in Path(__file__).parent.glob("*.py")}
    return {
        "code of repro": hash_files(source_files(module) | here, _hash_loaded),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }


_hash_loaded = cache(hash_file)


@dataclass(frozen=True)
class _Call:
    """A call that is made when it is unpickled.

    A worker that cannot import the function then fails in this one call and can say so; it would
    end without a word if dask unpickled the function for it. The scheduler unpickles nothing.
    """

    function: Callable
    arguments: tuple

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.function, self.arguments


def _call_alike(code: dict[str, str], module: str, function: Callable, *arguments: Any) -> Any:
    """Call a function on a worker, provided that its code is that of the machine that asks."""
    from distributed import get_worker

    own = running_code(module)
    differing = ", ".join(name for name in code if own[name] != code[name])
    if differing:
        raise ReproError(
            f"The worker {get_worker().address} might give other bytes than this machine "
            f"({differing} differ): install the same versions there and start it anew."
        )
    # For good: the threads of a worker share this limit, and one that ends must not lift it.
    threadpool_limits(1)
    return function(*arguments)


def _open_client(address: str) -> Client:
    from distributed import Client

    try:
        # In a thread of its own, since a notebook has an event loop running in this one.
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(asyncio.run, _ask_kind(address)).result()
        if kind == "Scheduler":
            return Client(address, timeout=CONNECT_SECONDS)
    # What another kind of server answers is read as dask's and fails in any way, for want of
    # memory too.
    except Exception:
        raise NotPossibleHere(
            f"No dask scheduler answers at {address} within {CONNECT_SECONDS} s: start one with "
            "`dask scheduler`, or correct the address."
        ) from None
    raise ReproError(
        f"What answers at {address} is a {kind.lower()} of dask: give the scheduler's address."
    )


async def _ask_kind(address: str) -> str:
    """Return whether a scheduler, a worker or a nanny listens at an address.

    A client would wait for ever for the greeting of a server that is not dask's.
    """
    from distributed.core import rpc

    async with asyncio.timeout(CONNECT_SECONDS), rpc(address, timeout=CONNECT_SECONDS) as remote:
        return (await remote.identity())["type"]


def _count_threads(client: Client) -> int:
    """Return the threads of all workers, of which there is at least one."""
    if client.status != "running":
        raise CancelledError
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
        return sum(client.nthreads().values())
    except TimeoutError:
        raise NotPossibleHere(
            f"The cluster has had no worker for {WORKER_SECONDS} s: start some with "
            f"`dask worker`, then run the same command again; {KEPT}."
        ) from None
    except OSError:
        raise CancelledError from None


def _some_done(futures: Iterable[Future]) -> Collection[Future]:
    """Wait until some calls are done; return none if it is time to look after the workers."""
    from distributed import wait

    try:
        return wait(list(futures), LOOK_AGAIN_SECONDS, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        return []


def _outcome(future: Future) -> Any:
    """Return the result of a call that is done, or raise what it raised."""
    try:
        return future.result()
    except OSError:
        if future.status == "error":
            raise
        raise CancelledError from None


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Tell what befalls a cluster in one sentence each."""
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise ReproError(
            f"{error.allowed_failures + 1} workers ended over the same shard, perhaps for want of "
            f"memory: run the same command again with fewer workers a machine; {KEPT}."
        ) from None
    except CancelledError:
        raise NotPossibleHere(
            "The connection to the scheduler is lost: start it again, then run the same command "
            f"again; {KEPT}."
        ) from None
    except ImportError as error:
        raise ReproError(
            f"A worker cannot load the generator ({error}): install this version of repro on all "
            "machines of the cluster and start its workers anew."
        ) from None


@contextlib.contextmanager
def _dask_silent() -> Iterator[None]:
    """Keep dask's messages from the terminal: what matters is raised."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(ABOVE_ALL_LEVELS)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
