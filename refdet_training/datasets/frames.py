"""Frames of a prepared data set: decoded once, checked, stored, and listed in a journal."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refdet_core.errors import SourceError
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.problems import Problem
from refdet_training.datasets.readers.record import Video
from refdet_training.datasets.whole_files import write_whole

JOURNAL = "frames.jsonl"
MODES = ("jpeg", "raw", "video")
_SEEK_CHECKS = 5  # frames per video, compared between seeking and decoding in order


@dataclass(frozen=True)
class FrameSettings:
    """How frames are stored.

    Attributes:
        mode: "jpeg" writes one file a frame (a source's own JPEGs are copied as they are);
            "raw" writes decoded pixels (.npy, about 20 times the size), which are read without
            decoding, only the needed parts: drawing training pairs is six times faster;
            "video" copies nothing and points into the source's videos and pictures.
        every: only frames whose number is a multiple of this.
        quality: JPEG quality, 1 to 100.
    """

    mode: str
    every: int
    quality: int


@dataclass(frozen=True)
class StoredFrame:
    """A readable frame.

    Attributes:
        picture: file, relative to the data set's folder or absolute.
        video_frame: number in it when it is a video, else -1.
        width, height: pixels.
        digest: equal for equal pixels; empty for a frame of one colour, which identifies nothing.
    """

    picture: str
    video_frame: int
    width: int
    height: int
    digest: str


@dataclass(frozen=True)
class StoredFrames:
    """All readable frames of one video by number, and the problems of the others."""

    frames: Mapping[int, StoredFrame]
    problems: tuple[Problem, ...]


class FrameStore:
    """Frames below ``folder/frames`` and the journal of the videos that are complete.

    A video gets a line in the journal when all its frames are on the disk. After an interrupted
    run, videos without a line are made again.
    """

    def __init__(self, folder: Path, settings: FrameSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._journal = folder / JOURNAL
        self._known: dict[str, dict[str, Any]] = {}
        if self._journal.exists():
            for line in self._journal.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # half a line: the run was interrupted
                    continue
                self._known[entry["video_id"]] = entry

    def needed(self, video: Video) -> list[int]:
        """Numbers of the frames that labels need."""
        numbers = {number for item in video.objects for number in item.labelled}
        return sorted(number for number in numbers if number % self._settings.every == 0)

    def store(self, video: Video, progress: Callable[[int], object]) -> StoredFrames:
        """Store the needed frames unless an earlier run did; ``progress`` gets their number."""
        numbers = self.needed(video)
        fingerprint = self._fingerprint(video, numbers)
        stored = self._recall(video.video_id, fingerprint)
        if stored is not None:
            progress(len(numbers))
            return stored
        try:
            stored = self._make(video, numbers, progress)
            self._remember(video.video_id, fingerprint, stored)
        except OSError as error:
            raise SourceError(f"Cannot store the frames of {video.video_id}: {error}.") from error
        return stored

    def _make(
        self, video: Video, numbers: list[int], progress: Callable[[int], object]
    ) -> StoredFrames:
        frames: dict[int, StoredFrame] = {}
        problems: list[Problem] = []
        movies: dict[Path, dict[int, int]] = {}
        photo = len(video.frames) == 1
        for number in numbers:
            ref = video.frames.get(number)
            if ref is None:
                problems.append(Problem("frame_missing", str(video.labels), number))
                progress(1)
            elif ref.video_frame is not None:
                movies.setdefault(ref.path, {})[ref.video_frame] = number
            else:
                found = self._picture(ref.path, self._target(video.video_id, number, photo))
                progress(1)
                if isinstance(found, Problem):
                    problems.append(Problem(found.kind, found.where, number))
                else:
                    frames[number] = found
        for path, wanted in movies.items():
            by_video_frame, found_problems = self._movie(path, video.video_id, wanted, progress)
            frames.update({wanted[number]: item for number, item in by_video_frame.items()})
            problems.extend(found_problems)
        return StoredFrames(frames, tuple(problems))

    def _target(self, video_id: str, number: int, photo: bool) -> Path:
        suffix = ".npy" if self._settings.mode == "raw" else ".jpg"
        name = f"{video_id}{suffix}" if photo else f"{video_id}/{number:06d}{suffix}"
        return self._folder / "frames" / name

    def _picture(self, path: Path, target: Path) -> StoredFrame | Problem:
        try:
            content = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError:
            return Problem("frame_missing", str(path))
        # imdecode refuses a truncated file; imread would return it half grey.
        frame = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        if frame is None:
            return Problem("frame_unreadable", str(path))
        if self._settings.mode == "video":
            return _stored(str(path.resolve()), -1, frame)
        if path.suffix.lower() in (".jpg", ".jpeg") and target.suffix == ".jpg":
            write_whole(target, content.tobytes())
        else:
            self._write(target, frame)
        return _stored(self._relative(target), -1, frame)

    def _movie(
        self,
        path: Path,
        video_id: str,
        wanted: Mapping[int, int],
        progress: Callable[[int], object],
    ) -> tuple[dict[int, StoredFrame], list[Problem]]:
        if not cv2.VideoCapture(str(path)).isOpened():
            progress(len(wanted))
            kind = "video_unreadable" if path.exists() else "frame_missing"
            return {}, [Problem(kind, str(path), None, f"{len(wanted)} frames are lost")]
        as_files = self._settings.mode != "video"
        frames, problems = self._decode(path, video_id, wanted, as_files, progress)
        if not as_files and not _seeks_exactly(path, frames):
            frames, problems = self._decode(path, video_id, wanted, True, lambda _: None)
            problems.append(Problem("seek_inexact", str(path)))
        return frames, problems

    def _decode(
        self,
        path: Path,
        video_id: str,
        wanted: Mapping[int, int],
        as_files: bool,
        progress: Callable[[int], object],
    ) -> tuple[dict[int, StoredFrame], list[Problem]]:
        frames: dict[int, StoredFrame] = {}
        problems: list[Problem] = []
        for video_frame, frame in _decoded_in_order(path, wanted):
            progress(1)
            if frame is None:
                problems.append(Problem("frame_unreadable", str(path), video_frame))
            elif as_files:
                target = self._target(video_id, wanted[video_frame], False)
                self._write(target, frame)
                frames[video_frame] = _stored(self._relative(target), -1, frame)
            else:
                frames[video_frame] = _stored(str(path.resolve()), video_frame, frame)
        lost = sorted(wanted.keys() - frames.keys() - {item.frame for item in problems})
        if lost:
            progress(len(lost))
            problems.append(
                Problem("video_ends_early", str(path), lost[0], f"{len(lost)} frames are lost")
            )
        return frames, problems

    def _write(self, target: Path, frame: np.ndarray) -> None:
        if target.suffix == ".npy":
            content = io.BytesIO()
            np.save(content, frame)
            write_whole(target, content.getvalue())
            return
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._settings.quality]
        write_whole(target, cv2.imencode(".jpg", frame, quality)[1].tobytes())

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _fingerprint(self, video: Video, numbers: Collection[int]) -> str:
        """A key of everything that the stored frames depend on."""
        wanted = [(number, video.frames.get(number)) for number in numbers]
        files = sorted({ref.path for _, ref in wanted if ref is not None})
        state = [_file_state(path) for path in files]
        text = json.dumps([astuple(self._settings), list(numbers), state])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _recall(self, video_id: str, fingerprint: str) -> StoredFrames | None:
        entry = self._known.get(video_id)
        if entry is None or entry["fingerprint"] != fingerprint:
            return None
        frames = {int(number): StoredFrame(*item) for number, item in entry["frames"].items()}
        if not all((self._folder / name).exists() for name in {f.picture for f in frames.values()}):
            return None
        return StoredFrames(frames, tuple(Problem(**item) for item in entry["problems"]))

    def _remember(self, video_id: str, fingerprint: str, stored: StoredFrames) -> None:
        entry = {
            "video_id": video_id,
            "fingerprint": fingerprint,
            "frames": {str(number): astuple(item) for number, item in stored.frames.items()},
            "problems": [asdict(item) for item in stored.problems],
        }
        # The line break comes first, so that a half line of an interrupted run stays separate.
        with self._journal.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(entry))


def _file_state(path: Path) -> tuple[str, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), stat.st_size, stat.st_mtime_ns


def _decoded_in_order(
    path: Path, wanted: Collection[int]
) -> Iterator[tuple[int, np.ndarray | None]]:
    """The needed frames of a video in order; None for one that cannot be decoded."""
    video = cv2.VideoCapture(str(path))
    for number in range(max(wanted) + 1):
        if not video.grab():
            break
        if number in wanted:
            yield number, video.retrieve()[1]
    video.release()


def _seeks_exactly(path: Path, frames: Mapping[int, StoredFrame]) -> bool:
    """Whether seeking gives the same pixels as decoding in order, for a few frames."""
    numbers = [number for number, item in sorted(frames.items()) if item.digest]
    chosen = numbers[:: max(1, len(numbers) // _SEEK_CHECKS)]
    try:
        # Backwards, so that each one is a seek.
        return all(
            frame_digest(FrameRef(path, number).read()) == frames[number].digest
            for number in reversed(chosen)
        )
    except SourceError:
        return False


def frame_digest(frame_bgr: np.ndarray) -> str:
    """Short hash of every eighth line of a frame; empty when the frame is of one colour."""
    lines = np.ascontiguousarray(frame_bgr[::8])
    if float(cv2.meanStdDev(lines)[1].max()) < 2:
        return ""
    return hashlib.blake2b(lines.tobytes(), digest_size=8).hexdigest()


def _stored(picture: str, video_frame: int, frame: np.ndarray) -> StoredFrame:
    height, width = frame.shape[:2]
    return StoredFrame(picture, video_frame, width, height, frame_digest(frame))
