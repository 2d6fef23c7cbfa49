"""The command ``refdet live``: connects a source, a session and a window."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Optional

from refdet_core.contrast import Contrast, add_contrast_argument
from refdet_core.detector import Detector
from refdet_core.detector_arguments import add_search_argument, open_detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError, SourceError
from refdet_core.following_speed import follow_in_time
from refdet_core.live.picture import paint
from refdet_core.live.session import HELP, Session
from refdet_core.live.source import LiveSource, open_live_source
from refdet_core.live.window import Window
from refdet_core.photo_arguments import add_photo_arguments, read_references
from refdet_core.recording import DETECTIONS_FILE, VIDEO_FILE, Recording
from refdet_core.roi import parse_roi
from refdet_core.search_plans import TRACKING_SEARCHES
from refdet_core.start_tracking import start_tracking
from refdet_core.stderr_log import log_to_stderr
from refdet_core.tracking_bundles import AUTO
from refdet_core.video import Frame
from refdet_core.video_file import FALLBACK_FPS

SAVE_FOLDER = Path("refdet_live")
_POLL_S = 0.02
"""How long the window waits for input or for a camera's next frame."""


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``refdet live`` that other commands do not have."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(
        ("keys in the window:", *(f"  {key:<7}{meaning}" for key, meaning in HELP))
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="camera index (0), device, video file, folder of images, address (rtsp://...), or "
        "GStreamer pipeline ('... ! appsink')",
    )
    add_photo_arguments(parser)
    add_contrast_argument(parser)
    parser.add_argument(
        "--init",
        metavar="X,Y,W,H",
        help="the object's box in the first frame, instead of drawing it",
    )
    add_search_argument(parser, "auto", choices=TRACKING_SEARCHES)
    parser.add_argument(
        "--no-window",
        action="store_true",
        help="no window; needs --init or --template; JSON lines to --output or standard output",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"write {DETECTIONS_FILE} there; what the key s saves goes there too, or else to "
        f"{SAVE_FOLDER}",
    )
    parser.add_argument("--video", action="store_true", help=f"also write {VIDEO_FILE} to --output")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after so many frames")


def live(options: argparse.Namespace) -> int:
    """``refdet live``: run until the source ends, N frames are done, or the user quits."""
    _check(options)
    box_xyxy = None if options.init is None else parse_roi(options.init)
    contrast = Contrast(options.contrast)
    with ExitStack() as opened:
        source = opened.enter_context(open_live_source(options.source, contrast))
        references = read_references(options.photos, options.same_camera, contrast)
        window = None
        if not options.no_window:
            window = opened.enter_context(Window(f"refdet live {options.source}"))
        config = DetectorConfig(search=options.search)
        detector = opened.enter_context(open_detector(options, config))
        if source.paced and options.tracking_bundle == AUTO:
            with log_to_stderr():
                follow_in_time(detector)
        first = _next_frame(source)
        if first is None:
            raise SourceError(f"'{source.name}' has no frame.")
        if box_xyxy is not None:
            start_tracking(detector, first.bgr, box_xyxy, references)
        elif references:
            detector.set_template(references)
        recording = opened.enter_context(_recording(options, source))
        most = options.max_frames or sys.maxsize
        try:
            if window is None:
                _without_window(source, detector, recording, first, most)
            else:
                session = Session(detector, source.name, options.output or SAVE_FOLDER)
                _in_window(source, session, window, recording, first, most)
        except KeyboardInterrupt:
            pass  # the usual way to stop a camera without a window
        except BrokenPipeError:
            # `refdet live ... | head` closed the pipe; Python would complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            _report(options, source, recording.summary(detector.backend.info))
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.no_window and options.init is None and not options.photos:
        raise ConfigError(
            "Without a window nobody can draw a box: give --init X,Y,W,H or --template PHOTO."
        )
    if options.video and options.output is None:
        raise ConfigError("--video needs --output DIR.")
    if options.max_frames is not None and options.max_frames < 1:
        raise ConfigError(f"--max-frames must be at least 1, got {options.max_frames}.")


def _recording(options: argparse.Namespace, source: LiveSource) -> Recording:
    if options.output is not None:
        return Recording.in_folder(options.output, options.video, source.fps)
    return Recording(sys.stdout if options.no_window else None)


def _next_frame(source: LiveSource) -> Optional[Frame]:
    """Wait for the next frame; None at the end."""
    frame = None
    while frame is None and not source.ended:
        frame = source.read(_POLL_S)
    return frame


def _without_window(
    source: LiveSource, detector: Detector, recording: Recording, first: Frame, most: int
) -> None:
    frame: Optional[Frame] = first
    for count in itertools.count(1):
        if frame is None:
            return
        result = detector.detect(frame.bgr, time_s=frame.time_s)
        recording.write(frame.name, frame.bgr, result, frame.time_s)
        if count == most:
            return
        frame = _next_frame(source)


def _in_window(
    source: LiveSource,
    session: Session,
    window: Window,
    recording: Recording,
    first: Frame,
    most: int,
) -> None:
    session.take(first)
    taken, period_s = 1, 1 / (source.fps or FALLBACK_FPS)
    due_s = time.perf_counter() + period_s
    while not session.done:
        window.show(paint(session.view(), session.layout))
        early_s = 0.0 if source.paced else due_s - time.perf_counter()
        idle = not session.wants_frame or early_s > 0
        for event in window.events(min(early_s, _POLL_S) if session.wants_frame else _POLL_S):
            session.handle(event)
        if idle or not session.wants_frame:
            continue
        frame = source.read(_POLL_S) if taken < most else None
        if frame is not None:
            _record(recording, session)
            session.take(frame)
            taken += 1
            # A file is shown no faster than it was filmed, but for its pauses.
            due_s = max(due_s + period_s, time.perf_counter())
        elif source.ended or taken == most:
            break
    _record(recording, session)


def _record(recording: Recording, session: Session) -> None:
    """Write the session's present frame with its latest result, before the next frame."""
    if session.seen is not None:
        frame, result = session.seen
        recording.write(frame.name, frame.bgr, result, frame.time_s)


def _report(options: argparse.Namespace, source: LiveSource, summary: str) -> None:
    # Standard output carries only the JSON lines, for programs that read them.
    lines_on_stdout = options.no_window and options.output is None
    report = [f"'{source.name}' ended." if source.ended else "stopped.", summary]
    if source.left_out:
        report.append(f"left out     {source.left_out} frames that came in the meantime")
    if options.output is not None:
        report.append(f"written to   {options.output}")
    print("\n".join(report), file=sys.stderr if lines_on_stdout else sys.stdout)
