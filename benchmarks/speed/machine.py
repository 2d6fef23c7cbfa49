"""Describes the machine of the measurement."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "torch",
    "tensorrt",
    "tensorrt-rtx-cu13-libs",
    "pycuda",
    "cuda-bindings",
    "rclpy",
)
# The CPU flags that make 8-bit and 16-bit arithmetic fast, on x86-64 and ARM.
FLAGS = (
    *("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "bf16"),
)
INT8_FLAGS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")  # the file with a Jetson's name


def describe() -> dict[str, str]:
    """Processor, cores, memory, GPU, versions and load, in words."""
    found = {
        "processor": cpu_model(),
        "cores of this process": str(len(os.sched_getaffinity(0))),
        "instructions": " ".join(cpu_flags()) or "unknown",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "graphics": gpu_name(),
        "system": platform.platform(),
        "load average": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
    }
    return {**found, **{name: package_version(name) for name in PACKAGES}}


def cpu_model() -> str:
    """The processor's name, and the board's if it has one."""
    text = _CPUINFO.read_text(encoding="utf-8") if _CPUINFO.is_file() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = match.group(1) if match else platform.processor() or platform.machine()
    if _BOARD.is_file():
        name += ", " + _BOARD.read_text(encoding="utf-8").strip("\0")
    return name


def cpu_flags() -> list[str]:
    """The :data:`FLAGS` of the processor."""
    text = _CPUINFO.read_text(encoding="utf-8") if _CPUINFO.is_file() else ""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    has = set(match.group(1).split()) if match else set()
    return [flag for flag in FLAGS if flag in has]


def gpu_name() -> str:
    """The first GPU's name by ``nvidia-smi``; ``none found`` without it."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "none found"
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else "none found"


def package_version(name: str) -> str:
    """An installed package's version, else ``not installed``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
