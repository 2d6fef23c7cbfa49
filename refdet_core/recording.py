"""Records results: JSON lines, an annotated video, and a final summary."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, TextIO

import numpy as np

from refdet_core.backends.base import BackendInfo
from refdet_core.closeable import Closeable
from refdet_core.drawing import draw_detections
from refdet_core.errors import SourceError
from refdet_core.types import FrameResult
from refdet_core.video import FrameName
from refdet_core.video_file import FALLBACK_FPS, VideoFile

DETECTIONS_FILE = "detections.jsonl"
VIDEO_FILE = "annotated.mp4"


class Recording(Closeable):
    """Writes results frame by frame, and counts them.

    Args:
        lines: where the JSON lines go; None: nowhere.
        video: the annotated video; None: none.
    """

    def __init__(self, lines: Optional[TextIO] = None, video: Optional[VideoFile] = None) -> None:
        self._lines = lines
        self._video = video
        self._found: List[int] = []
        self._milliseconds: Dict[str, List[float]] = {}

    @classmethod
    def in_folder(cls, folder: Path, video: bool, fps: Optional[float]) -> Recording:
        """Write :data:`DETECTIONS_FILE`, and :data:`VIDEO_FILE` if wanted, into a folder.

        Raises:
            SourceError: it cannot be made or written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = (folder / DETECTIONS_FILE).open("w", encoding="utf-8")
            if (folder / VIDEO_FILE).exists():
                (folder / VIDEO_FILE).unlink()  # of another run, it would not belong to the lines
        except FileExistsError as error:
            raise SourceError(f"'{folder}' is a file; give a folder for the results.") from error
        except OSError as error:
            raise SourceError(f"'{folder}' cannot be written: {error}") from error
        # The first frame creates the video file.
        return cls(lines, VideoFile(folder / VIDEO_FILE, fps or FALLBACK_FPS) if video else None)

    def write(
        self,
        name: FrameName,
        frame_bgr: np.ndarray,
        result: FrameResult,
        time_s: Optional[float] = None,
        **more_ms: float,
    ) -> None:
        """Add a frame.

        Args:
            name: the frame's index or file name.
            time_s: when it was taken; None if unknown.
            more_ms: milliseconds of stages outside the detector.
        """
        if self._lines is not None:
            self._lines.write(json.dumps(as_line(name, result, time_s)) + "\n")
            self._lines.flush()
        if self._video is not None:
            self._video.write(draw_detections(frame_bgr.copy(), result.detections))
        self._found.append(len(result.detections))
        for stage, milliseconds in {**more_ms, **result.timings_ms}.items():
            self._milliseconds.setdefault(stage, []).append(milliseconds)

    def summary(self, backend: BackendInfo) -> str:
        """Counts, backend and times, one per line.

        Args:
            backend: the backend that ran the network.
        """
        found = sum(1 for count in self._found if count)
        medians = "  ".join(
            f"{stage} {float(np.median(values)):.1f}"
            for stage, values in self._milliseconds.items()
        )
        return "\n".join(
            [
                f"frames       {len(self._found)}",
                f"detections   {sum(self._found)} in {found} frames",
                f"backend      {backend.name} {backend.version} on {backend.device}",
                f"ms a frame   {medians}  (medians)" if medians else "ms a frame   -",
            ]
        )

    def close(self) -> None:
        if self._lines is not None and self._lines is not sys.stdout:
            self._lines.close()
        if self._video is not None:
            self._video.close()


def as_line(name: FrameName, result: FrameResult, time_s: Optional[float] = None) -> Dict[str, Any]:
    """One line of :data:`DETECTIONS_FILE`: best first, boxes in original pixels.

    ``targets`` has the state of each tracked target, also in frames without a detection; it is
    empty for searches that do not track.
    """
    return {
        "frame": name,
        "time_s": None if time_s is None else round(time_s, 4),
        "detections": [
            {
                "template_id": detection.template_id,
                "score": round(detection.score, 6),
                "bbox_xyxy": [round(value, 2) for value in detection.bbox_xyxy],
                "track_id": detection.track_id,
            }
            for detection in result.detections
        ],
        "targets": {
            template_id: {
                "state": target.state,
                "track_id": target.track_id,
                "presence": round(result.presence[template_id], 6),
            }
            for template_id, target in result.targets.items()
        },
    }


def frame_stem(name: FrameName) -> str:
    """The start of the file names made from a frame."""
    if isinstance(name, int):
        return f"{name:06d}"
    file, _, page = name.partition("#")
    return f"{Path(file).stem}_{page.zfill(6)}" if page.isdigit() else Path(name).stem
