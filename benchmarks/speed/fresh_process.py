"""A process that opens the detector, finds something, and prints its times and memory as JSON; run
by ``cold_start``."""

from __future__ import annotations

import time

_BEGAN = time.time()

import argparse  # noqa: E402 - what is imported is timed
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

PHASES = ("start Python", "import", "open", "first template", "first detection", "second detection")


def main() -> None:
    """Do it once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--started", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--size", type=int, nargs=2, required=True)
    options = parser.parse_args()
    moments = [options.started, _BEGAN]
    memory_mb = []

    from benchmarks.speed.scene import TILES, set_templates, textured_frame
    from refdet_core.backends.config import BackendConfig
    from refdet_core.detector import Detector
    from refdet_core.errors import RefdetError

    def done() -> None:
        moments.append(time.time())
        memory_mb.append(resident_mb())

    frame_bgr = textured_frame(tuple(options.size))
    done()
    try:
        detector = Detector.open(
            options.bundle, options.backend, TILES, BackendConfig(threads=options.threads)
        )
        done()
        set_templates(detector, frame_bgr, 1)
        done()
        for _ in range(2):
            detector.detect(frame_bgr)
            done()
        on_device_mb = device_mb()
        detector.close()
    except RefdetError as error:
        sys.exit(str(error))
    spent_ms = [(end - start) * 1e3 for start, end in zip(moments, moments[1:])]
    report = {
        "ms": dict(zip(PHASES, spent_ms)),
        "resident_mb": dict(zip(PHASES[1:], memory_mb)),
        "peak_mb": peak_mb(),
        "device_mb": on_device_mb,
    }
    print(json.dumps(report))


def peak_mb() -> float:
    """Peak memory of this process, MiB."""
    # Not getrusage, which includes the parent program.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def resident_mb() -> float:
    """Memory of this process now, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def device_mb() -> float | None:
    """Used memory of the GPU, all programs together, MiB; None without a GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
    elif "pycuda.driver" in sys.modules:
        from refdet_core.backends.cuda import Gpu

        with Gpu() as gpu:
            free, total = gpu.memory
    else:
        return None
    return float(total - free) / 2**20


if __name__ == "__main__":
    main()
