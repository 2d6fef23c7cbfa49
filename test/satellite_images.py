"""Small labelled images with red discs (ponds) and bright squares (roofs), as GeoTIFF."""

from __future__ import annotations

import csv

import cv2
import numpy as np

SIDE = 160
SPECTRA = {  # blue, green, red, near infrared, of 255
    "ground": (60, 70, 80, 120),
    "pond": (120, 60, 30, 10),
    "roof": (180, 180, 190, 150),
}
NORTH, WEST, METRES = 4000000.0, 500000.0, 0.5


def places(seed):
    """Two ponds and two roofs: class and centre."""
    generator = np.random.default_rng(seed)
    cells = generator.permutation([(x, y) for x in (40, 80, 120) for y in (40, 80, 120)])
    return list(zip(("pond", "pond", "roof", "roof"), cells.tolist()))


def write_image(path, seed, bands=("blue", "green", "red", "nir"), crs="EPSG:32611", labels=True):
    import rasterio
    from rasterio.transform import from_origin

    order = ("blue", "green", "red", "nir")
    generator = np.random.default_rng(seed)
    image = generator.normal(0, 6, (SIDE, SIDE, 4)) + SPECTRA["ground"]
    for name, (x, y) in places(seed):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if name == "pond":
            cv2.circle(mask, (x, y), 9, 1, -1)
        else:
            cv2.rectangle(mask, (x - 9, y - 9), (x + 9, y + 9), 1, -1)
        image[mask > 0] = np.array(SPECTRA[name]) + generator.normal(0, 6, (mask.sum(), 4))
    stored = np.clip(image, 1, 255) / 255 * 10000
    values = np.stack([stored[:, :, order.index(name)] for name in bands]).astype("uint16")
    place = {"transform": from_origin(WEST, NORTH, METRES, METRES)} if crs else {}
    with rasterio.open(
        path, "w", driver="GTiff", height=SIDE, width=SIDE, count=len(bands), dtype="uint16",
        crs=crs, **place,
    ) as file:  # fmt: skip
        file.write(values)
        for number, name in enumerate(bands, start=1):
            file.set_band_description(number, name)
    if labels:
        with open(path.with_suffix(".csv"), "w", newline="", encoding="utf-8") as table:
            rows = csv.writer(table)
            rows.writerow(["x_min", "y_min", "x_max", "y_max", "class"])
            for name, (x, y) in places(seed):
                rows.writerow([x - 10, y - 10, x + 10, y + 10, name])
    return path
