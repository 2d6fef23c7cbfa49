"""The engines of a bundle for this machine: stored ones, or new ones.

An engine runs only with the TensorRT version and GPU it was built for, and serves one graph,
precision and set of shapes. All of that is its identity. If any of it changes, another engine is
built; the old one stays in case the change is reverted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from refdet_core.backends.config import BackendConfig
from refdet_core.backends.engines.cache_file import CacheFile
from refdet_core.backends.engines.calibration import read_calibration
from refdet_core.backends.engines.maker import EngineMaker, Job, Made
from refdet_core.backends.engines.profiles import detector_profiles, template_profiles
from refdet_core.backends.engines.store import (
    EngineStore,
    Identity,
    StoredEngine,
    describe,
)
from refdet_core.backends.engines.target import Target, import_tensorrt, this_target
from refdet_core.bundle import COMPARE, Bundle, file_sha256
from refdet_core.errors import BackendError

_LOG = logging.getLogger(__name__)

_RULES = 1  # increase it when the same settings must give another engine


@dataclass(frozen=True)
class Engines:
    """Both engines of a bundle, serialised.

    Attributes:
        sidecars: the facts about the template encoder's and the detector's engine, as in their JSON
            files.
    """

    template_encoder: bytes
    detector: bytes
    sidecars: Tuple[Dict[str, Any], Dict[str, Any]]


def engine_folder(config: BackendConfig) -> Path:
    """The folder of the engines."""
    if config.engine_folder:
        return Path(config.engine_folder).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(caches) / "refdet" / "engines"


def ready_engines(
    bundle: Bundle,
    config: BackendConfig,
    precision: str,
    rebuild_because: str = "",
    must_keep: bool = False,
) -> Engines:
    """Engines for this TensorRT and GPU; missing ones are built, which takes minutes.

    The logger reports progress. One process builds at a time, others wait.

    Args:
        precision: ``fp32``, ``fp16`` or ``int8``. The template encoder is never int8: it runs once
            for a template, which every later frame depends on.
        rebuild_because: a reason to build existing engines again; empty: keep them.
        must_keep: raise if the engines cannot be stored. Otherwise that is a warning, and they
            serve for this run.

    Raises:
        BackendError: something is not installed, TensorRT refuses the graph, or the engine cannot
            be stored.

            EngineRefusedError: the engine's results differ from ONNX Runtime's.

            SourceError: a calibration image cannot be read.
    """
    store = EngineStore(engine_folder(config))
    precision = _possible(bundle, precision)
    wanted = _wanted(bundle, config, precision, store)
    there = [None if rebuild_because else store.find(identity)[0] for _, identity in wanted]
    found = [engine for engine in there if engine is not None]
    if len(found) == len(wanted):
        return _engines(found)
    if precision == "int8" and there[-1] is None and not config.engine_calibration:
        read_calibration("")  # raises if something is missing
    keeping: Optional[EngineStore] = store
    with ExitStack() as locked:
        try:
            locked.enter_context(store.lock())
        except BackendError as error:
            if must_keep:
                raise
            _LOG.warning("%s The engines are built for this run only.", error)
            keeping = None
        engines = _found_or_made(wanted, bundle, config, store, keeping, rebuild_because, must_keep)
    return _engines(engines)


def engines_there(bundle: Bundle, config: BackendConfig, precision: str) -> bool:
    """Whether :func:`ready_engines` would find all engines and build nothing.

    Raises:
        BackendError, SourceError: as :func:`ready_engines` before it builds.
    """
    store = EngineStore(engine_folder(config))
    wanted = _wanted(bundle, config, _possible(bundle, precision), store)
    return all(store.find(identity)[0] is not None for _, identity in wanted)


def _found_or_made(
    wanted: List[Tuple[Job, Identity]],
    bundle: Bundle,
    config: BackendConfig,
    store: EngineStore,
    keeping: Optional[EngineStore],
    rebuild_because: str,
    must_keep: bool,
) -> List[StoredEngine]:
    from refdet_core.backends.cuda import Gpu
    from refdet_core.backends.tensorrt_engine import run_once

    run = partial(run_once, dla=config.engine_dla)
    engines: List[StoredEngine] = []
    with Gpu() as gpu:
        maker = EngineMaker(import_tensorrt(), gpu, run, bundle, config)
        for job, identity in wanted:
            # Another process may have built it meanwhile.
            engine, why = store.find(identity)
            if engine is None or rebuild_because:
                _LOG.info(
                    "The %s engine of the %s is built now: %s.",
                    *(job.precision, job.name, rebuild_because or why),
                )
                folder = None if keeping is None else keeping.folder
                ranges = _ranges(folder, job, identity, is_stale=bool(rebuild_because))
                made = maker.make(job, _timings(folder, identity), ranges)
                engine = _kept(made, identity, keeping, must_keep)
            engines.append(engine)
    return engines


def _kept(
    made: Made, identity: Identity, store: Optional[EngineStore], must_keep: bool
) -> StoredEngine:
    if store is not None:
        try:
            return store.keep(identity, made.engine, made.facts)
        except BackendError as error:
            if must_keep:
                raise
            _LOG.warning("%s It serves for this run only.", error)
    return StoredEngine(made.engine, describe(identity, made.engine, made.facts))


def _possible(bundle: Bundle, precision: str) -> str:
    """The precision, but not int8 for a network that compares: its detector does nothing."""
    return "fp16" if precision == "int8" and bundle.purposes == (COMPARE,) else precision


def _wanted(
    bundle: Bundle, config: BackendConfig, precision: str, store: EngineStore
) -> List[Tuple[Job, Identity]]:
    """The engine's identity. A stored int8 engine needs no frames: without frames it is the newest
    one that fits, whatever it was calibrated with."""
    target = this_target()
    jobs = _jobs(bundle, config, precision)
    identities = [_identity(job, bundle, config, target) for job in jobs]
    if precision == "int8" and not config.engine_calibration:
        identities[-1] = store.newest(identities[-1], "calibration_sha256") or identities[-1]
    return list(zip(jobs, identities))


def _jobs(bundle: Bundle, config: BackendConfig, precision: str) -> Tuple[Job, Job]:
    if precision == "fp32" and config.engine_dla >= 0:
        raise BackendError("A deep learning accelerator computes in fp16 or int8, not in fp32.")
    is_int8 = precision == "int8"
    return (
        Job(
            "template_encoder",
            bundle.template_graph,
            template_profiles(bundle, config),
            "fp16" if is_int8 else precision,
        ),
        Job(
            "detector",
            bundle.detector_graph,
            detector_profiles(bundle, config),
            precision,
            read_calibration(config.engine_calibration)
            if is_int8 and config.engine_calibration
            else None,
        ),
    )


def _identity(job: Job, bundle: Bundle, config: BackendConfig, target: Target) -> Identity:
    identity = {
        "bundle": bundle.name,
        "graph": job.name,
        "precision": job.precision,
        "onnx_sha256": file_sha256(job.graph),
        **asdict(target),
        "profiles": [asdict(profile) for profile in job.profiles],
        "workspace_mb": config.engine_workspace_mb,
        "dla": config.engine_dla,
        "calibration_sha256": "" if job.calibration is None else job.calibration.digest,
        "rules": _RULES,
    }
    # In the form that a JSON file returns.
    return dict(json.loads(json.dumps(identity)))


def _timings(folder: Optional[Path], identity: Identity) -> CacheFile:
    """TensorRT's timings hold for one TensorRT version on one GPU, whatever is built."""
    name = "timings-{}-{}".format(identity["tensorrt"], identity["gpu"])
    file_name = re.sub(r"[^A-Za-z0-9._-]", "_", name) + ".cache"
    return CacheFile("TensorRT's timings", folder and folder / file_name)


def _ranges(folder: Optional[Path], job: Job, identity: Identity, is_stale: bool) -> CacheFile:
    """A calibrator's ranges hold for one graph with the same frames in the same size."""
    names = ("onnx_sha256", "tensorrt", "calibration_sha256", "rules")
    usual = [shapes.usual for shapes in job.profiles[-1].inputs.values()]
    key = json.dumps([*(identity[name] for name in names), usual])
    file_name = f"int8-{hashlib.sha256(key.encode()).hexdigest()[:16]}.calibration"
    return CacheFile("The int8 ranges", folder and folder / file_name, is_stale)


def _engines(found: List[StoredEngine]) -> Engines:
    template_encoder, detector = found
    return Engines(
        template_encoder.data, detector.data, (template_encoder.sidecar, detector.sidecar)
    )
