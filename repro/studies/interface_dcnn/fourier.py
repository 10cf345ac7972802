"""Fourier transforms of the rows of complex64 arrays: MKL's where it is installed, else SciPy's."""

from __future__ import annotations

import importlib.util

import numpy as np
import scipy.fft

HAS_MKL = importlib.util.find_spec("mkl_fft") is not None
ALIGNMENT = 64  # [bytes] a cache line: the same rounding whatever address the memory has

if HAS_MKL:
    import mkl_fft

    def transform_rows(rows: np.ndarray, out: np.ndarray) -> None:
        """Fourier transform along the last axis, ``(..., n)`` into an array of the same shape."""
        mkl_fft.fft(rows, axis=-1, out=out)

    def invert_rows(rows: np.ndarray, out: np.ndarray) -> None:
        """Inverse Fourier transform along the last axis, divided by its length."""
        mkl_fft.ifft(rows, axis=-1, out=out)

else:

    def transform_rows(rows: np.ndarray, out: np.ndarray) -> None:
        """Fourier transform along the last axis, ``(..., n)`` into an array of the same shape."""
        out[...] = scipy.fft.fft(rows, axis=-1)

    def invert_rows(rows: np.ndarray, out: np.ndarray) -> None:
        """Inverse Fourier transform along the last axis, divided by its length."""
        out[...] = scipy.fft.ifft(rows, axis=-1)


def aligned_zeros(*shape: int) -> np.ndarray:
    """Return zeros, complex64, that begin at a cache line."""
    size = int(np.prod(shape))
    item = np.dtype(np.complex64).itemsize
    memory = np.zeros(size + ALIGNMENT // item, dtype=np.complex64)
    start = -memory.ctypes.data % ALIGNMENT // item
    return memory[start : start + size].reshape(shape)
