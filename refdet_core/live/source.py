"""The frame sources of ``refdet live``.

A thread reads a camera or stream and keeps only the newest frame, so the view is never older than
one frame, however slow the search is. A file is read frame by frame, without gaps.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional, Union

import cv2

from refdet_core.closeable import Closeable
from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.frame_clock import FrameClock
from refdet_core.image_files import to_bgr8
from refdet_core.sources import open_source
from refdet_core.video import Frame, frame_rate, presentation_ns, read_frames

STALL_S = 5.0
"""A camera or stream that is silent for this long counts as lost."""

MOST_JITTER_S = 0.5

_RETRY_S = 0.05


class LiveSource(Closeable):
    """A source of frames for live viewing.

    Attributes:
        name: the name on the screen.
        fps: frames per second; None if unknown.
        paced: whether the frames come at their own pace (camera, stream) or when asked (file).
        ended: whether there are no more frames.
        left_out: number of frames that were replaced by newer ones.
    """

    name: str
    fps: Optional[float] = None
    paced: bool
    ended: bool = False
    left_out: int = 0

    @abstractmethod
    def read(self, wait_s: float) -> Optional[Frame]:
        """The next frame; None if none comes within ``wait_s`` seconds, or at the end.

        Raises:
            SourceError: the source has stopped delivering.
        """


class FileSource(LiveSource):
    """A recording: every frame, one by one.

    Args:
        name: the name on the screen.
        frames: all of them, in order.
        fps: nominal; None for images.
    """

    paced = False

    def __init__(self, name: str, frames: Iterable[Frame], fps: Optional[float]) -> None:
        self.name, self.fps = name, fps
        self._frames = iter(frames)

    def read(self, wait_s: float) -> Optional[Frame]:
        frame = next(self._frames, None)
        self.ended = frame is None
        return frame

    def close(self) -> None:
        self._frames = iter(())


class StreamSource(LiveSource):
    """A camera or stream: the newest frame.

    Args:
        name: the name on the screen.
        capture: an open capture, owned by this object from now on.
        endless: the source has no end (a camera): a failed read may be followed by a frame.
        contrast: makes frames of more than 8 bits 8-bit.
        stall_s: give up after so many seconds without a frame.
    """

    paced = True

    def __init__(
        self,
        name: str,
        capture: cv2.VideoCapture,
        endless: bool,
        stall_s: float = STALL_S,
        contrast: Optional[Contrast] = None,
    ) -> None:
        self.name = name
        self.fps = frame_rate(capture)
        self._capture = capture
        self._endless = endless
        self._stall_s = stall_s
        self._contrast = contrast or Contrast()
        self._slot: Optional[Frame] = None
        self._came_s = time.monotonic()
        self._finished = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._grab, name="frame grabber", daemon=True)
        self._thread.start()

    def read(self, wait_s: float) -> Optional[Frame]:
        with self._change:
            self._change.wait_for(lambda: self._slot is not None or self._finished, wait_s)
            frame, self._slot = self._slot, None
            if frame is not None:
                return frame
            self.ended = self._finished
            if not self.ended and time.monotonic() - self._came_s > self._stall_s:
                raise SourceError(
                    f"'{self.name}' has not delivered a frame for {self._stall_s:g} s; is the "
                    "camera still connected and sending?"
                )
            return None

    def close(self) -> None:
        with self._change:
            self._finished = True
        self._thread.join(timeout=1)
        # A thread blocked in the driver still uses the capture; it ends with the process.
        if not self._thread.is_alive():
            self._capture.release()

    def _grab(self) -> None:
        clock = StreamClock()
        index = 0
        while not self._finished:
            readable, picture = self._capture.read()
            now_s = time.monotonic()
            if readable and picture is not None:
                time_s = clock.time_s(presentation_ns(self._capture), now_s)
                frame = Frame(index, time_s, to_bgr8(picture, self._contrast.frame))
                with self._change:
                    self.left_out += self._slot is not None
                    self._slot, self._came_s = frame, now_s
                    self._change.notify_all()
                index += 1
                continue
            if self._endless:
                time.sleep(_RETRY_S)
                continue
            with self._change:
                self._finished = True
                self._change.notify_all()


class StreamClock:
    """When a stream's frames were taken, in seconds since the first one.

    Timestamps tell it better than the arrival, which the network delays by turns. But not all are
    true (for MJPEG over HTTP, FFmpeg makes them up), so they may differ from the arrival by no more
    than :data:`MOST_JITTER_S`.
    """

    def __init__(self) -> None:
        self._stamps = FrameClock()
        self._first_s: Optional[float] = None
        self._time_s = 0.0

    def time_s(self, stamp_ns: Optional[int], arrived_s: float) -> float:
        """Seconds since the first frame; the arguments are those of :class:`FrameClock`."""
        if self._first_s is None:
            self._first_s = arrived_s
        arrived_s -= self._first_s
        stamped_s = self._stamps.time_s(stamp_ns, arrived_s)
        bounded_s = min(max(stamped_s, arrived_s - MOST_JITTER_S), arrived_s + MOST_JITTER_S)
        self._time_s = max(self._time_s, bounded_s)
        return self._time_s


def open_live_source(text: str, contrast: Optional[Contrast] = None) -> LiveSource:
    """Open a camera index or device, a GStreamer pipeline, an address, a video or a folder.

    Args:
        text: ``0`` is a camera; what contains ``!`` is a GStreamer pipeline, ``://`` an address
            (RTSP, HTTP ...), anything else a file, a device or a folder of images.
        contrast: makes frames of more than 8 bits 8-bit; None follows the range in use.

    Raises:
        SourceError: it cannot be opened.
    """
    if text.isdigit() or _is_device(text):
        capture = _captured(int(text) if text.isdigit() else text, cv2.CAP_ANY)
        if not capture.isOpened():
            raise SourceError(
                f"The camera '{text}' cannot be opened: there is none, another program uses it, "
                "or you may not read it; see `ls -l /dev/video*`."
            )
        # Some drivers still buffer up to four frames; the thread drains them.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return StreamSource(text, capture, endless=True, contrast=contrast)
    if "!" in text:
        return _open_pipeline(text)
    if "://" in text:
        return _open_address(text, contrast or Contrast())
    recording = open_source(Path(text), contrast)
    return FileSource(recording.path.name, recording, recording.fps)


def _open_pipeline(text: str) -> StreamSource:
    capture = _captured(text, cv2.CAP_GSTREAMER)
    if capture.isOpened():
        return StreamSource(text, capture, endless=False)
    if re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is None:
        raise SourceError(
            "This OpenCV has no GStreamer (PyPI's have none); use the python3-opencv of Debian, "
            "Ubuntu or JetPack for a pipeline."
        )
    raise SourceError(
        f"The GStreamer pipeline '{text}' cannot be opened; it must end in 'appsink' and hand out "
        "BGR: '... ! videoconvert ! video/x-raw,format=BGR ! appsink drop=1'. Try it with "
        "gst-launch-1.0."
    )


def _open_address(text: str, contrast: Contrast) -> LiveSource:
    # JetPack's OpenCV has no FFmpeg; others take an address with any backend.
    has_ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
    capture = _captured(text, cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY)
    if not capture.isOpened():
        raise SourceError(
            f"The stream '{text}' cannot be opened; are the address, user and password right, and "
            "does the camera answer (`ffplay ADDRESS`)?"
        )
    # Do not show user and password.
    name = re.sub("//[^/@]*@", "//", text)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        # A recording on a server would arrive as fast as the network allows.
        return FileSource(name, _all_frames(capture, contrast), frame_rate(capture))
    return StreamSource(name, capture, endless=False)


def _all_frames(capture: cv2.VideoCapture, contrast: Contrast) -> Iterator[Frame]:
    try:
        yield from read_frames(capture, contrast)
    finally:
        capture.release()


def _captured(source: Union[int, str], backend: int) -> cv2.VideoCapture:
    """A capture, open or not; OpenCV's own messages are suppressed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 4.5 has it at the top level.
    home: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = home.setLogLevel(0)
    try:
        if isinstance(source, str) and backend == cv2.CAP_FFMPEG:
            timeout_ms = round(STALL_S * 1e3)
            return cv2.VideoCapture(source, backend, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms])
        return cv2.VideoCapture(source, backend)
    finally:
        home.setLogLevel(level)


def _is_device(text: str) -> bool:
    path = Path(text)
    return path.exists() and stat.S_ISCHR(path.stat().st_mode)
