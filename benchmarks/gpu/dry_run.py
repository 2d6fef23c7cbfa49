"""What a run without a GPU shows: all that is needed is here and can be imported."""

from __future__ import annotations

import importlib
import time
from typing import Any

from benchmarks.gpu.crop_kernel import SOURCES, nvcc_says
from benchmarks.gpu.footage import read_footage
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section, skipped
from refdet_core.backends.engines.target import MODULES, import_tensorrt, is_strongly_typed
from refdet_core.backends.engines.tensorrt_log import make_log
from refdet_core.backends.engines.typed import in_fp16
from refdet_core.errors import BackendError

_PACKAGES = (
    "numpy",
    "cv2",
    "yaml",
    "onnx",
    "onnxruntime",
    "torch",
    "torchvision",
    "timm",
    "pycuda",
)
_HOPPER = (9, 0)


def carried(settings: Settings) -> list[Section]:
    """Packages, bundles and footage; a missing one is not an error."""
    rows: list[list[Any]] = []
    for name in (*_PACKAGES, "cuda.bindings.driver", *MODULES):
        began = time.monotonic()
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a broken package fails in its own ways
            rows.append([name, "no", f"{type(error).__name__}: {error}", None])
            continue
        version = str(getattr(module, "__version__", getattr(module, "VERSION_TEXT", "")))
        rows.append([name, "yes", version, time.monotonic() - began])
    for bundle in settings.loaded():
        files = (bundle.template_graph, bundle.detector_graph)
        size = sum(path.stat().st_size for path in files)
        rows.append(
            [f"bundle {bundle.name}", "yes", f"{bundle.version}, {size / 1e6:.1f} MB", None]
        )
    footage = read_footage(settings.footage)
    what = f"{len(footage.targets)} objects, {len(footage.frames)} frames with one"
    rows.append(["footage", "yes", f"{footage.source}: {what}", None])
    return [Section("What is here", ("", "here", "", "import s"), rows)]


def kernels(settings: Settings) -> list[Section]:
    """The kernels compiled for a Hopper chip, by both compilers."""
    sections = [nvcc_says(settings, _HOPPER)]
    title = "The kernels compiled by CUDA's run-time compiler"
    try:
        from refdet_core.backends.nvrtc import CompileError, compiled
    except ImportError as error:
        return [*sections, skipped(title, f"{error}.")]
    rows = []
    for source in SOURCES:
        try:
            size = len(compiled(source.read_text(encoding="utf-8"), _HOPPER))
            rows.append([source.name, "compiled", size])
        except CompileError as error:
            rows.append([source.name, f"refused: {error}", None])
    return [*sections, Section(title, ("source", "", "bytes"), rows)]


def parser(settings: Settings) -> list[Section]:
    """What TensorRT's parser says about the released graphs, which needs no GPU for RTX."""
    title = "The released graphs in TensorRT's parser"
    try:
        trt = import_tensorrt()
    except BackendError as error:
        return [skipped(title, str(error))]
    log = make_log(trt)
    try:
        builder = trt.Builder(log)
    except TypeError:  # the older ones need a GPU for this
        return [skipped(title, f"TensorRT {trt.__version__} needs a GPU: {log.reason()}")]
    rows = []
    for bundle in settings.loaded():
        for graph in (bundle.template_graph, bundle.detector_graph):
            plain = graph.read_bytes()
            models = {"fp32": plain}
            if is_strongly_typed(trt):
                models["fp16"] = in_fp16(plain, [])
            for precision, model in models.items():
                network = builder.create_network(0)
                reader = trt.OnnxParser(network, log)
                taken = reader.parse(model)
                what = f"{network.num_layers} layers" if taken else reader.get_error(0).desc()
                rows.append([bundle.name, graph.stem, precision, "yes" if taken else "NO", what])
    return [
        Section(title, ("bundle", "graph", "precision", f"taken by {trt.__version__}", ""), rows)
    ]
