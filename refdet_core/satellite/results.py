"""Results of a search of images: a table, and polygons for a geographic information system."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any, Dict, List, TextIO

from refdet_core.satellite.image_search import Hits
from refdet_core.satellite.raster import Raster

CSV_FILE = "detections.csv"
COLUMNS = ("x_min", "y_min", "x_max", "y_max", "class", "image", "score")


class Results:
    """Writes rows as they come; :meth:`finish` writes the polygons.

    Attributes:
        without_crs: names of the images that have no coordinate reference system.
    """

    def __init__(self, folder: Path, class_name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("detections*.geojson"):
            old.unlink()
        self._folder, self._class_name = folder, class_name
        self._features: Dict[str, List[Dict[str, Any]]] = {}
        self.without_crs: List[str] = []
        self._file: TextIO = (folder / CSV_FILE).open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def add(self, raster: Raster, hits: Hits) -> None:
        """What was found in one image."""
        name = raster.path.name
        for box, score in zip(hits.boxes_xyxy, hits.scores):
            corners = [f"{value:.1f}" for value in box]
            self._rows.writerow([*corners, self._class_name, name, f"{score:.4f}"])
        self._file.flush()
        if raster.crs is None:
            self.without_crs.append(name)
            return
        features = self._features.setdefault(_crs_name(raster.crs), [])
        for box, score in zip(hits.boxes_xyxy, hits.scores):
            x1, y1, x2, y2 = (float(value) for value in box)
            ring = [(x1, y1), (x1, y2), (x2, y2), (x2, y1), (x1, y1)]
            features.append(
                {
                    "type": "Feature",
                    "properties": {
                        "class": self._class_name,
                        "image": name,
                        "score": round(float(score), 4),
                    },
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[_to_map(raster.transform, *corner) for corner in ring]],
                    },
                }
            )

    def finish(self) -> List[Path]:
        """Close the table and write one GeoJSON file for each coordinate reference system.

        Returns:
            The files written.
        """
        self._file.close()
        files = [self._folder / CSV_FILE]
        for crs, features in self._features.items():
            suffix = "" if len(self._features) == 1 else "_" + re.sub(r"\W+", "_", crs)[-40:]
            content = {
                "type": "FeatureCollection",
                # RFC 7946 wants longitude and latitude; this member of the older GeoJSON 2008 is
                # what QGIS and GDAL read for coordinates of another system.
                "crs": {"type": "name", "properties": {"name": crs}},
                "features": features,
            }
            files.append(self._folder / f"detections{suffix}.geojson")
            files[-1].write_text(json.dumps(content), encoding="utf-8")
        return files


def _crs_name(crs: Any) -> str:
    code = crs.to_epsg()
    return f"urn:ogc:def:crs:EPSG::{code}" if code else str(crs.to_wkt())


def _to_map(transform: Any, x: float, y: float) -> List[float]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return [a * x + b * y + c, d * x + e * y + f]
