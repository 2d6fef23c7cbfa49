"""``report.html`` of an evaluation: numbers, curves, a map, and the worst moments as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
from tqdm import tqdm

from refdet_core.drawing import fit
from refdet_core.report.page import new_pictures_folder, save_figures, save_picture, write_pages
from refdet_ros.bags.frames import frames
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.positions import positions_in
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.report import TargetResult, as_rows, timing_lines
from refdet_ros.bags.report_plots import map_plot, picture_map, time_plot
from refdet_ros.bags.targets import Target
from refdet_ros.bags.video import annotate, frame_caption
from refdet_ros.bags.worst_moments import KINDS, Moment, worst_moments

_PICTURE_SIZE = (960, 540)
_APART_S = 1.0


def write_html_report(
    folder: Path,
    bag: Bag,
    topic: BagTopic,
    replay: Replay,
    targets: Sequence[Target],
    results: Sequence[TargetResult],
    iou_threshold: float,
) -> Path:
    """Write the self-contained page, and its pictures beside it; returns its path.

    Raises:
        ConfigError: jinja2 or matplotlib is not installed.
    """
    new_pictures_folder(folder)
    times_s = _frame_times_s(bag, topic)
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else _APART_S
    apart = max(1, round(_APART_S / step_s)) if step_s > 0 else 1
    moments = worst_moments(replay, targets, iou_threshold, apart)
    pictures, frame_size = _pictures(folder, bag, topic, replay, targets, moments)
    figures: Dict[str, Any] = {}
    titles: Dict[str, str] = {}
    for number, target in enumerate(targets):
        figures[f"time_{number:02d}"] = time_plot(replay, target, times_s, iou_threshold)
        titles[f"time_{number:02d}"] = _time_title(target)
    positions = positions_in(bag, topic, replay, targets)
    if positions is not None:
        figures["map"] = map_plot(positions)
        titles["map"] = "Positions on level ground at height 0 of the frame map, frame by frame"
    in_picture = picture_map(replay, targets, frame_size)
    if in_picture is not None:
        figures["picture_map"] = in_picture
        titles["picture_map"] = "Where in the picture the targets were, pixels"
    head, *rows = as_rows(results)
    content = {
        "bag": str(bag.path),
        "topic": topic.name,
        "head": head,
        "rows": rows,
        "timing": timing_lines(replay, results),
        "plots": save_figures(figures, titles, folder),
        "kinds": KINDS,
        "moments": pictures,
    }
    write_pages(Path(__file__).parent, ["report.html"], content, folder)
    return folder / "report.html"


def _time_title(target: Target) -> str:
    if target.truth is None:
        return "Probability of the best candidate (dots: reported; gaps: not known)"
    return (
        "Above: probability of the best candidate (dots: reported; gaps: not known). "
        "Below: overlap with the truth. Green: frames that show the target; grey: frames whose "
        "truth is not known, which are not scored."
    )


def _frame_times_s(bag: Bag, topic: BagTopic) -> List[float]:
    """Of each frame, from the first on."""
    times_ns = [message.time_ns for message in bag.messages([topic.name])]
    return [(time_ns - times_ns[0]) * 1e-9 for time_ns in times_ns]


def _pictures(
    folder: Path,
    bag: Bag,
    topic: BagTopic,
    replay: Replay,
    targets: Sequence[Target],
    moments: Sequence[Moment],
) -> tuple[List[Dict[str, Any]], tuple[int, int]]:
    """The moments' annotated frames, saved, in their order; and the size of the frames."""
    by_name = {target.template_id: target for target in targets}
    wanted: Dict[int, List[int]] = {}
    for place, moment in enumerate(moments):
        wanted.setdefault(moment.frame, []).append(place)
    last = max(wanted, default=0)
    found: Dict[int, Dict[str, Any]] = {}
    size = (0, 0)
    for number, _, frame_bgr in tqdm(
        frames(bag, topic), total=last + 1, desc="pictures", unit="frame", disable=None
    ):
        size = (frame_bgr.shape[1], frame_bgr.shape[0])
        for place in wanted.get(number, []):
            moment = moments[place]
            target = by_name[moment.template_id]
            picture = annotate(frame_bgr.copy(), number, replay, [target])
            found[place] = {
                "file": save_picture(
                    f"{moment.kind}_{place:02d}", fit(picture, _PICTURE_SIZE), folder
                ),
                "kind": moment.kind,
                "caption": frame_caption(number, replay, target),
            }
        if number >= last:
            break
    return [found[place] for place in sorted(found)], size
