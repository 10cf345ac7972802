"""Starts `train_together.py`, or a command, as several ranks; nothing is left running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("train_together.py")
BIN = Path(sys.executable).parent
LIMIT_S = 240


def environment(**variables):
    """Return the environment of a rank: one thread, and the package of this checkout."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "KERAS_BACKEND": "tensorflow",
        **variables,
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def script(options):
    return [sys.executable, str(SCRIPT), json.dumps(options)]


def horovodrun(command, *arguments, limit_s=LIMIT_S, **variables):
    """Run a command as ranks that ``horovodrun`` starts; return the finished process."""
    words = ["horovodrun", "--gloo", *map(str, arguments), *command]
    return finished([start(words, environment(**variables))], limit_s)[0]


def srun(commands, limit_s=LIMIT_S, **variables):
    """Run a command a rank, as Slurm would on one machine; return the finished processes."""
    meeting = {"SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1", "SLURM_STEP_NUM_TASKS": len(commands)}
    meeting |= {"SLURM_STEP_NUM_NODES": 1, "HOROVOD_GLOO_RENDEZVOUS_PORT": free_port()}
    processes = []
    for rank, command in enumerate(commands):
        place = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": 0}
        told = {name: str(value) for name, value in {**meeting, **place}.items()}
        processes.append(start(command, environment(**told, **variables)))
    return finished(processes, limit_s)


def srun_on_machines(command, machines, address, limit_s=LIMIT_S):
    """Run a command as one rank on each of several network namespaces, as Slurm would."""
    count = len(machines)
    meeting = {"SLURM_LAUNCH_NODE_IPADDR": address, "SLURM_STEP_NUM_TASKS": count}
    processes = []
    for rank, machine in enumerate(machines):
        place = {"SLURM_PROCID": rank, "SLURM_LOCALID": 0, "SLURM_NODEID": rank}
        place |= {"SLURM_STEP_NUM_NODES": count, **meeting}
        told = {name: str(value) for name, value in place.items()}
        within = ["ip", "netns", "exec", machine, *command]
        processes.append(start(within, environment(**told)))
    return finished(processes, limit_s)


def start(command, variables, **options):
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=variables, start_new_session=True, **piped, **options)


def finished(processes, limit_s):
    """Wait for processes; past the limit end them with all they started, and fail."""
    done = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=limit_s)
            done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
        return done
    finally:
        for process in processes:
            if process.poll() is None:
                family = psutil.Process(process.pid)
                for member in [*family.children(recursive=True), family]:
                    member.kill()
                process.communicate()
