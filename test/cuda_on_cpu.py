"""CUDA kernels compiled as C++ and run on the CPU, one thread of the grid after another.

What the source computes is tested with this where there is no GPU. It knows only what our kernels
use: the built-in indices and the C mathematics library.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

_TYPES = {
    "P": (ctypes.c_void_p, "void *"),
    "i": (ctypes.c_int, "int"),
    "f": (ctypes.c_float, "float"),
}
_SHIM = """
#include <math.h>
struct Index {{ unsigned x, y, z; }};
static Index blockIdx, threadIdx, blockDim, gridDim;
#define __global__
#define __device__
#include "{source}"
extern "C" void run(const unsigned *grid, const unsigned *block, {parameters})
{{
    gridDim = {{grid[0], grid[1], grid[2]}};
    blockDim = {{block[0], block[1], block[2]}};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
    for (threadIdx.z = 0; threadIdx.z < block[2]; ++threadIdx.z)
    for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x)
        reinterpret_cast<void (*)({types})>({name})({arguments});
}}
"""


def compile_for_cpu(source: Path, name: str, argument_types: str, folder: Path, *options: str):
    """A function ``(grid, block, *arguments)`` that runs a kernel; addresses are integers.

    Compiles anew only what is not in the folder yet. Skips the test where there is no g++.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed; CUDA kernels are run on the CPU with it")
    names = [f"a{i}" for i in range(len(argument_types))]
    types = [_TYPES[letter][1] for letter in argument_types]
    text = _SHIM.format(
        source=Path(source).resolve(),
        name=name,
        types=", ".join(types),
        parameters=", ".join(map("{} {}".format, types, names)),
        arguments=", ".join(names),
    )
    content = text + source.read_text() + " ".join(options)
    library = folder / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        file = library.with_suffix(".cpp")
        file.write_text(text)
        warnings = ("-Wall", "-Werror", "-Wno-unused-variable")
        command = (compiler, "-O2", *warnings, "-shared", "-fPIC", "-ffp-contract=off", *options)
        subprocess.run([*command, str(file), "-o", str(library)], check=True)
    run = ctypes.CDLL(str(library)).run
    run.restype = None
    indices = ctypes.c_uint * 3
    run.argtypes = [indices, indices, *(_TYPES[letter][0] for letter in argument_types)]

    def launch(grid, block, *arguments):
        run(indices(*grid), indices(*block), *arguments)

    return launch
