"""Makes one engine from the settings and checks it against ONNX Runtime."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from refdet_core.backends.config import BackendConfig
from refdet_core.backends.engines.build import Built, Recipe, build, needs_explicit_int8
from refdet_core.backends.engines.cache_file import CacheFile
from refdet_core.backends.engines.calibration import Calibration, CalibrationPictures
from refdet_core.backends.engines.check import Run, check_engine, detector_feeds
from refdet_core.backends.engines.graph import Feed, Graph, read_graph, run_reference
from refdet_core.backends.engines.int8 import Calibrator, with_q_dq
from refdet_core.backends.engines.precision import Kept, kept_in_fp16, kept_in_fp32
from refdet_core.backends.engines.profiles import Profile, ShapeRange
from refdet_core.backends.engines.progress import Progress
from refdet_core.backends.engines.samples import frame_images, harsh_images, reference_images
from refdet_core.backends.engines.target import is_strongly_typed
from refdet_core.backends.engines.typed import in_fp16
from refdet_core.bundle import Bundle

_LOG = logging.getLogger(__name__)

_REFERENCES_SEEN = 3
_CALIBRATION_FRAMES_SEEN = 4


@dataclass(frozen=True)
class Job:
    """An engine to make.

    Attributes:
        name: ``template_encoder`` or ``detector``.
        graph: its ONNX file.
        profiles: the input shapes.
        precision: ``fp32``, ``fp16`` or ``int8``.
        calibration: the images for ``int8``.
    """

    name: str
    graph: Path
    profiles: Tuple[Profile, ...]
    precision: str
    calibration: Optional[Calibration] = None


@dataclass(frozen=True)
class Made:
    """A serialised engine and the facts about it."""

    engine: bytes
    facts: Dict[str, Any]


class EngineMaker:
    """Makes the engines of one bundle.

    Args:
        trt: the module ``tensorrt``.
        gpu: to build on and to calibrate with.
        run: runs a serialised engine once, for the comparison.
    """

    def __init__(self, trt: Any, gpu: Any, run: Run, bundle: Bundle, config: BackendConfig) -> None:
        self._trt = trt
        self._gpu = gpu
        self._run = run
        self._bundle = bundle
        self._config = config

    def make(self, job: Job, timings: CacheFile, ranges: CacheFile) -> Made:
        """Build an engine and compare it.

        Args:
            timings: TensorRT's timings, kept for the next build even if the engine is refused.
            ranges: a calibrator's ranges.

        Raises:
            BackendError: it cannot be built.
            EngineRefusedError: its results differ from ONNX Runtime's.
        """
        model = read_graph(job.graph)
        task = f"Building the {job.precision} engine of the {job.name}"
        with Progress(task) as progress:
            progress.phase("observing its values in ONNX Runtime")
            kept = self._kept(job, model)
            with self._gpu.active():
                built = self._built(job, model, kept, timings.read(), ranges, progress)
            if built.timing_cache:
                timings.write(built.timing_cache)
            progress.phase("comparing it with ONNX Runtime")
            differences = check_engine(
                job.name, built.engine, model, self._check_feeds(job), job.precision, self._run
            )
            seconds = progress.elapsed_s
        _LOG.info(
            "The %s engine of the %s is built: %.0f s, %.1f MB; differs from ONNX Runtime by %s.",
            job.precision,
            job.name,
            seconds,
            len(built.engine) / 1e6,
            ", ".join(f"{item.largest:.2g} in {name}" for name, item in differences.items()),
        )
        facts = {
            "build_s": round(seconds, 1),
            "differences": {name: asdict(item) for name, item in differences.items()},
            "kept_operators": [asdict(item) for item in kept],
            "kept_layers": dict(built.kept_layers),
        }
        return Made(built.engine, facts)

    def _built(
        self,
        job: Job,
        model: bytes,
        kept: Tuple[Kept, ...],
        timing_cache: bytes,
        ranges: CacheFile,
        progress: Progress,
    ) -> Built:
        calibrator, calibration_profile = None, None
        if job.calibration is not None:
            frames = job.profiles[-1].inputs["frame"].usual
            pictures = CalibrationPictures(job.calibration, self._bundle)
            feeds = pictures.feeds(frames[3], frames[2])
            if needs_explicit_int8(self._trt):
                progress.phase("calibrating in ONNX Runtime")
                model = with_q_dq(model, feeds, [item.node for item in kept])
            else:
                calibrator = Calibrator(self._trt, self._gpu, feeds, ranges, progress)
                calibration_profile = self._one_shape((1, *frames[1:]))
        elif job.precision == "fp16" and is_strongly_typed(self._trt):
            model = in_fp16(model, [item.node for item in kept])
        recipe = Recipe(
            job.name,
            model,
            job.profiles,
            job.precision,
            kept,
            self._config.engine_workspace_mb,
            self._config.engine_dla,
            calibrator,
            calibration_profile,
        )
        return build(self._trt, recipe, timing_cache, progress)

    def _one_shape(self, frame: Tuple[int, ...]) -> Profile:
        kernel = (1, *self._bundle.kernel_shape)
        shapes = {name: ShapeRange(kernel, kernel, kernel) for name in self._bundle.kernel_names}
        shapes["frame"] = ShapeRange(frame, frame, frame)
        return Profile("calibration", shapes)

    def _kept(self, job: Job, model: bytes) -> Tuple[Kept, ...]:
        if job.precision == "fp32":
            return ()
        graph = Graph(model)
        feeds = self._telling_feeds(job)
        spans = graph.observe(feeds)
        kept = kept_in_fp32(graph, spans)
        if job.precision == "int8":
            done = {item.node for item in kept}
            coarse = kept_in_fp16(graph, spans)
            kept += tuple(item for item in coarse if item.node not in done)
        return kept

    def _telling_feeds(self, job: Job) -> List[Feed]:
        """Inputs of the largest size, where sums are largest: usual and extreme ones."""
        if job.name == "template_encoder":
            side = self._bundle.template_size
            images = [reference_images(self._bundle, _REFERENCES_SEEN), harsh_images(side, side)]
            return [{"image": image[None]} for image in np.concatenate(images)]
        _, _, height, width = job.profiles[-1].inputs["frame"].most
        frames = np.concatenate([frame_images(1, width, height), harsh_images(width, height)])
        kernels = self._kernels(1)
        feeds = [{"frame": frame[None], **kernels} for frame in frames]
        if job.calibration is not None:
            pictures = CalibrationPictures(job.calibration, self._bundle)
            feeds += islice(pictures.feeds(width, height), _CALIBRATION_FRAMES_SEEN)
        return feeds

    def _check_feeds(self, job: Job) -> List[Feed]:
        if job.name == "template_encoder":
            most = job.profiles[-1].inputs["image"].most[0]
            images = reference_images(self._bundle, most)
            return [{"image": images[:count]} for count in sorted({1, most})]
        views = max(
            profile.inputs[name].most[0]
            for profile in job.profiles
            for name in self._bundle.kernel_names
        )
        if job.calibration is None:
            return detector_feeds(job.profiles, self._kernels(views), frame_images)
        # An int8 engine knows the ranges of such frames, not of drawn ones.
        pictures = CalibrationPictures(job.calibration, self._bundle)
        return detector_feeds(job.profiles, pictures.kernels(views), pictures.frames)

    def _kernels(self, count: int) -> Feed:
        """Kernels of ``count`` drawn references, by ONNX Runtime."""
        images = reference_images(self._bundle, count)
        (kernels,) = run_reference(self._bundle.template_graph.read_bytes(), [{"image": images}])
        return {name: kernels[name] for name in self._bundle.kernel_names}
