"""``evaluate_bag``: how well and how fast a detector finds annotated objects in a bag."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Sequence

from refdet_core.command_line import (
    join_negative_values,
    parser_with_examples,
    run_command,
)
from refdet_core.contrast import Contrast, add_contrast_argument
from refdet_core.detector import DEFAULT_TEMPLATE_ID
from refdet_core.detector_arguments import (
    add_detector_arguments,
    add_search_argument,
    open_detector,
)
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.photo_arguments import add_photo_arguments
from refdet_core.report.page import check_packages
from refdet_ros.bags.arguments import add_bag_argument
from refdet_ros.bags.frames import frames
from refdet_ros.bags.html_report import write_html_report
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.replay import Replay, replay_offline
from refdet_ros.bags.report import TargetResult, as_dict, as_text, score_targets
from refdet_ros.bags.targets import (
    Target,
    target_from_photos,
    targets_from_truth,
)
from refdet_ros.bags.truth import AnnotatedObject, load_ground_truth
from refdet_ros.bags.video import write_video

_LOG = logging.getLogger(__name__)
_EXAMPLES = """examples:
  evaluate_bag flight_bag --ground-truth boxes.json --references-from-ground-truth --offline
  evaluate_bag flight_bag --ground-truth boxes.json --object-id car16_1 \\
      --template car.jpg --roi 40,30,120,80 --live /
  evaluate_bag flight_bag --template car.jpg --offline --search tiles --output out

Ground truth: a list of videos with 'video_id' and 'annotations'; each annotation has
'object_id', 'labelled_frames' [first, last] and 'bboxes' of {frame, x1, y1, x2, y2}, and may
have 'references' of the same form. 'frame' is the n-th image of the bag, counted from 0.
"""


IOU_THRESHOLD = 0.5
_PROFILE_HINT = (
    "Frames may have been lost between the processes: Fast DDS has no profile here. Set "
    "FASTRTPS_DEFAULT_PROFILES_FILE (Kilted: FASTDDS_DEFAULT_PROFILES_FILE) to "
    "config/fastdds_shm.xml for the detector and for evaluate_bag."
)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_with_examples(
        "evaluate_bag",
        "Replay a bag against the live detector node or offline, and compare its detections with "
        "ground-truth boxes.",
        _EXAMPLES,
    )
    add_bag_argument(parser)
    parser.add_argument("--topic", help="image topic in the bag (default: the only one)")
    parser.add_argument("--ground-truth", type=Path, metavar="JSON", help="boxes to compare with")
    parser.add_argument(
        "--video-id", help="which video of the ground truth (default: the only one)"
    )
    parser.add_argument(
        "--object-id", action="append", metavar="ID", help="only this object (may be repeated)"
    )
    parser.add_argument(
        "--first-frame",
        type=int,
        default=0,
        metavar="N",
        help="the bag's first image is frame N of the ground truth (default: 0)",
    )
    add_photo_arguments(parser)
    add_contrast_argument(parser)
    parser.add_argument(
        "--references-from-ground-truth",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="cut the references out of the bag: of N evenly spread boxes, or without N of the "
        "annotation's references, else of the first box; these frames are not scored",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--live",
        metavar="NAMESPACE",
        help="the running detector node in this namespace, '/' for none",
    )
    where.add_argument("--offline", action="store_true", help="without ROS nodes (default)")
    parser.add_argument("--rate", type=float, default=1.0, help="live: playing speed (default: 1)")
    add_search_argument(parser, when="offline: ")
    parser.add_argument("--score-threshold", type=float, help="offline: default: the bundle's own")
    add_detector_arguments(parser, "offline: ")
    parser.add_argument(
        "--iou-threshold", type=float, default=IOU_THRESHOLD, help="of recall (default: 0.5)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write report.html, report.json and annotated.mp4 there",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = make_parser().parse_args(join_negative_values(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(format="evaluate_bag: %(message)s")
    return run_command("evaluate_bag", lambda: _evaluate(args))


def _evaluate(args: argparse.Namespace) -> None:
    if args.output is not None:
        # Checked before the replay, which may take minutes.
        make_folder(args.output)
    with Bag(args.bag) as bag:
        topic = bag.image_topic(args.topic)
        contrast = Contrast(args.contrast)
        targets = choose_targets(args, bag, topic, contrast)
        replay = (
            _live(args, bag, topic, targets)
            if args.live
            else _offline(args, bag, topic, targets, contrast)
        )
        results = score_targets(replay, targets, args.iou_threshold)
        print(as_text(replay, results))
        if replay.dropped and not _has_dds_profile():
            print(_PROFILE_HINT)
        if args.output is not None:
            written = write_output(
                args.output, bag, topic, replay, targets, results, args.iou_threshold
            )
            print("Written: " + ", ".join(str(path) for path in written))


def choose_targets(
    args: argparse.Namespace, bag: Bag, topic: BagTopic, contrast: Contrast | None = None
) -> list[Target]:
    """The targets from the command line.

    Args:
        contrast: makes pictures of more than 8 bits uint8; None follows the range in use.

    Raises:
        ConfigError: the options do not fit together.
    """
    contrast = contrast or Contrast()
    # Photos of the same camera take the range of its frames.
    next(frames(bag, topic, contrast), None)
    objects: list[AnnotatedObject] = []
    if not 0 < args.iou_threshold <= 1:
        raise ConfigError(
            f"--iou-threshold must be above 0 and at most 1, got {args.iou_threshold:g}."
        )
    if args.ground_truth is not None:
        objects = [
            entry.shifted(args.first_frame)
            for entry in load_ground_truth(args.ground_truth, args.object_id, args.video_id)
        ]
    last = max((entry.truth.labelled_frames[1] for entry in objects), default=0)
    if last >= topic.count and not args.first_frame:
        _LOG.warning(
            "The ground truth continues to frame %d, the bag has %d images: if its first one is a "
            "later frame of the video, say which with --first-frame.",
            *(last, topic.count),
        )
    if args.photos and args.references_from_ground_truth is not None:
        raise ConfigError("Choose one of --template and --references-from-ground-truth.")
    if args.references_from_ground_truth is not None:
        if not objects:
            raise ConfigError("--references-from-ground-truth needs --ground-truth JSON.")
        if args.references_from_ground_truth < 0:
            raise ConfigError("--references-from-ground-truth takes a number of frames, 1-5.")
        return targets_from_truth(bag, topic, objects, args.references_from_ground_truth, contrast)
    if not args.photos:
        raise ConfigError(
            "Say what to look for: --template IMG [--roi X,Y,W,H], or "
            "--references-from-ground-truth with --ground-truth JSON."
        )
    if len(objects) > 1:
        raise ConfigError(
            "--template shows one object; say which one of the ground truth it is with "
            "--object-id: {}.".format(", ".join(entry.truth.object_id for entry in objects))
        )
    truth = objects[0].truth if objects else None
    name = truth.object_id if truth else DEFAULT_TEMPLATE_ID
    return [target_from_photos(args.photos, name, truth, contrast, args.same_camera)]


def write_output(
    folder: Path,
    bag: Bag,
    topic: BagTopic,
    replay: Replay,
    targets: Sequence[Target],
    results: Sequence[TargetResult],
    iou_threshold: float = IOU_THRESHOLD,
) -> list[Path]:
    """Write the reports and the annotated video; returns their paths.

    Without the packages that it needs there is no HTML report, and a warning.

    Raises:
        RefdetError: the folder cannot be made or written to.
    """
    make_folder(folder)
    report = folder / "report.json"
    report.write_text(json.dumps(as_dict(replay, results), indent=2) + "\n", encoding="utf-8")
    video = folder / "annotated.mp4"
    write_video(video, bag, topic, replay, targets)
    written = [video, report]
    try:
        check_packages()
    except ConfigError as error:
        _LOG.warning("%s", error)
    else:
        page = write_html_report(folder, bag, topic, replay, targets, results, iou_threshold)
        written.insert(0, page)
    return written


def make_folder(folder: Path) -> None:
    """Make a folder for results, unless it exists.

    Raises:
        ConfigError: it cannot be made or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").touch()
    except OSError as error:
        raise ConfigError(f"Cannot write to '{folder}': {error.strerror}.") from error


def _has_dds_profile() -> bool:
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    return any(os.environ.get(name) for name in names)


def _offline(
    args: argparse.Namespace,
    bag: Bag,
    topic: BagTopic,
    targets: Sequence[Target],
    contrast: Contrast,
) -> Replay:
    given = {"search": args.search, "score_threshold": args.score_threshold}
    config = DetectorConfig(**{name: value for name, value in given.items() if value is not None})
    with open_detector(args, config) as detector:
        return replay_offline(bag, topic, detector, targets, progress=True, contrast=contrast)


def _live(args: argparse.Namespace, bag: Bag, topic: BagTopic, targets: Sequence[Target]) -> Replay:
    # Offline use must not need DDS.
    from refdet_ros.bags.live import LiveDetector

    names = ("search", "bundle", "score_threshold", "config")
    ignored = [name for name in names if getattr(args, name) not in (None, [])]
    if ignored:
        raise ConfigError(
            "--{} is for --offline; the live node has its own setting, a parameter.".format(
                ignored[0].replace("_", "-")
            )
        )
    with LiveDetector(args.live) as detector:
        detector.wait_until_active(topic.msgtype)
        for target in targets:
            detector.set_target(target)
        return detector.replay(bag, topic, args.rate)


if __name__ == "__main__":
    sys.exit(main())
