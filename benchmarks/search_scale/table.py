"""The results as a Markdown table for each data set."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.search_scale.results import Result

_NUMBERS = {
    "recall, IoU 0.5": "recall_iou50",
    "centre hit": "centre_hit",
    "AP50": "ap50",
    "AUROC": "presence_auroc",
    "found": "found",
    "false alarms": "fpr",
}


def to_markdown(results: Sequence[Result]) -> str:
    """One table for each source, one line for each policy."""
    parts = []
    for source in dict.fromkeys(item.source for item in results):
        own = [item for item in results if item.source == source]
        header = ["scale", *_NUMBERS, "CPU ms"]
        lines = [header, ["---"] * len(header), *map(_line, own)]
        first = own[0].numbers
        title = f"{source}: {first['present']} frames with the object, "
        title += f"{first['frames'] - first['present']} without; threshold {first['threshold']:g}"
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"{title}\n\n{table}\n")
    return "\n".join(parts)


def _line(result: Result) -> list[str]:
    numbers = [_text(result.numbers[key]) for key in _NUMBERS.values()]
    return [result.policy, *numbers, f"{result.cpu_ms:.0f}"]


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
