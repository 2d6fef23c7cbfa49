"""An evaluation as files: JSON and CSV for programs, Markdown and HTML for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from refdet_core.report.page import (
    new_pictures_folder,
    save_figures,
    save_picture,
    write_pages,
)
from refdet_training.evaluation.measure import Evaluation
from refdet_training.evaluation.pictures import KINDS, worst_cases
from refdet_training.evaluation.plots import draw_plots
from refdet_training.evaluation.tables import (
    PREDICTION_COLUMNS,
    SEQUENCE_KEYS,
    Row,
    all_numbers,
    prediction_rows,
    sequence_rows,
)

HEADINGS = {
    "detection": {
        "present": "frames with object",
        "frames": "frames",
        "recall_iou50": "recall IoU 0.5",
        "recall_iou30": "recall IoU 0.3",
        "centre_hit": "centre hit",
        "ap50": "AP IoU 0.5",
        "ap30": "AP IoU 0.3",
        "presence_auroc": "presence AUROC",
        "threshold": "threshold",
        "fpr": "FPR at threshold",
        "found": "found at threshold",
        "ece": "ECE",
    },
    "tracking": {
        "sequences": "sequences",
        "frames": "frames",
        "present": "frames with object",
        "success_auc": "success AUC",
        "precision_20px": "precision 20 px",
        "normalised_precision_auc": "norm. precision AUC",
        "ao": "AO",
        "sr50": "SR 0.5",
        "sr75": "SR 0.75",
        "st_iou": "ST-IoU",
        "presence_f1": "presence F1",
    },
}
"""The numbers shown in tables, by protocol."""
PLOT_TITLES = {
    "precision_recall": "Precision and recall, frames with and without the object pooled",
    "recall_by_size": "Recall by object size, whatever the score",
    "scores": "Scores of the best answer in frames with and without the object",
    "reliability": "Reliability: stated probability against observed rate",
    "success": "Tracking: success curves (OTB)",
    "precision": "Tracking: precision curves (OTB)",
}


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write ``report.json``, ``report.md``, ``report.html`` (self-contained), ``predictions.csv``,
    ``sequences.csv`` and ``pictures/`` into the folder; files of these names are replaced.
    """
    new_pictures_folder(folder)
    numbers = all_numbers(evaluation)
    text = json.dumps(numbers, indent=1, allow_nan=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    write_csv(folder / "predictions.csv", PREDICTION_COLUMNS, prediction_rows(evaluation))
    sequences = sequence_rows(evaluation)
    columns = dict.fromkeys([*SEQUENCE_KEYS, *(key for row in sequences for key in row)])
    write_csv(folder / "sequences.csv", list(columns), sequences)
    content = {
        "numbers": numbers,
        "headings": HEADINGS,
        "kinds": KINDS,
        "plots": save_figures(draw_plots(evaluation), PLOT_TITLES, folder),
        "cases": _save_cases(evaluation, folder),
    }
    write_pages(Path(__file__).parent, ("report.md", "report.html"), content, folder)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """A CSV file with a header; None becomes an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _save_cases(evaluation: Evaluation, folder: Path) -> list[Row]:
    return [
        {
            "file": save_picture(f"{case.kind}_{number:02d}", case.image_bgr, folder),
            "kind": case.kind,
            "caption": case.caption,
        }
        for number, case in enumerate(worst_cases(evaluation))
    ]
