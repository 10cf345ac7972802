"""Compiled programs that JAX keeps on disk."""

from __future__ import annotations

import os

from repro.errors import NotPossibleHere
from repro.files import cache_folder

LEAST_SECONDS = 0.2  # to compile; what is quicker is compiled anew


def keep_programs() -> None:
    """Let JAX keep compiled programs, so that networks of one shape are compiled once.

    They are kept in ``repro/jax`` under the user's cache folder (``XDG_CACHE_HOME``), or wherever
    ``JAX_COMPILATION_CACHE_DIR`` says; nowhere if that folder cannot be written.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        folder = cache_folder() / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, NotPossibleHere):  # no home, or one that cannot be written
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
        compilation_cache.reset_cache()  # JAX looks at its settings once
