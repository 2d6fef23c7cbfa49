"""The results as a Markdown table for each data set."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.search_scale.measure import SIZE_BINS, Result

_NUMBERS = {
    "recall, IoU 0.5": "recall_iou50",
    "centre hit": "centre_hit",
    "AP50": "ap50",
    "AUROC": "presence_auroc",
    "found": "found",
    "false alarms": "fpr",
}


def to_markdown(results: Sequence[Result]) -> str:
    """One table for each source, one line for each way of searching."""
    parts = []
    for source in dict.fromkeys(item.source for item in results):
        own = [item for item in results if item.source == source]
        sizes = [
            f"{_range(*edges)} ({count})"
            for edges, (_, count) in zip(SIZE_BINS, own[0].recall_by_size, strict=True)
        ]
        header = ["scale", *_NUMBERS, *sizes, "CPU ms"]
        lines = [header, ["---"] * len(header), *map(_line, own)]
        title = f"{source}: {own[0].numbers['present']} frames with the object, "
        title += f"{own[0].numbers['frames'] - own[0].numbers['present']} without"
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"{title}\n\n{table}\n")
    return "\n".join(parts)


def _line(result: Result) -> list[str]:
    numbers = [_text(result.numbers[key]) for key in _NUMBERS.values()]
    sizes = [_text(recall) for recall, _ in result.recall_by_size]
    return [result.setting, *numbers, *sizes, f"{result.cpu_ms:.0f}"]


def _range(least_px: float, most_px: float) -> str:
    if most_px == float("inf"):
        return f"from {least_px:g} px"
    return f"{least_px:g}-{most_px:g} px" if least_px else f"under {most_px:g} px"


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
