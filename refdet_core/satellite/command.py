"""``refdet search-images``: find a class of objects in satellite images by a few exemplars."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
from tqdm import tqdm

from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.errors import ConfigError
from refdet_core.satellite.band_order import parse_bands
from refdet_core.satellite.exemplars import MAX_EXEMPLARS, read_exemplars
from refdet_core.satellite.image_search import (
    AUTO,
    EVALUATIONS,
    ImageSearch,
    SearchSettings,
    check_embeds,
)
from refdet_core.satellite.overview import OVERVIEW_FILE, Overview
from refdet_core.satellite.raster import Raster, list_rasters
from refdet_core.satellite.results import CSV_FILE, Results
from refdet_core.stderr_log import log_to_stderr

BACKENDS = ("onnxruntime", "torch")
"""TensorRT's engines are built for the frames of a camera."""
DESCRIPTION = (
    "Search satellite or aerial images for a class that a few exemplars show, with a bundle of the "
    f"recipe satellite_triplet. Writes {CSV_FILE}, GeoJSON in the images' coordinate reference "
    f"system, and {OVERVIEW_FILE}."
)


def add_search_images_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR_OR_TIF", help="what is searched"
    )
    parser.add_argument(
        "--exemplar",
        nargs="+",
        action="extend",
        default=[],
        metavar="CHIP_OR_TIF[:X,Y,W,H]",
        help=f"an object of the class: a chip, or an image and the object's box in it; 1 to "
        f"{MAX_EXEMPLARS}",
    )
    parser.add_argument("--class", dest="class_name", required=True, metavar="NAME")
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="model bundle")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--bands",
        default="",
        metavar="NAMES",
        help="the files' bands in their order, for example red,green,blue,nir (default: as the "
        "files say)",
    )
    parser.add_argument(
        "--score-threshold", type=float, metavar="P", help="least probability (default: bundle's)"
    )
    parser.add_argument(
        "--nms-iou",
        type=float,
        default=SearchSettings.nms_iou,
        metavar="IOU",
        help="of two windows that overlap by more the worse one goes (default: %(default)s)",
    )
    parser.add_argument(
        "--window",
        type=float,
        default=0.0,
        metavar="PX",
        help="side of a search window in pixels of the images (default: the exemplars')",
    )
    parser.add_argument(
        "--evaluation",
        choices=EVALUATIONS,
        default=AUTO,
        help="run the network over large blocks, or on one window at a time (default: dense where "
        "the bundle says that both give the same)",
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, default=BACKENDS[0], help="(default: %(default)s)"
    )


def search_images(options: argparse.Namespace) -> int:
    """Run the command; checks all arguments before it writes anything."""
    bundle = load_bundle(options.bundle)
    check_embeds(bundle)
    threshold = options.score_threshold
    settings = SearchSettings(
        bundle.score_threshold if threshold is None else threshold,
        options.nms_iou,
        options.evaluation,
        options.window,
    )
    file_bands = parse_bands(options.bands)
    exemplars = read_exemplars(options.exemplar, options.class_name, bundle, file_bands)
    paths = list_rasters(options.images)
    if options.output.exists() and not options.output.is_dir():
        raise ConfigError(f"--output {options.output} is a file; give a folder.")
    with log_to_stderr(), open_backend(options.backend, bundle, BackendConfig()) as backend:
        search = ImageSearch(backend, bundle, [exemplars], settings)
        windows = 0
        for path in paths:  # all are checked before anything is written
            with Raster(path, bundle.bands, file_bands) as raster:
                windows += search.plan(raster).window_count
        results = Results(options.output, options.class_name)
        overview = Overview(bundle.bands, options.class_name, len(paths))
        found = 0
        try:
            with tqdm(total=windows, unit="window", desc="refdet") as bar:
                for path in paths:
                    with Raster(path, bundle.bands, file_bands) as raster:
                        (hits,) = search.search(raster, bar.update)
                        results.add(raster, hits)
                        overview.add(raster, hits)
                    found += len(hits)
        finally:
            files = results.finish()  # what was found before an interruption counts
    picture = options.output / OVERVIEW_FILE
    cv2.imwrite(str(picture), overview.draw(exemplars))
    if results.without_crs:
        print(
            f"refdet: {len(results.without_crs)} of {len(paths)} images have no coordinate "
            f"reference system, first {results.without_crs[0]}: what was found there is in "
            f"{CSV_FILE} alone, in pixels.",
            file=sys.stderr,
        )
    print(f"{options.class_name}: {found} found in {len(paths)} images, {windows} windows")
    for file in [*files, picture]:
        print(f"written to   {file}")
    return 0
