"""The machine: processor, memory, the GPU with its software, and the Jetson model."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import List, Mapping, Tuple

from refdet_core.doctor.check_process import CheckResult
from refdet_core.doctor.packages import version_or_state
from refdet_core.doctor.report import WARNING, Finding, Section

ASKED = ("cuda", "nvcc", "tensorrt", "pycuda")
ROOT = Path("/")
_LIBRARY_MISSING = "cannot open shared object file"
# The Xavier NX's modes of 20 W have the GPU's highest clock (NVIDIA's nvpmodel table).
_XAVIER_NX_MODE = 8


def machine_section(root: Path = ROOT) -> Section:
    """Processor, memory, Jetson. ``root`` contains /proc, /sys and /etc."""
    model = jetson_model(root)
    facts = [("CPU", _processor(root)), ("memory", _memory(root))]
    findings: List[Finding] = []
    if model:
        facts.append(("Jetson", model))
        facts.append(("L4T", _l4t(root) or "unknown (containers do not show it)"))
        mode = _power_mode()
        facts.append(("power mode", mode or "unknown (see nvpmodel -q outside of a container)"))
        findings += _power_findings(model, mode, root)
    return Section("Machine", tuple(facts), tuple(findings))


def gpu_section(results: Mapping[str, CheckResult], root: Path = ROOT) -> Section:
    """The NVIDIA GPU and its software. ``results``: of the checks :data:`ASKED`."""
    cuda, model = results["cuda"], jetson_model(root)
    facts: List[Tuple[str, str]] = []
    for device in [] if cuda.error else cuda.facts["devices"]:
        facts.append(
            (
                "GPU",
                "{name}, compute capability {compute_capability}, {memory_mb} MB".format(**device),
            )
        )
    if not facts:
        facts.append(("GPU", "none that can be used"))
    driver = "not installed" if _LIBRARY_MISSING in cuda.error else "broken"
    facts.append(("CUDA driver", driver if cuda.error else cuda.facts["version"]))
    facts.append(("CUDA toolkit", version_or_state(results["nvcc"])))
    facts += [(name, version_or_state(results[name])) for name in ("tensorrt", "pycuda")]
    return Section("GPU", tuple(facts), tuple(_gpu_findings(results, model)))


def _gpu_findings(results: Mapping[str, CheckResult], model: str) -> List[Finding]:
    cuda, tensorrt, pycuda = results["cuda"], results["tensorrt"], results["pycuda"]
    has_gpu = not cuda.error and bool(cuda.facts["devices"])
    found: List[Finding] = []
    if _LIBRARY_MISSING in cuda.error and model:
        found.append(
            Finding(
                WARNING,
                "This is a Jetson, but its CUDA driver is not visible: TensorRT cannot run.",
                "start the container with --runtime nvidia; outside of one, reinstall "
                "nvidia-l4t-cuda",
            )
        )
    elif cuda.error and _LIBRARY_MISSING not in cuda.error:
        found.append(
            Finding(
                WARNING,
                f"The NVIDIA driver does not work: {cuda.error}.",
                "nvidia-smi says more; in a container give it the GPU (--runtime nvidia, or "
                "--gpus all)",
            )
        )
    if has_gpu and tensorrt.missing:
        found.append(
            Finding(
                WARNING,
                "There is a GPU but no TensorRT for this Python: the network runs without it.",
                "sudo apt install python3-libnvinfer (JetPack's own; a virtual environment sees it "
                "if made with --system-site-packages), or take the backend torch",
            )
        )
    if has_gpu and not tensorrt.error and pycuda.missing:
        found.append(
            Finding(
                WARNING,
                "TensorRT is here but pycuda, which the backend tensorrt runs it with, is not.",
                "export PATH=/usr/local/cuda/bin:$PATH, then pip install pycuda (docs/jetson.md)",
            )
        )
    if has_gpu and not tensorrt.error and results["nvcc"].error:
        found.append(
            Finding(
                WARNING,
                "CUDA's compiler nvcc is not found; the backend tensorrt compiles its kernels with "
                "it.",
                "sudo apt install cuda-nvcc-11-4 (JetPack 5), or add its folder to PATH",
            )
        )
    for name, result in (("tensorrt", tensorrt), ("pycuda", pycuda)):
        if result.error and not result.missing and (has_gpu or name == "tensorrt"):
            found.append(
                Finding(
                    WARNING,
                    f"{name} cannot be imported: {result.error}.",
                    "install it for this Python and this CUDA version again (docs/jetson.md)",
                )
            )
    return found


def jetson_model(root: Path = ROOT) -> str:
    """The board's name, empty if it is not a Jetson."""
    model = _read(root / "proc/device-tree/model").strip("\0\n ")
    return model if "jetson" in model.lower() or "nvidia" in model.lower() else ""


def _processor(root: Path) -> str:
    names = re.findall(r"^model name\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.M)
    online, total = _cores(root)
    cores = f"{online} cores" if online == total else f"{online} of {total} cores online"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else online
    limited = f", {usable} for this process" if usable < online else ""
    return f"{names[0] if names else platform.machine()}, {cores}{limited}"


def _cores(root: Path) -> Tuple[int, int]:
    """Number of cores that are online, and of all cores."""
    counts = []
    for name in ("online", "present"):
        text = _read(root / "sys/devices/system/cpu" / name).strip()
        ranges = [part.partition("-") for part in text.split(",") if part]
        try:
            counts.append(sum(int(last or first) - int(first) + 1 for first, _, last in ranges))
        except ValueError:
            counts.append(0)
    online = counts[0] or os.cpu_count() or 1
    return online, max(counts[1], online)


def _memory(root: Path) -> str:
    text = _read(root / "proc/meminfo")
    sizes = [
        re.search(rf"^{name}:\s*(\d+) kB", text, re.M) for name in ("MemTotal", "MemAvailable")
    ]
    total, available = (int(found.group(1)) / 1024**2 if found else 0.0 for found in sizes)
    return f"{total:.1f} GB, {available:.1f} GB available" if total else "unknown"


def _l4t(root: Path) -> str:
    """``35.3.1`` from ``# R35 (release), REVISION: 3.1, ...``."""
    found = re.search(r"R(\d+)[^,]*,\s*REVISION:\s*([\d.]+)", _read(root / "etc/nv_tegra_release"))
    return f"{found.group(1)}.{found.group(2)}" if found else ""


def _power_mode() -> str:
    try:
        result = subprocess.run(
            ["nvpmodel", "-q"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(rb"Power Mode:\s*(\S+)", result.stdout)
    return found.group(1).decode(errors="replace") if found else ""


def _power_findings(model: str, mode: str, root: Path) -> List[Finding]:
    online, total = _cores(root)
    watts = re.search(r"(\d+)W", mode)
    low = watts is not None and "Xavier NX" in model and int(watts.group(1)) < 20
    if not low and online == total:
        return []
    what = f"The power mode {mode} " if mode else "The power mode "
    what += "slows the GPU down." if low else f"keeps {total - online} of {total} cores off."
    number = f"-m {_XAVIER_NX_MODE}" if "Xavier NX" in model else "-m N (the modes: nvpmodel -p)"
    return [Finding(WARNING, what, f"sudo nvpmodel {number} && sudo jetson_clocks, on the host")]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
