"""Prepares a data set: frames, index, splits, manifest, contact sheet."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
from tqdm import tqdm

from refdet_core.errors import ConfigError, SourceError
from refdet_training.datasets.contact_sheet import contact_sheet
from refdet_training.datasets.flat_layout import write_flat_layout
from refdet_training.datasets.frames import MODES, FrameSettings, FrameStore, StoredFrames
from refdet_training.datasets.index import (
    load_instances,
    write_index,
    write_json,
    write_splits,
)
from refdet_training.datasets.manifest import statistics
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import AUTO, FORMATS, find_format
from refdet_training.datasets.readers.record import Video
from refdet_training.datasets.rows import Naming, index_rows
from refdet_training.datasets.splits import (
    Splits,
    VideoFacts,
    check_splits,
    fold_split,
    own_splits,
    read_splits,
    share_splits,
    take_tune,
)

MANIFEST = "manifest.json"
CONTACT_SHEET = "contact_sheet.jpg"
LAYOUTS = ("index", "refdet_flat")


@dataclass(frozen=True)
class PrepareSettings:
    """Settings of the preparation.

    Attributes:
        data: the data set's folder.
        output: folder of prepared data sets; this one goes into ``output/name``.
        format: key of :data:`refdet_training.datasets.readers.FORMATS`, or "auto".
        name: name of the prepared data set; empty: that of the data set's folder.
        splits: JSON file with lists of videos; None: the data set's own train and val folders if it
            has them, else shares of its families.
        tune: videos taken out of train to choose settings and to fit the calibration.
        val_share: share of the videos to hold out, if the splits are made here.
        seed: seed of that choice.
        family_pattern, kind_pattern: see :class:`refdet_training.datasets.rows.Naming`.
        every: use only frames whose number is a multiple of this.
        frames: see :class:`refdet_training.datasets.frames.FrameSettings`.
        quality: quality of written JPEGs, 1 to 100.
        layout: "index", or "refdet_flat" to write the original folder layout as well.
    """

    data: Path
    output: Path
    format: str = AUTO
    name: str = ""
    splits: Path | None = None
    tune: tuple[str, ...] = ()
    val_share: float = 0.2
    seed: int = 0
    family_pattern: str = ""
    kind_pattern: str = ""
    every: int = 1
    frames: str = "jpeg"
    quality: int = 92
    layout: str = "index"

    def __post_init__(self) -> None:
        for name, valid in (("frames", MODES), ("layout", LAYOUTS)):
            if getattr(self, name) not in valid:
                raise ConfigError(
                    f"There is no {name} '{getattr(self, name)}'; choose one of {list(valid)}."
                )
        if not 0 <= self.val_share < 1:
            raise ConfigError(f"val_share must be from 0 to below 1, got {self.val_share}.")
        if self.every < 1:
            raise ConfigError(f"every must be 1 or more, got {self.every}.")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality must be from 1 to 100, got {self.quality}.")
        for name in ("family_pattern", "kind_pattern"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ConfigError(f"{name} is not a regular expression: {error}.") from error
        if self.folder.resolve() == self.data.resolve():
            raise ConfigError(
                f"The output {self.folder} is the data set's own folder; choose another output or "
                "another name."
            )

    @property
    def prepared_name(self) -> str:
        """Name of the prepared data set."""
        return self.name or self.data.resolve().name

    @property
    def folder(self) -> Path:
        """Folder of the prepared data set."""
        return self.output / self.prepared_name


def prepare(settings: PrepareSettings) -> dict[str, Any]:
    """Prepare one data set and return its manifest; results of an earlier run are reused.

    Raises:
        ConfigError: a setting is wrong.
        SourceError: the data set cannot be read, nothing in it is usable, or its splits leak.
    """
    found = find_format(settings.format, settings.data)
    print(f"{settings.data}: format '{found}' ({FORMATS[found].looks_like})")
    given = None
    if settings.splits is not None:
        given = read_splits(settings.splits, (settings.prepared_name, settings.data.resolve().name))
    names = Naming(settings.prepared_name, settings.family_pattern, settings.kind_pattern)
    problems = Problems()
    videos = _videos(settings, found, problems)
    stored = _store_frames(settings, videos)
    rows: list[dict[str, Any]] = []
    facts: dict[str, VideoFacts] = {}
    for video in videos:
        frames = stored[video.video_id]
        problems.extend(frames.problems)
        of_video = list(index_rows(video, frames, names, problems))
        if of_video:
            rows.extend(of_video)
            digests = frozenset(item.digest for item in frames.frames.values() if item.digest)
            facts[video.video_id] = VideoFacts(names.family(video), digests, video.split)
    if not rows:
        raise SourceError(
            f"Nothing in {settings.data} is usable as '{found}'. "
            + (f"Found: {problems.summary()}." if len(problems) else "It has no labels.")
        )
    splits, warnings = _splits(settings, facts, given)
    return _write(settings, found, rows, splits, warnings, problems)


def _videos(settings: PrepareSettings, format_name: str, problems: Problems) -> list[Video]:
    videos: dict[str, Video] = {}
    reading = FORMATS[format_name].read(settings.data, problems)
    for video in tqdm(reading, desc="labels", unit="video"):
        name = video.video_id
        if name in videos:
            problems.add("duplicate_video", video.labels, None, f"'{name}'")
        elif not name or name.startswith(".") or "/" in name or "\\" in name:
            problems.add("label_malformed", video.labels, None, f"'{name}' cannot name a file")
        elif not video.objects:
            problems.add("label_missing", video.labels, None, f"no objects in '{name}'")
        else:
            videos[name] = video
    return list(videos.values())


def _store_frames(settings: PrepareSettings, videos: list[Video]) -> dict[str, StoredFrames]:
    settings.folder.mkdir(parents=True, exist_ok=True)
    store = FrameStore(
        settings.folder, FrameSettings(settings.frames, settings.every, settings.quality)
    )
    total = sum(len(store.needed(video)) for video in videos)
    with tqdm(total=total, desc="frames", unit="frame") as progress:
        return {video.video_id: store.store(video, progress.update) for video in videos}


def _splits(
    settings: PrepareSettings, facts: dict[str, VideoFacts], given: Splits | None
) -> tuple[Splits, list[str]]:
    """Leak-free splits, and warnings."""
    warnings = []
    lists = given or own_splits(facts)
    if given is not None:
        listed = {video for videos in given.values() for video in videos}
        for what, names in (
            ("The splits name videos that do not exist", listed - facts.keys()),
            ("Videos that no split names are not used", facts.keys() - listed),
        ):
            if names:
                some = ", ".join(sorted(names)[:10])
                warnings.append(f"{what}: {len(names)}, among them {some}")
    splits = lists or share_splits(facts, settings.val_share, settings.seed)
    splits = take_tune(splits, settings.tune)
    leaks = check_splits(splits, facts, given=lists is not None)
    usable = {name: [v for v in videos if v in facts] for name, videos in splits.items()}
    if not usable.get("train", usable.get(fold_split(0))):
        warnings.append("The train split is empty")
    return usable, warnings + leaks


def _write(
    settings: PrepareSettings,
    format_name: str,
    rows: list[dict[str, Any]],
    splits: Splits,
    warnings: list[str],
    problems: Problems,
) -> dict[str, Any]:
    folder = settings.folder
    write_splits(folder, splits)
    write_index(folder, rows)
    manifest = {
        "name": settings.prepared_name,
        "format": format_name,
        "settings": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(settings).items()
        },
        **statistics(pd.DataFrame(rows), splits),
        "warnings": warnings,
        "problems": problems.as_json(),
    }
    write_json(folder / MANIFEST, manifest)
    instances = load_instances(settings.output, sources=[settings.prepared_name])
    sheet = contact_sheet(settings.prepared_name, instances, splits)
    cv2.imwrite(str(folder / CONTACT_SHEET), sheet, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if settings.layout == "refdet_flat":
        write_flat_layout(folder, instances, splits, settings.quality)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if len(problems):
        where = folder / MANIFEST
        print(f"{len(problems)} problems, listed in {where}: {problems.summary()}", file=sys.stderr)
    return manifest
