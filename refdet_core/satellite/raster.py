"""Georeferenced images, read in pieces as reflectance 0-255."""

from __future__ import annotations

import importlib
import math
import os
import warnings
from pathlib import Path
from typing import Any, List, Sequence, Tuple

import numpy as np

from refdet_core.closeable import Closeable
from refdet_core.errors import ConfigError, SourceError
from refdet_core.satellite.band_order import match_bands

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg")
MIN_SIDE_PX = 4
FULL_SCALE = 255.0
_INTEGER_REFLECTANCE = 10000.0
_SAMPLE_SIDE = 512
_CACHE_MB = "128"


class Raster(Closeable):
    """One image file. Only what is asked for is read, so it may be larger than the memory.

    Attributes:
        path: of the file.
        width, height: pixels.
        crs: its coordinate reference system, None where it has none.
        transform: from pixels to coordinates of ``crs``.
        bands: numbers of the file's bands in the network's order, from 1.
        factor: turns stored numbers into reflectance 0-255.
    """

    def __init__(self, path: Path, bands: Sequence[str], file_bands: Sequence[str] = ()) -> None:
        """Open the file.

        Args:
            bands: the network's bands, in its order.
            file_bands: the file's, in its order; empty: as the file says itself.

        Raises:
            ConfigError: rasterio is not installed.
            SourceError: not an image, too small, or without the bands.
        """
        self._rasterio = _import_rasterio()
        self.path = Path(path)
        if not self.path.is_file():
            raise SourceError(f"There is no image {self.path}.")
        try:
            with warnings.catch_warnings():
                # A file without coordinates is searched too.
                warnings.simplefilter("ignore", self._rasterio.errors.NotGeoreferencedWarning)
                self._file = self._rasterio.open(self.path)
        except self._rasterio.errors.RasterioError as error:
            raise SourceError(f"{self.path} cannot be read as an image: {error}") from error
        self.width, self.height = int(self._file.width), int(self._file.height)
        self.factor = 1.0
        try:
            if min(self.width, self.height) < MIN_SIDE_PX:
                raise SourceError(
                    f"{self.path} is {self.width}x{self.height} px; an image needs at least "
                    f"{MIN_SIDE_PX} px a side."
                )
            self.crs, self.transform = self._file.crs, self._file.transform
            own = self._own_names()
            self.bands = match_bands(bands, file_bands, own, self._file.count, str(self.path))
            self.factor = self._find_factor()
        except SourceError:
            self.close()
            raise

    def read(
        self, left: float, top: float, width: float, height: float, size: Tuple[int, int]
    ) -> Tuple[np.ndarray, np.ndarray]:
        """A part of the image, resampled.

        Args:
            left, top, width, height: in pixels of the image; may lie outside in part.
            size: ``(width, height)`` of the result.

        Returns:
            ``(bands, h, w)`` float32 reflectance 0-255, and ``(h, w)`` bool: where the image has
            data. Pixels without have each band's mean of the others.

        Raises:
            SourceError: the file is damaged.
        """
        columns, rows = size
        values = np.zeros((len(self.bands), rows, columns), np.float32)
        valid = np.zeros((rows, columns), bool)
        x, y = columns / width, rows / height
        # The cells of the result that lie inside the image.
        first, last = math.ceil(-left * x - 1e-6), math.floor((self.width - left) * x + 1e-6)
        above, below = math.ceil(-top * y - 1e-6), math.floor((self.height - top) * y + 1e-6)
        first, above = max(0, first), max(0, above)
        last, below = min(columns, last), min(rows, below)
        if last <= first or below <= above:
            return values, valid
        window = self._rasterio.windows.Window(
            max(0.0, left + first / x),
            max(0.0, top + above / y),
            min((last - first) / x, float(self.width)),
            min((below - above) / y, float(self.height)),
        )
        inside = slice(above, below), slice(first, last)
        part, mask = self._read(window, (below - above, last - first), shrinks=min(x, y) < 1)
        values[:, inside[0], inside[1]] = part
        valid[inside] = mask
        if mask.any() and not valid.all():
            values[:, ~valid] = values[:, valid].mean(axis=1, keepdims=True)
        return values, valid

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(
        self, window: Any, shape: Tuple[int, int], shrinks: bool
    ) -> Tuple[np.ndarray, np.ndarray]:
        methods = self._rasterio.enums.Resampling
        method = methods.average if shrinks else methods.bilinear
        try:
            stored = self._file.read(
                self.bands, window=window, out_shape=(len(self.bands), *shape), resampling=method
            )
            masks = self._file.read_masks(
                self.bands, window=window, out_shape=(len(self.bands), *shape)
            )
        except self._rasterio.errors.RasterioError as error:
            raise SourceError(f"{self.path} cannot be read: {error}") from error
        values = stored.astype(np.float32)
        mask = (masks > 0).all(axis=0) & np.isfinite(values).all(axis=0)
        return np.where(mask, values, 0) * self.factor, mask

    def _find_factor(self) -> float:
        if self._file.dtypes[self.bands[0] - 1] == "uint8":
            return 1.0
        scale = min(1.0, _SAMPLE_SIDE / max(self.width, self.height))
        shape = max(1, round(self.height * scale)), max(1, round(self.width * scale))
        window = self._rasterio.windows.Window(0, 0, self.width, self.height)
        values, mask = self._read(window, shape, shrinks=False)
        return reflectance_factor(values[:, mask])

    def _own_names(self) -> List[str]:
        described = [name or "" for name in self._file.descriptions]
        if any(described):
            return described
        names = [colour.name for colour in self._file.colorinterp]
        return ["" if name in ("undefined", "gray") else name for name in names]


def reflectance_factor(values: np.ndarray) -> float:
    """What turns stored numbers into reflectance 0-255: they may be reflectance x 10,000 (some are
    above 1000), a share of 1 (none is above 2), or 0-255 already."""
    largest = float(values.max()) if values.size else 0.0
    if largest > 1000:
        return FULL_SCALE / _INTEGER_REFLECTANCE
    return 1.0 if largest > 2 else FULL_SCALE


def list_rasters(path: Path) -> List[Path]:
    """The image at a path, or the images of a folder in the order of their names.

    Raises:
        SourceError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(f"There is no image or folder {path}.")
    found = sorted(item for item in path.iterdir() if item.suffix.lower() in RASTER_SUFFIXES)
    if not found:
        raise SourceError(f"{path} holds no image ({', '.join(RASTER_SUFFIXES)}).")
    return found


def _import_rasterio() -> Any:
    # Of its own accord GDAL keeps decoded blocks in a twentieth of the memory.
    os.environ.setdefault("GDAL_CACHEMAX", _CACHE_MB)
    try:
        rasterio = importlib.import_module("rasterio")
        importlib.import_module("rasterio.windows")
        importlib.import_module("rasterio.enums")
        return rasterio
    except ImportError as error:
        raise ConfigError(
            "Satellite images need rasterio: pip install rasterio (in a checkout of refdet: pip "
            "install '.[satellite]')."
        ) from error
