"""The annotated video of an evaluation: the bag's frames with detections and ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from refdet_core.drawing import TRUTH_COLOUR, draw_box, draw_detections, draw_text
from refdet_core.metrics import box_iou
from refdet_core.video_file import FALLBACK_FPS, VideoFile
from refdet_ros.bags.frames import frames
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.reading import Bag, topic_rate_hz
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.targets import Target


def annotated_frames(
    bag: Bag, topic: BagTopic, replay: Replay, targets: Sequence[Target]
) -> Iterator[tuple[int, np.ndarray]]:
    """Every frame of the bag with its number: truth thin and white, detections in colour."""
    for number, _, frame_bgr in frames(bag, topic):
        yield number, annotate(frame_bgr.copy(), number, replay, targets)


def annotate(
    frame_bgr: np.ndarray, number: int, replay: Replay, targets: Sequence[Target]
) -> np.ndarray:
    """Draw truth, detections and a status line on a frame, and return it."""
    answer = replay.answers.get(number)
    status = f"frame {number}"
    for target in targets:
        if target.truth is not None and number in target.truth.boxes_xyxy:
            draw_box(frame_bgr, target.truth.boxes_xyxy[number], TRUTH_COLOUR)
    if answer is None:
        status += "  dropped"
    else:
        wanted = {target.template_id for target in targets}
        draw_detections(
            frame_bgr, [item for item in answer.detections if item.template_id in wanted]
        )
        status += f"  {answer.latency_ms:.0f} ms"
    return draw_text(frame_bgr, status, (0, 0))


def write_video(
    path: Path, bag: Bag, topic: BagTopic, replay: Replay, targets: Sequence[Target]
) -> None:
    """Write the annotated MP4, at the bag's own rate."""
    with VideoFile(path, topic_rate_hz(bag, topic) or FALLBACK_FPS) as video:
        annotated = annotated_frames(bag, topic, replay, targets)
        for _, frame_bgr in tqdm(
            annotated, total=topic.count, desc="video", unit="frame", disable=None
        ):
            video.write(frame_bgr)


def frame_caption(number: int, replay: Replay, target: Target) -> str:
    """One line about a target in a frame."""
    found = replay.best(target.template_id).get(number)
    text = f"{target.template_id} frame {number}: "
    text += f"score {found.score:.2f}" if found is not None else "not found"
    if target.truth is None or not target.truth.labelled([number]):
        return text
    truth = target.truth.boxes_xyxy.get(number)
    if truth is None:
        return f"{text}, not in view"
    return text if found is None else f"{text}, IoU {box_iou(found.bbox_xyxy, truth):.2f}"


def sample_numbers(count: int, numbers: Sequence[int]) -> list[int]:
    """``count`` of the numbers, evenly spread."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[round(i * (len(numbers) - 1) / (count - 1))] for i in range(count)]
