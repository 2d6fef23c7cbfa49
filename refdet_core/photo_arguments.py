"""``--template IMG --roi X,Y,W,H`` on the command line: photos of the object, in order."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple, Union

from refdet_core.contrast import Contrast
from refdet_core.errors import ConfigError
from refdet_core.image_files import read_image
from refdet_core.roi import clip_roi, parse_roi
from refdet_core.types import BoxXYXY, Reference


@dataclass(frozen=True)
class TemplatePhoto:
    """A photo from the command line and the object's ROI in it."""

    path: Path
    roi_xyxy: Optional[BoxXYXY] = None


class TemplateAction(argparse.Action):
    """``--template IMG`` starts a photo; a following ``--roi X,Y,W,H`` belongs to it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Union[str, Sequence[Any], None],
        option_string: Optional[str] = None,
    ) -> None:
        """Add the photo, or complete the last one with its ROI."""
        photos: List[TemplatePhoto] = list(namespace.photos)
        if option_string == "--template":
            photos.append(TemplatePhoto(Path(str(values))))
        elif not photos or photos[-1].roi_xyxy is not None:
            parser.error("--roi belongs after its --template")
        else:
            try:
                photos[-1] = TemplatePhoto(photos[-1].path, parse_roi(str(values)))
            except ConfigError as error:
                parser.error(str(error))
        namespace.photos = photos


def add_photo_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add ``--template`` and ``--roi``; they fill ``photos``, a list of :class:`TemplatePhoto`.
    Add ``--same-camera`` too."""
    parser.set_defaults(photos=[])
    parser.add_argument(
        "--template",
        action=TemplateAction,
        dest="photos",
        metavar="IMG",
        required=required,
        help="a photo of the object (may be repeated for more views of it)",
    )
    parser.add_argument(
        "--roi",
        action=TemplateAction,
        dest="photos",
        metavar="X,Y,W,H",
        help="where the object is in the --template before it (default: the whole photo)",
    )
    parser.add_argument(
        "--same-camera",
        action="store_true",
        help="the photos are unscaled frames of this camera, or cut out of some: the object is "
        "searched at the size it has there, which is faster and gives fewer false alarms",
    )


def read_references(
    photos: Sequence[TemplatePhoto],
    same_camera: bool = False,
    contrast: Optional[Contrast] = None,
) -> Tuple[Reference, ...]:
    """Load the photos.

    Args:
        same_camera: see :class:`~refdet_core.types.Reference`.
        contrast: of the frames, for photos of more than 8 bits; None takes the range they use.

    Raises:
        SourceError: a photo cannot be read.
        BadReferenceError: a ROI lies outside its photo.
    """
    contrast = contrast or Contrast()
    return tuple(replace(_read(photo, contrast), same_camera=same_camera) for photo in photos)


def _read(photo: TemplatePhoto, contrast: Contrast) -> Reference:
    image_bgr = read_image(photo.path, contrast.still)
    if photo.roi_xyxy is None:
        return Reference(image_bgr)
    height, width = image_bgr.shape[:2]
    roi_xyxy = clip_roi(photo.roi_xyxy, (width, height), f"The ROI of '{photo.path}'")
    return Reference(image_bgr, roi_xyxy)
