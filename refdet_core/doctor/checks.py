"""The checks, functions that may import anything. :mod:`.check_process` runs this file."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

Facts = Dict[str, Any]
_DRIVER = "libcuda.so.1"
_COMPUTE_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


def numpy() -> Facts:
    """NumPy."""
    import numpy as package

    return {"version": package.__version__}


def yaml() -> Facts:
    """PyYAML."""
    import yaml as package

    return {"version": package.__version__}


def tqdm() -> Facts:
    """The progress bar of the command line."""
    import tqdm as package

    return {"version": package.__version__}


def cv2() -> Facts:
    """OpenCV, and its backends for windows and videos ("" if it has none)."""
    import cv2 as package

    information = package.getBuildInformation()

    def built_with(item: str) -> str:
        found = re.search(rf"^\s*{item}:\s*(\S.*)$", information, re.M)
        value = found.group(1).strip() if found else "NO"
        return "" if value.startswith("NO") else re.sub(r"^YES *", "", value).strip("()") or "yes"

    gui = next(filter(None, map(built_with, ("GUI", "GTK+", "QT", "QT5"))), "")
    return {
        "version": package.__version__,
        "gui": gui,
        "gstreamer": built_with("GStreamer"),
        "ffmpeg": built_with("FFMPEG"),
    }


def onnxruntime() -> Facts:
    """ONNX Runtime and its execution providers."""
    import onnxruntime as package

    return {"version": package.__version__, "providers": package.get_available_providers()}


def torch() -> Facts:
    """PyTorch and its CUDA."""
    import torch as package

    return {
        "version": package.__version__,
        "cuda": package.version.cuda or "",
        "cuda_available": package.cuda.is_available(),
    }


def tensorrt() -> Facts:
    """TensorRT's Python module, or TensorRT-RTX's."""
    from refdet_core.backends.engines.target import MODULES

    names = [name for name in MODULES if importlib.util.find_spec(name) is not None]
    return {"version": importlib.import_module([*names, MODULES[0]][0]).__version__}


def pycuda() -> Facts:
    """Pycuda, with its compiled part; where it is not installed, cuda-bindings."""
    if importlib.util.find_spec("pycuda") is None:
        try:
            version = importlib.import_module("cuda.bindings").__version__
        except ModuleNotFoundError:
            pass  # pycuda is what is missing
        else:
            return {"version": f"not installed, but cuda-bindings {version} is"}
    import pycuda as package
    import pycuda.driver as driver

    return {
        "version": package.VERSION_TEXT,
        "cuda": ".".join(str(number) for number in driver.get_version()[:2]),
    }


def cuda() -> Facts:
    """The NVIDIA driver and the GPUs; needs no package."""
    library = ctypes.CDLL(_DRIVER)

    def call(name: str, *arguments: Any) -> None:
        code = getattr(library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            library.cuGetErrorName(code, ctypes.byref(text))
            raise OSError(f"{name} failed: {(text.value or b'unknown error').decode()} ({code})")

    call("cuInit", 0)
    version, count = ctypes.c_int(), ctypes.c_int()
    call("cuDriverGetVersion", ctypes.byref(version))
    call("cuDeviceGetCount", ctypes.byref(count))
    devices: List[Facts] = []
    for index in range(count.value):
        device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(128)
        call("cuDeviceGet", ctypes.byref(device), index)
        call("cuDeviceGetName", name, len(name), device)
        call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        numbers = []
        for attribute in _COMPUTE_CAPABILITY:
            number = ctypes.c_int()
            call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
            numbers.append(str(number.value))
        devices.append(
            {
                "name": name.value.decode(errors="replace"),
                "compute_capability": ".".join(numbers),
                "memory_mb": memory.value >> 20,
            }
        )
    return {
        "version": f"{version.value // 1000}.{version.value % 1000 // 10}",
        "devices": devices,
    }


def nvcc() -> Facts:
    """The CUDA compiler: pycuda is built with it, and the TensorRT backend compiles kernels with
    it."""
    from refdet_core.nvcc import find_nvcc

    path = find_nvcc()
    if path is not None:
        output = subprocess.run([path, "--version"], capture_output=True, check=True).stdout
        found = re.search(rb"release ([\d.]+)", output)
        if found:
            return {"version": found.group(1).decode(), "path": path}
    raise ModuleNotFoundError("nvcc is neither on the PATH nor in /usr/local/cuda/bin", name="nvcc")


def bundle(name: str) -> Facts:
    """A model bundle (a released name or a folder), with its files compared to their sha256."""
    from refdet_core.bundle import load_bundle

    found = load_bundle(Path(name), verify=True)
    return {
        "name": found.name,
        "version": found.version,
        "folder": str(found.folder),
        "verified": sorted(found.sha256),
    }


def engines(folder: str, *settings: str) -> Facts:
    """The TensorRT engines in the configured folder, newest first, and their purpose."""
    from refdet_core.backends.engines.cache import engine_folder
    from refdet_core.bundle import load_bundle

    place = engine_folder(_backend_config(settings))
    if not place.exists():
        return {"folder": f"{place}, not made yet", "engines": []}
    paths = [path for path in place.iterdir() if path.suffix == ".engine"]
    paths.sort(key=lambda path: -path.stat().st_mtime)
    graphs = _graph_sha256(load_bundle(Path(folder) if folder else None))
    return {
        "folder": str(place),
        "engines": [
            {"name": path.name, "bytes": path.stat().st_size, "state": _engine_state(path, graphs)}
            for path in paths
        ],
    }


def backend(name: str, folder: str, *settings: str) -> Facts:
    """Open the backend with the bundle as the node does, unless that would build engines; and
    read the bundles that work beside it."""
    from refdet_core import backends
    from refdet_core.bundle import load_bundle
    from refdet_core.tracking_bundles import AUTO, comparing_bundles, tracking_bundles

    config = _backend_config(settings)
    loaded = load_bundle(Path(folder) if folder else None)
    if name == "auto":
        name = "tensorrt" if backends.has_tensorrt() else "onnxruntime"
    trackers = tracking_bundles(AUTO, loaded.folder, name)
    names = [each.name for each in (loaded, *trackers, *comparing_bundles(loaded, trackers))]
    if name == "tensorrt":
        from refdet_core.backends.engines.cache import engines_there
        from refdet_core.backends.tensorrt import TensorRTBackend

        if not engines_there(loaded, config, TensorRTBackend.precision(config)):
            return {"opened": False, "text": "tensorrt, without engines for these settings"}
    with backends.open_backend(name, loaded, config) as opened:
        info = opened.info
    text = f"{info.name} {info.version} on {info.device}, {info.precision}: {', '.join(names)}"
    return {"opened": True, "text": text}


def _backend_config(settings: Sequence[str]) -> Any:
    from refdet_core.backends.config import BackendConfig
    from refdet_core.settings import with_settings

    return with_settings(settings, BackendConfig())[0]


def _graph_sha256(loaded: Any) -> Dict[str, str]:
    from refdet_core.bundle import file_sha256

    graphs = (loaded.template_graph, loaded.detector_graph)
    return {graph.stem: file_sha256(graph) for graph in graphs}


def _engine_state(path: Path, graphs: Dict[str, str]) -> str:
    """What the engine is for according to its JSON file, and whether the file still matches."""
    from refdet_core.backends.engines.store import EngineStore
    from refdet_core.backends.engines.target import this_target
    from refdet_core.errors import BackendError

    try:
        sidecar = path.with_name(path.name + ".json").read_text(encoding="utf-8")
        identity = json.loads(sidecar)["identity"]
        stored, why = EngineStore(path.parent).find(identity)
        built_for = "{tensorrt} on {gpu} ({compute_capability})".format(**identity)
        graph, sha256 = identity["graph"], identity["onnx_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"unusable, its JSON file cannot be read ({type(error).__name__})"
    if stored is None:
        return f"unusable: {why}"
    try:
        target = this_target()
    except BackendError:
        return f"for TensorRT {built_for}"
    if built_for != f"{target.tensorrt} on {target.gpu} ({target.compute_capability})":
        return f"for TensorRT {built_for}, not for here"
    return (
        f"for this machine and model: {graph}"
        if graphs.get(graph) == sha256
        else "for another model"
    )


CHECKS: Dict[str, Callable[..., Facts]] = {
    function.__name__: function
    for function in (
        numpy, yaml, tqdm, cv2, onnxruntime, torch, tensorrt, pycuda, cuda, nvcc, bundle, engines,
        backend,
    )
}  # fmt: skip


def run(name: str, arguments: Tuple[str, ...]) -> Dict[str, Any]:
    """Run one check; an error is a result too."""
    try:
        return {"facts": CHECKS[name](*arguments)}
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        text = str(error) or type(error).__name__
        return {"error": " ".join(text.split()), "missing": missing}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], tuple(sys.argv[2:]))))
