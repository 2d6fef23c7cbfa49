"""Pages from jinja2 templates, which extend the common ``page.html.j2``."""

from __future__ import annotations

import base64
import importlib
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np

from refdet_core.errors import ConfigError

PICTURES = "pictures"
_DPI = 110
_JPEG_QUALITY = 88
_NEEDED = ("jinja2", "matplotlib")


def check_packages() -> None:
    """Refuse where a package that reports need is not installed.

    Raises:
        ConfigError: it tells which, and how to install it.
    """
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"HTML reports need {name}: 'pip install {name}' or 'apt install python3-{name}'."
            ) from error


def new_pictures_folder(folder: Path) -> Path:
    """The empty folder for a report's pictures; those of an earlier report are removed."""
    pictures = folder / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    for old in (*pictures.glob("*.jpg"), *pictures.glob("*.png")):
        old.unlink()
    return pictures


def save_figures(
    figures: Mapping[str, Any], titles: Mapping[str, str], folder: Path
) -> List[Dict[str, str]]:
    """Save matplotlib figures by name as PNG; returns ``file`` and ``title`` of each."""
    saved = []
    for name, figure in figures.items():
        file = f"{PICTURES}/{name}.png"
        figure.savefig(folder / file, dpi=_DPI)
        saved.append({"file": file, "title": titles[name]})
    return saved


def save_picture(name: str, image_bgr: np.ndarray, folder: Path) -> str:
    """Save one ``(H, W, 3)`` uint8 BGR picture as JPEG; returns its path within the folder."""
    file = f"{PICTURES}/{name}.jpg"
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    (folder / file).write_bytes(cv2.imencode(".jpg", image_bgr, quality)[1].tobytes())
    return file


def write_pages(
    templates: Path, names: Sequence[str], content: Mapping[str, Any], folder: Path
) -> None:
    """Render ``<name>.j2`` of a folder of templates to ``<name>`` in the report's folder.

    In a template the filter ``number`` prints a value for people, ``embedded`` makes a data URI of
    a picture's path; ``page.html.j2`` and ``macros.html.j2`` are there to extend and import.
    """
    jinja2 = importlib.import_module("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, Path(__file__).parent]),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = for_people
    environment.filters["embedded"] = lambda file: _embedded(folder / file)
    for name in names:
        page = environment.get_template(f"{name}.j2").render(content)
        (folder / name).write_text(page, encoding="utf-8")


def new_figure(
    rows: int, columns: int, panel_inches: Tuple[float, float], **arguments: Any
) -> Tuple[Any, np.ndarray]:
    """A matplotlib figure drawn without a display, and its ``(rows, columns)`` axes."""
    figure_type = importlib.import_module("matplotlib.figure").Figure
    size = (columns * panel_inches[0], rows * panel_inches[1])
    figure = figure_type(size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **arguments)


def for_people(value: Optional[Any]) -> str:
    """A number for people; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _embedded(path: Path) -> str:
    """The picture as a data URI, so that the page needs no other file."""
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
