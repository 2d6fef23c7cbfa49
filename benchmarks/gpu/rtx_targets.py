"""Step "rtx": which GPUs TensorRT-RTX builds for, and whether this one takes such an engine.

Engines are built for the present GPU. Where TensorRT-RTX refuses that, this says whether an engine
for its usual targets would run.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section, skipped
from refdet_core.backends.engines.target import import_tensorrt, is_rtx
from refdet_core.backends.engines.tensorrt_log import make_log

_USUAL, _CURRENT = "its usual targets", "CURRENT"


def measure(settings: Settings) -> list[Section]:
    """Builds a small graph for each target, which needs no GPU.

    Raises:
        BackendError: no TensorRT is installed.
    """
    trt = import_tensorrt()
    if not is_rtx(trt):
        return [skipped("TensorRT-RTX", f"this is TensorRT {trt.__version__}.")]
    targets = [_USUAL, *(name for name in dir(trt.ComputeCapability) if name.startswith("SM"))]
    rows = [[name, *_built(trt, settings, name)] for name in (*targets, _CURRENT)]
    return [
        Section(f"TensorRT-RTX {trt.__version__}: targets", ("for", "built", "on this GPU"), rows)
    ]


def _built(trt: Any, settings: Settings, target: str) -> tuple[str, str]:
    """Whether it could be built, and what the runtime says about the engine."""
    log = make_log(trt)
    bundle = settings.loaded()[-1]
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    parser.parse(bundle.template_graph.read_bytes())
    config = builder.create_builder_config()
    if target != _USUAL:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
    side = bundle.template_size
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *[(1, 3, side, side)] * 3)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return f"no: {log.reason()[:160]}", ""
    try:
        validity, why = trt.Runtime(log).get_engine_validity(engine)
    except Exception as error:  # without a GPU there is no runtime
        return f"{engine.nbytes / 1e6:.1f} MB", f"{type(error).__name__}: {log.reason()[:160]}"
    return f"{engine.nbytes / 1e6:.1f} MB", f"{validity.name} {why}"
