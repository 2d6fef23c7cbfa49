"""The templates: encoded once, kept on the device, replaced as a whole.

A :class:`TemplateBank` never changes. Adding or removing a template makes a new bank, and
the detector replaces its one reference to it, so a frame sees either the old or the new
targets, never a mix.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from refdet_core.backends.base import Backend
from refdet_core.box_correction import NO_CORRECTION, fit_box_correction, template_shape
from refdet_core.boxes import mean_side
from refdet_core.bundle import AS_TEMPLATE, SEARCH, Bundle
from refdet_core.colours import object_colours
from refdet_core.errors import BadReferenceError, ConfigError
from refdet_core.imaging import extract, image_in_words, is_colour_image, to_blob
from refdet_core.template_id import check_template_id
from refdet_core.types import BoxXYXY, Reference

MAX_REFERENCES = 5
MIN_SIDE_PX = 4
MAX_SIDE_PX = 16384
THUMBNAIL_PX = 96
POOLINGS = ("prototype", "best_view")


@dataclass(frozen=True)
class Template:
    """One object: its encoded views, and what an operator wants to see of it.

    Attributes:
        template_id: the operator's name for it.
        features: the views of its references, as the backend returned them.
        box_corrections: the correction of the network's boxes from each reference, see
            :func:`~refdet_core.box_correction.fit_box_correction`.
        thumbnails_bgr: one small uint8 picture per reference.
        created_s: wall-clock seconds when its last reference was encoded.
        crops_bgr: the encoder's input for each reference, ``(S, S, 3)`` uint8. If the device is
            lost, ``features`` are encoded again from them.
        camera_sizes_px: the object's size in each reference that the searched camera took, see
            :class:`~refdet_core.types.Reference`; empty if it took none.
        camera_colours: its colours in each of these references, see
            :func:`~refdet_core.colours.object_colours`.
    """

    template_id: str
    features: Tuple[Any, ...]
    box_corrections: Tuple[np.ndarray, ...]
    thumbnails_bgr: Tuple[np.ndarray, ...]
    created_s: float
    crops_bgr: Tuple[np.ndarray, ...] = ()
    camera_sizes_px: Tuple[float, ...] = ()
    camera_colours: Tuple[np.ndarray, ...] = ()

    @property
    def box_correction(self) -> np.ndarray:
        """The mean of the references' ``box_corrections``, ``(4,)``."""
        return np.asarray(np.mean(self.box_corrections, axis=0))


@dataclass(frozen=True)
class TemplateBank:
    """All templates, and their views packed for one run of the detector graph.

    Attributes:
        version: grows with every change; each result carries the version that it was made with.
        templates: by id, in the order they were first set.
        features: all views packed, None when there is no template.
        views: for each template id its slice of the packed views.
        single: for each template id its own views packed, for crops searched for it alone.
        others: the same templates as each other network encodes them; one bank is exchanged
            with all of these at once.
    """

    version: int = 0
    templates: Dict[str, Template] = field(default_factory=dict)
    features: Any = None
    views: Dict[str, slice] = field(default_factory=dict)
    single: Dict[str, Any] = field(default_factory=dict)
    others: Tuple[TemplateBank, ...] = ()

    def packed_for(self, template_ids: Sequence[str]) -> Tuple[Any, Dict[str, slice]]:
        """Packed features that include these templates, and their slices."""
        if len(template_ids) == 1:
            (name,) = template_ids
            return self.single[name], {
                name: slice(0, self.views[name].stop - self.views[name].start)
            }
        return self.features, self.views


def check_reference(reference: Reference) -> BoxXYXY:
    """Return the object's box, clipped to the photo.

    Raises:
        BadReferenceError: the image is not ``(H, W, 3)`` uint8, too small or too large, or the
            ROI is empty or outside.
    """
    image = reference.image_bgr
    if not is_colour_image(image):
        raise BadReferenceError(
            f"A reference must be an (H, W, 3) uint8 BGR image, got {image_in_words(image)}."
        )
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE_PX:
        raise BadReferenceError(
            f"The reference is {width}x{height} px; at most {MAX_SIDE_PX} px a side are taken. "
            "Shrink or crop it."
        )
    roi = (
        reference.roi_xyxy
        if reference.roi_xyxy is not None
        else (0.0, 0.0, float(width), float(height))
    )
    if not all(np.isfinite(roi)):
        raise BadReferenceError(f"The ROI must be four finite numbers, got {roi}.")
    x1, y1, x2, y2 = (
        max(0.0, roi[0]),
        max(0.0, roi[1]),
        min(float(width), roi[2]),
        min(float(height), roi[3]),
    )
    if roi[2] < roi[0] or roi[3] < roi[1]:
        raise BadReferenceError(
            f"The ROI must be left, top, right and bottom, not width and height, got {roi}."
        )
    if x2 - x1 < MIN_SIDE_PX or y2 - y1 < MIN_SIDE_PX:
        raise BadReferenceError(
            f"The object in the reference must be at least {MIN_SIDE_PX}x{MIN_SIDE_PX} px: ROI "
            f"x={roi[0]:g} y={roi[1]:g} width={roi[2] - roi[0]:g} height={roi[3] - roi[1]:g} "
            f"leaves {max(0.0, x2 - x1):g}x{max(0.0, y2 - y1):g} px of the {width}x{height} px "
            "image. Draw a larger box, inside the image."
        )
    return x1, y1, x2, y2


def encode_references(
    backend: Backend[Any], bundle: Bundle, references: Sequence[Reference]
) -> Tuple[Any, ...]:
    """One single-view feature for each reference, so that they can be packed again."""
    return _encode(backend, [_encoder_crop(bundle, reference) for reference in references])


def make_template(
    backend: Backend[Any], bundle: Bundle, template_id: str, references: Sequence[Reference]
) -> Template:
    """Encode 1-5 references into a template.

    Raises:
        BadReferenceError: no or too many references, or one that cannot be used (it says which);
            or an id that cannot be used.
    """
    check_template_id(template_id)
    if not 1 <= len(references) <= MAX_REFERENCES:
        raise BadReferenceError(
            f"A template takes 1 to {MAX_REFERENCES} references, got {len(references)}."
        )
    thumbnails: List[np.ndarray] = []
    for number, reference in enumerate(references, start=1):
        try:
            thumbnails.append(_thumbnail(reference))
        except BadReferenceError as error:
            raise BadReferenceError(f"Reference {number} of {len(references)}: {error}") from error
    crops_bgr = tuple(_encoder_crop(bundle, reference) for reference in references)
    features = _encode(backend, crops_bgr)
    box_corrections = tuple(
        _bias(backend, bundle, feature, reference)
        for feature, reference in zip(features, references)
    )
    from_camera = [
        (reference.image_bgr, check_reference(reference))
        for reference in references
        if reference.same_camera
    ]
    return Template(
        template_id,
        features,
        box_corrections,
        tuple(thumbnails),
        time.time(),
        crops_bgr,
        tuple(mean_side(box_xyxy) for _, box_xyxy in from_camera),
        tuple(object_colours(image_bgr, box_xyxy) for image_bgr, box_xyxy in from_camera),
    )


def extend_template(template: Template, more: Template) -> Template:
    """The same template with further references.

    Raises:
        BadReferenceError: it would have more than :data:`MAX_REFERENCES`.
    """
    total = len(template.features) + len(more.features)
    if total > MAX_REFERENCES:
        raise BadReferenceError(
            f"'{template.template_id}' has {len(template.features)} references and would get "
            f"{total}; at most {MAX_REFERENCES} are kept. Set it again without append."
        )
    return Template(
        template.template_id,
        template.features + more.features,
        template.box_corrections + more.box_corrections,
        template.thumbnails_bgr + more.thumbnails_bgr,
        more.created_s,
        template.crops_bgr + more.crops_bgr,
        template.camera_sizes_px + more.camera_sizes_px,
        template.camera_colours + more.camera_colours,
    )


def encode_again(backend: Backend[Any], template: Template) -> Template:
    """The same template on another or a reopened backend."""
    return replace(template, features=_encode(backend, template.crops_bgr))


def make_bank(
    backend: Backend[Any], templates: Dict[str, Template], version: int, pooling: str
) -> TemplateBank:
    """Pack templates for the detector graph.

    Args:
        pooling: ``prototype`` averages the references of a template into one view;
            ``best_view`` keeps every reference and lets the best one win at each cell.
    """
    if pooling not in POOLINGS:
        raise ConfigError(
            "Unknown reference pooling '{}'; valid are {}.".format(pooling, ", ".join(POOLINGS))
        )
    if not templates:
        return TemplateBank(version=version)
    packed: List[Any] = []
    views: Dict[str, slice] = {}
    single: Dict[str, Any] = {}
    for template_id, template in templates.items():
        features = list(template.features)
        if pooling == "prototype":
            features = [backend.average(backend.pack(features))]
        views[template_id] = slice(len(packed), len(packed) + len(features))
        single[template_id] = backend.pack(features)
        packed.extend(features)
    return TemplateBank(version, dict(templates), backend.pack(packed), views, single)


def _encoder_crop(bundle: Bundle, reference: Reference) -> np.ndarray:
    """The object and its surroundings, ``(S, S, 3)`` uint8; always a copy."""
    box_xyxy = check_reference(reference)
    return np.array(extract(reference.image_bgr, bundle.template_crop.around(box_xyxy)))


def _encode(backend: Backend[Any], crops_bgr: Sequence[np.ndarray]) -> Tuple[Any, ...]:
    return tuple(backend.encode_templates(to_blob([crop])) for crop in crops_bgr)


def _bias(backend: Backend[Any], bundle: Bundle, feature: Any, reference: Reference) -> np.ndarray:
    if bundle.box_size == AS_TEMPLATE:
        return template_shape(bundle.template_crop, check_reference(reference))
    if SEARCH not in bundle.purposes:
        return NO_CORRECTION  # a published tracker's boxes are already drawn around its target
    if reference.roi_xyxy is None:
        return NO_CORRECTION  # a photo's margin around the object says nothing about boxes
    box_xyxy = check_reference(reference)
    return fit_box_correction(backend, bundle, feature, reference.image_bgr, box_xyxy)


def _thumbnail(reference: Reference) -> np.ndarray:
    x1, y1, x2, y2 = (round(value) for value in check_reference(reference))
    piece = reference.image_bgr[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    scale = THUMBNAIL_PX / max(piece.shape[:2])
    size = (max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale)))
    return cv2.resize(piece, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
