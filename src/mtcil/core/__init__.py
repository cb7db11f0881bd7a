"""Shared basics: errors, files, finding plug-ins by name, randomness, processes.

On x86-64 CPUs with AVX2 the libraries that compute are limited to AVX2 before they are imported,
so that results are equal to the byte on all of them. An environment variable that is already set
keeps its value.
"""

import os
from pathlib import Path

AVX2_ONLY = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # its convolutions
    "MKL_CBWR": "COMPATIBLE",  # its matrix products, exp and log
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy and scipy
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy's log and exp
    "NUMBA_CPU_NAME": "haswell",  # compiled features
    "NUMBA_CPU_FEATURES": "",  # those of the name, not of this CPU
}


def has_avx2(cpu: Path) -> bool:
    """Whether Linux reports AVX2; other systems and ARM processors are left alone."""
    return cpu.is_file() and "avx2" in cpu.read_text("utf-8").split()


if has_avx2(Path("/proc/cpuinfo")):
    for variable, value in AVX2_ONLY.items():
        os.environ.setdefault(variable, value)
