"""Hashes and facts that explain why a number moved: code, metrics, data, settings, machine."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from repro.bench.device import gpu_name, package_versions, sysinfo
from repro.code_hash import hash_code
from repro.errors import ReproError
from repro.evaluation.metrics import Metric
from repro.evaluation.records import (
    DataEntry,
    Environment,
    Flags,
    Hashes,
    RecordedMetric,
    without_paths,
)
from repro.training.ways import ONE_BY_ONE

# Of the shell: they choose other kernels or other roundings, and no flag above tells of them.
OF_ARITHMETIC = (
    *("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"),
    *("TF_XLA_FLAGS", "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "TF_CUDNN_USE_AUTOTUNE"),
    *("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_PRNG_IMPL"),
)
TOLD_BY_OTHER_FLAGS = ("--xla_gpu_deterministic_ops", "--xla_force_host_platform_device_count")


def hashes(
    study: str,
    metrics: Mapping[str, Metric | RecordedMetric],
    data: DataEntry,
    configuration: Any,
    environment: Environment,
) -> Hashes:
    """Return the five hashes of a record.

    Parameters
    ----------
    study : str
        The study's name.
    metrics : mapping
        Metrics by name; their values do not count.
    data : DataEntry
        The data set's identity.
    configuration : JSON value
        All that was chosen: variant, preset, experiment, seeds, recipes, settings.
    environment : Environment
        From `environment`.
    """
    return Hashes(
        code=hash_code(study),
        metrics=hash_metrics(metrics),
        data=hash_data(data),
        configuration=hash_json(configuration),
        environment=hash_environment(environment),
    )


def hash_json(content: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys.

    Raises
    ------
    ReproError
        If it holds something that JSON cannot state, so that its text would not be stable.
    """
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ReproError(f"A configuration must be made of JSON values: {error}.") from None
    return hashlib.sha256(text.encode()).hexdigest()


def hash_metrics(metrics: Mapping[str, Metric | RecordedMetric]) -> str:
    """Return the hash of what each metric means: name, unit, direction and definition."""
    return hash_json({name: [m.unit, m.better, m.definition] for name, m in metrics.items()})


def hash_data(data: DataEntry) -> str:
    """Return the hash of a data set: what was asked for and what came out."""
    return hash_json([data.name, data.version, data.fingerprint, data.checksum])


def hash_environment(environment: Environment) -> str:
    """Return the hash of what can round differently; the size of the memory cannot."""
    content = environment.model_dump(exclude={"memory_gb"})
    # Records from before these flags keep their hash.
    if not content["flags"]["tf32"]:
        del content["flags"]["tf32"]
    if content["flags"]["steps"] == ONE_BY_ONE:
        del content["flags"]["steps"]
    if not content["flags"]["variables"]:
        del content["flags"]["variables"]
    return hash_json(content)


def environment(
    precision: str,
    xla: bool,
    determinism: bool | None = None,
    world_size: int = 1,
    steps: str = ONE_BY_ONE,
) -> Environment:
    """Return the machine, the packages and the settings in force.

    Parameters
    ----------
    precision : str
        Keras dtype policy the networks were trained under.
    xla : bool
        Whether the training step was compiled by XLA.
    determinism : bool, optional
        Whether operations give the same bits each time; by default the backend is asked.
    world_size : int
        Number of processes that trained together.
    steps : str
        How the steps of the training were taken.
    """
    import keras

    backend = keras.config.backend()
    flags = Flags(
        backend=backend,
        precision=precision,
        xla=xla,
        determinism=_determinism(backend) if determinism is None else determinism,
        threads=_threads(backend),
        world_size=world_size,
        tf32=_tf32(backend),
        steps=steps,
        variables=_variables(),
    )
    facts = sysinfo()
    # Horovod moves no number of a run that did without it.
    if world_size > 1 and backend == "tensorflow":
        facts["packages"] |= package_versions(["horovod"])
    return Environment(**facts, flags=flags)


def command_line(arguments: list[str] | None = None) -> str:
    """Return the command as a reader would type it: ``repro run ...``, without absolute paths."""
    words = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["repro", *(without_paths(word) for word in words)])


def _variables() -> dict[str, str]:
    """Return the variables of the shell that reach into arithmetic, as far as they are set."""
    found = {name: os.environ.get(name, "") for name in OF_ARITHMETIC}
    kept = [flag for flag in found["XLA_FLAGS"].split() if not flag.startswith(TOLD_BY_OTHER_FLAGS)]
    found["XLA_FLAGS"] = " ".join(kept)
    return {name: value for name, value in found.items() if value}


def _determinism(backend: str) -> bool:
    if backend == "tensorflow":
        from tensorflow.python.framework.config import is_op_determinism_enabled

        return is_op_determinism_enabled()
    return "xla_gpu_deterministic_ops=true" in os.environ.get("XLA_FLAGS", "")


def _tf32(backend: str) -> bool:
    """Tell whether float32 products are rounded to TF32, the default of both backends on a GPU."""
    if gpu_name() is None:
        return False
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.tensor_float_32_execution_enabled()
    import jax

    return jax.config.jax_default_matmul_precision not in ("float32", "highest")


def _threads(backend: str) -> int:
    """Return the threads within one operation; 0 leaves the number to the backend."""
    if backend == "tensorflow":
        import tensorflow as tf

        chosen = tf.config.threading.get_intra_op_parallelism_threads()
        return chosen or int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0"))
    return 0
