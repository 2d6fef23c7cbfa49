"""Run the tests that matter for a Jetson, with its Python and OpenCV and the real TensorRT API.

``check_jetson.sh`` finds a Python 3.8 and runs this with it. The environment is in
``build/jetson``; it is made again when ``requirements/jetson.txt`` or this file changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "jetson.txt"
WORK = ROOT / "build" / "jetson"
VENV = WORK / "venv"
PYTHON = VENV / "bin" / "python"
STAMP = WORK / "stamp"
LOG = WORK / "log"
LOG_LINES_SHOWN = 30

# pycuda links with the CUDA driver. Machines without one get this library instead: it has all the
# functions that pycuda calls, and reports no GPU. Only test/jetson uses it.
EMPTY_DRIVER = WORK / "empty_driver"
NO_DEVICE = """\
static int no_device(int code, const char **text, const char *answer)
{ *text = code == 100 ? answer : 0; return code != 100; }
int cuGetErrorName(int code, const char **text)
{ return no_device(code, text, "CUDA_ERROR_NO_DEVICE"); }
int cuGetErrorString(int code, const char **text)
{ return no_device(code, text, "no CUDA-capable device is detected"); }
"""
# This header is missing from the toolkit's wheels.
PROFILER_HEADER = """\
#include <cuda.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef enum CUoutput_mode_enum { CU_OUT_KEY_VALUE_PAIR, CU_OUT_CSV } CUoutput_mode;
CUresult CUDAAPI cuProfilerInitialize(const char *, const char *, CUoutput_mode);
CUresult CUDAAPI cuProfilerStart(void);
CUresult CUDAAPI cuProfilerStop(void);
#ifdef __cplusplus
}
#endif
"""
# JetPack 5 has CUDA 11.4. With this number pycuda leaves out what is newer.
JETPACK_CUDA = "11040"

# test/core/model tests torch networks; the node does not need torch.
TESTS = ("test/core", "test/jetson", "test/gpu", "--ignore=test/core/model")


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"check-jetson: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """Exit with an error message."""
    print(f"check-jetson: {text}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def call(*command: str | Path, **environment: str) -> None:
    """Run a command, with its output in the log. If it fails, the check ends."""
    with LOG.open("a") as log:
        print("$", *command, file=log, flush=True)
        code = subprocess.call(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    if code != 0:
        lines = LOG.read_text(errors="replace").splitlines()
        print("\n".join(lines[-LOG_LINES_SHOWN:]), file=sys.stderr)
        fail(f"`{command[0]}` failed (exit status {code}). Above: the end of {LOG}")


def pip(*arguments: str | Path, **environment: str) -> None:
    """Run the environment's pip."""
    call(PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments, **environment)


def build_pycuda(requirement: str) -> None:
    """Compile pycuda against the CUDA headers that were installed with TensorRT."""
    include, download = EMPTY_DRIVER / "include", WORK / "pycuda"
    for folder in (include, download):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    (include / "cudaProfiler.h").write_text(PROFILER_HEADER)
    write_driver([])

    pip("download", "--no-deps", "--no-build-isolation", "--no-binary=:all:", "-d", download,
        requirement)  # fmt: skip
    (archive,) = download.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(download)
    (source,) = (path.parent for path in download.glob("*/setup.py"))
    (toolkit,) = VENV.glob("lib/python3.8/site-packages/nvidia/cuda_runtime")
    settings = {
        "CUDA_ROOT": str(toolkit),
        "CUDA_INC_DIR": [str(toolkit / "include"), str(include)],
        "CUDADRV_LIB_DIR": [str(EMPTY_DRIVER)],
        "CUDA_PRETEND_VERSION": JETPACK_CUDA,
        "CUDA_ENABLE_CURAND": False,
        "CXXFLAGS": ["-O0", "-g0", "-w"],
    }
    (source / "siteconf.py").write_text("".join(f"{k} = {v!r}\n" for k, v in settings.items()))
    # The library is still empty here; without this flag the linker would drop it.
    flags = "-Wl,--no-as-needed"
    pip("install", "--no-deps", "--no-build-isolation", source, LDFLAGS=flags)

    (driver_module,) = VENV.glob("lib/python3.8/site-packages/pycuda/_driver.*.so")
    listing = subprocess.run(
        ["nm", "-D", "--undefined-only", str(driver_module)],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split()[-1] for line in listing.stdout.splitlines() if line.strip()}
    names -= {"cuGetErrorName", "cuGetErrorString"}
    write_driver(sorted(name for name in names if name.startswith("cu")))


def write_driver(names: Sequence[str]) -> None:
    """Compile a libcuda.so.1 whose functions all return CUDA_ERROR_NO_DEVICE."""
    source = EMPTY_DRIVER / "driver.c"
    source.write_text(NO_DEVICE + "".join(f"int {name}() {{ return 100; }}\n" for name in names))
    library = EMPTY_DRIVER / "libcuda.so.1"
    call("gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source)
    link = EMPTY_DRIVER / "libcuda.so"
    if not link.exists():
        link.symlink_to(library.name)


def make_environment() -> None:
    """Make the environment, unless it is there and up to date."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == key and PYTHON.exists():
        return
    if platform.machine() != "x86_64":
        fail(
            f"TensorRT's wheels are for x86-64, this is {platform.machine()}. On a Jetson use "
            "JetPack's own: python3 -m pytest test/core test/jetson test/gpu "
            "--ignore=test/core/model"
        )
    missing = [tool for tool in ("gcc", "g++", "nm") if shutil.which(tool) is None]
    if missing:
        fail(f"{', '.join(missing)} not found; install with: sudo apt-get install --yes g++")
    say(f"making {VENV.relative_to(ROOT)} with {sys.executable}: 3 GB, some minutes, once")
    STAMP.unlink(missing_ok=True)
    LOG.unlink(missing_ok=True)
    shutil.rmtree(VENV, ignore_errors=True)
    call(sys.executable, "-m", "venv", VENV)
    lines = REQUIREMENTS.read_text().splitlines()
    (pycuda,) = (line for line in lines if line.startswith("pycuda=="))
    wheels = WORK / "wheels.txt"
    wheels.write_text("\n".join(line for line in lines if line != pycuda))
    pip("install", "-r", wheels)
    say(f"building {pycuda} against CUDA {JETPACK_CUDA[:2]}.{JETPACK_CUDA[3]} without a driver")
    build_pycuda(pycuda)
    STAMP.write_text(key)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Wait until no other check is making the environment."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make the environment if necessary, then run the tests in it."""
    with locked():
        make_environment()
    environment = dict(os.environ, REFDET_EMPTY_DRIVER=str(EMPTY_DRIVER), PYTHONNOUSERSITE="1")
    command = [str(PYTHON), "-m", "pytest", "-p", "no:cacheprovider", *TESTS, *sys.argv[1:]]
    return subprocess.call(command, cwd=str(ROOT), env=environment)


if __name__ == "__main__":
    sys.exit(main())
