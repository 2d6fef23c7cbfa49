"""Python and the packages that refdet runs on."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import List, Mapping, Tuple

from refdet_core.doctor.check_process import CheckResult
from refdet_core.doctor.report import BROKEN, WARNING, Finding, Section

OLDEST_PYTHON = (3, 8)
# Module: its names for pip and for Ubuntu's apt, and the severity if it is missing.
_NEEDED = {
    "numpy": ("numpy", "python3-numpy", BROKEN),
    "cv2": ("'opencv-python-headless<5'", "python3-opencv", BROKEN),
    "yaml": ("PyYAML", "python3-yaml", BROKEN),
    "tqdm": ("tqdm", "python3-tqdm", WARNING),
}
_TITLES = {"cv2": "OpenCV", "numpy": "NumPy", "yaml": "PyYAML", "tqdm": "tqdm"}
ASKED = (*_NEEDED, "onnxruntime", "torch")


def package_section(results: Mapping[str, CheckResult]) -> Section:
    """Versions, and missing or broken packages. ``results``: of the checks :data:`ASKED`."""
    facts: List[Tuple[str, str]] = [
        ("refdet", _refdet_version()),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
    ]
    findings: List[Finding] = []
    if sys.version_info[:2] < OLDEST_PYTHON:
        findings.append(
            Finding(
                BROKEN,
                f"Python {platform.python_version()} is too old.",
                "use Python 3.8 or newer; JetPack 4 has 3.6, JetPack 5 has 3.8.",
            )
        )
    for module, (pip_name, apt_name, level) in _NEEDED.items():
        result, title = results[module], _TITLES[module]
        facts.append((title, version_or_state(result)))
        if module == "cv2":
            facts += _opencv_facts(result)
        if result.error:
            findings.append(
                Finding(
                    level,
                    f"{title} {_complaint(result)}; "
                    + ("nothing works without it." if level == BROKEN else "detect and live do."),
                    f"pip install {pip_name}, or for the system's Python sudo apt install "
                    f"{apt_name}",
                )
            )
    facts += _onnxruntime_facts(results["onnxruntime"])
    facts.append(("torch", _torch_text(results["torch"])))
    for module in ("onnxruntime", "torch"):
        result = results[module]
        if result.error and not result.missing:
            findings.append(
                Finding(
                    WARNING,
                    f"{module} {_complaint(result)}.",
                    f"pip install --force-reinstall {module}, or pip uninstall {module} if the "
                    f"backend {module} is not wanted",
                )
            )
    return Section("Packages", tuple(facts), tuple(findings))


def version_or_state(result: CheckResult) -> str:
    """A package's version, or "missing" or "broken"."""
    if result.error:
        return "not installed" if result.missing else "broken"
    return str(result.facts["version"])


def _complaint(result: CheckResult) -> str:
    return "is not installed" if result.missing else f"cannot be imported: {result.error}"


def _refdet_version() -> str:
    for name in ("refdet_ros", "refdet-ros"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "not installed, run from its sources"


def _opencv_facts(result: CheckResult) -> List[Tuple[str, str]]:
    if result.error:
        return []
    return [
        (
            "  windows",
            result.facts["gui"] or "no (make live installs them; else --no-window)",
        ),
        ("  GStreamer", result.facts["gstreamer"] or "no (camera pipelines do not open)"),
        ("  video files", result.facts["ffmpeg"] or result.facts["gstreamer"] or "no"),
    ]


def _onnxruntime_facts(result: CheckResult) -> List[Tuple[str, str]]:
    facts = [("ONNX Runtime", version_or_state(result))]
    if not result.error:
        facts.append(("  providers", ", ".join(result.facts["providers"])))
    return facts


def _torch_text(result: CheckResult) -> str:
    text = version_or_state(result)
    if result.error:
        return text
    if result.facts["cuda_available"]:
        return f"{text}, CUDA {result.facts['cuda']} usable"
    return f"{text}, on the CPU"
