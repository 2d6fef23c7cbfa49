"""``video_to_bag``: a video file or a folder of images as a rosbag2 bag of camera images."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
from tqdm import tqdm

from refdet_core.command_line import parser_with_examples, run_command
from refdet_core.contrast import Contrast
from refdet_core.errors import ConfigError, SourceError
from refdet_core.sources import FrameSource, open_source
from refdet_core.video import Frame
from refdet_ros.bags.reading import absolute
from refdet_ros.bags.writing import STORAGES, TRANSPORTS, ImageBagWriter

DEFAULT_FPS = 30.0
FIRST_STAMP_NS = 1_700_000_000_000_000_000
"""A fixed first stamp (November 2023), so that the same video gives the same bag. ROS takes a zero
stamp for "no time"."""
_SAME_S = 1e-6

_EXAMPLES = """examples:
  video_to_bag flight.mp4 flight_bag
  video_to_bag photos/ photos_bag --fps 10 --transport compressed
  video_to_bag flight.mp4 part --start 12.5 --end 30 --storage sqlite3 --frame-id front_camera
then:
  play_bag flight_bag --restamp        (or: ros2 bag play flight_bag)
"""


class CountsKept(Contrast):
    """Leaves 16-bit grey as it is: the counts of a raw thermal camera become ``mono16``."""

    def frame(self, picture: np.ndarray, colour: bool = False) -> np.ndarray:
        if picture.dtype == np.uint16 and not colour:
            return picture
        return super().frame(picture, colour)


@dataclass(frozen=True)
class BagSummary:
    """What was written; ``fps`` is the mean."""

    path: Path
    topic: str
    frames: int
    fps: float
    problems: Sequence[str]


def write_bag(
    source: FrameSource,
    bag: Path,
    topic: str = "image",
    storage: str = "mcap",
    transport: str = "raw",
    frame_id: str = "camera",
    quality: int = 90,
    fps: float | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    max_frames: int | None = None,
    progress: bool = False,
) -> BagSummary:
    """Write the frames of a source into a new bag.

    Args:
        source: the frames; opened with :class:`CountsKept`, 16-bit grey becomes ``mono16``.
        bag: the new bag folder.
        topic: base topic; compressed images go to ``<topic>/compressed``.
        storage: ``mcap`` or ``sqlite3``.
        transport: ``raw`` or ``compressed``.
        frame_id: frame_id of the image headers.
        quality: JPEG quality 1-100 of compressed images.
        fps: frames per second; None takes the times of the video's frames, or 30 a second for
            images.
        start_s: the bag starts with the first frame at or after this second of the source.
        end_s: stop before this second; None: the end.
        max_frames: maximum number of frames to write.
        progress: show a progress bar.

    Raises:
        RefdetError: a setting is out of range, the chosen part has no frame, or the bag cannot be
            written. No partial bag is left behind.
    """
    if fps is not None and (not math.isfinite(fps) or fps <= 0):
        raise ConfigError(f"The frame rate must be above 0, got {fps:g}.")
    if start_s < 0 or (end_s is not None and end_s <= start_s):
        raise ConfigError("The part must start at 0 s or later and end after its start.")
    if max_frames is not None and max_frames < 1:
        raise ConfigError(f"At least one frame must be written, got --max-frames {max_frames}.")
    if bag.exists():
        raise SourceError(f"'{bag}' exists already; remove it or choose another name.")
    written, start_ns, last_ns = 0, 0, 0
    try:
        with ImageBagWriter(bag, topic, storage, transport, frame_id, quality) as writer:
            for index, frame in enumerate(
                tqdm(source, total=len(source), unit="frame", disable=None if progress else True)
            ):
                time_s = _time_s(frame, index, fps)
                if written == max_frames or (end_s is not None and time_s >= end_s - _SAME_S):
                    break
                if time_s < start_s - _SAME_S:
                    continue
                time_ns = round(time_s * 1e9)
                start_ns = start_ns if written else time_ns
                # Two frames of one time would be one to whoever plays them.
                last_ns = max(time_ns - start_ns, last_ns + 1 if written else 0)
                writer.write(frame.bgr, FIRST_STAMP_NS + last_ns)
                written += 1
        if not written:
            raise SourceError(f"'{source.path}' has no frame in the chosen part.")
    except OSError as error:
        shutil.rmtree(bag, ignore_errors=True)
        raise SourceError(f"The bag '{bag}' cannot be written: {error.strerror}.") from error
    except BaseException:
        # A truncated bag could be mistaken for a complete one.
        shutil.rmtree(bag, ignore_errors=True)
        raise
    name = absolute(topic) + ("" if transport == "raw" else "/compressed")
    rate = fps or ((written - 1) / (last_ns * 1e-9) if last_ns else source.fps or DEFAULT_FPS)
    return BagSummary(bag, name, written, rate, tuple(source.problems))


def _time_s(frame: Frame, index: int, fps: float | None) -> float:
    """When a frame was taken: as ``fps`` says if it is given, else as the frame itself says."""
    if fps is None and frame.time_s is not None:
        return frame.time_s
    return index / (fps or DEFAULT_FPS)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_with_examples(
        "video_to_bag",
        "Write a video file or a folder of images as a rosbag2 bag of camera images.",
        _EXAMPLES,
    )
    parser.add_argument("source", type=Path, metavar="VIDEO_OR_FOLDER")
    parser.add_argument("bag", type=Path, metavar="BAG", help="new bag folder")
    parser.add_argument("--storage", choices=STORAGES, default="mcap", help="default: mcap")
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="raw",
        help="default: raw, which keeps 16-bit grey as mono16; compressed has 8 bits",
    )
    parser.add_argument(
        "--topic", default="image", help="default: image (compressed: image/compressed)"
    )
    parser.add_argument("--frame-id", default="camera", help="default: camera")
    parser.add_argument(
        "--fps",
        type=float,
        help="a constant rate instead of the times of the video's frames (images: default "
        f"{DEFAULT_FPS:g})",
    )
    parser.add_argument(
        "--start", type=float, default=0.0, metavar="S", help="first second (default: 0)"
    )
    parser.add_argument(
        "--end", type=float, metavar="S", help="second to stop at (default: the end)"
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="write at most N frames")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality 1-100 (default: 90)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = make_parser().parse_args(argv)
    return run_command(
        "video_to_bag",
        lambda: _convert(args),
        when_stopped="stopped; the unfinished bag was removed.",
    )


def _convert(args: argparse.Namespace) -> None:
    # JPEG has 8 bits.
    contrast = CountsKept() if args.transport == "raw" else None
    summary = write_bag(
        open_source(args.source, contrast),
        args.bag,
        topic=args.topic,
        storage=args.storage,
        transport=args.transport,
        frame_id=args.frame_id,
        quality=args.quality,
        fps=args.fps,
        start_s=args.start,
        end_s=args.end,
        max_frames=args.max_frames,
        progress=True,
    )
    print(f"{summary.path}: {summary.frames} frames on {summary.topic} at {summary.fps:.4g} Hz")


if __name__ == "__main__":
    sys.exit(main())
