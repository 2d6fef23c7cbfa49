"""Writes places as GeoJSON (RFC 7946) and KML 2.2, for map programs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, Optional, Sequence
from xml.etree import ElementTree

_FORBIDDEN_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KML = "http://www.opengis.net/kml/2.2"


@dataclass(frozen=True)
class Place:
    """Where something was at a time.

    Attributes:
        name: shown on the map, the template's id as a rule.
        latitude, longitude: degrees, WGS 84.
        altitude: metres above the ellipsoid; None if it is not known.
        time_s: seconds since 1970; None if it is not known.
        properties: anything else to keep with it: texts, numbers, booleans or None.
    """

    name: str
    latitude: float
    longitude: float
    altitude: Optional[float] = None
    time_s: Optional[float] = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def to_geojson(places: Sequence[Place]) -> Dict[str, Any]:
    """A FeatureCollection: a point for each place, in their order; for ``json.dump``."""
    return {"type": "FeatureCollection", "features": [_feature(place) for place in places]}


def to_kml(places: Sequence[Place], title: str = "refdet") -> str:
    """A KML document with a placemark for each place, in their order."""
    ElementTree.register_namespace("", _KML)
    root = ElementTree.Element(f"{{{_KML}}}kml")
    document = _add(root, "Document")
    _add(document, "name", title)
    for place in places:
        mark = _add(document, "Placemark")
        _add(mark, "name", place.name)
        if place.time_s is not None:
            _add(_add(mark, "TimeStamp"), "when", _iso(place.time_s))
        # KML's altitudes are above sea level, ours above the ellipsoid: the marks stay on the
        # ground, and the number is among the data.
        data = {} if place.altitude is None else {"altitude": f"{place.altitude:.2f}"}
        data.update({key: "" if v is None else str(v) for key, v in place.properties.items()})
        if data:
            extended = _add(mark, "ExtendedData")
            for key, value in data.items():
                entry = _add(extended, "Data")
                entry.set("name", _clean(str(key)))
                _add(entry, "value", value)
        point = _add(mark, "Point")
        _add(point, "altitudeMode", "clampToGround")
        _add(point, "coordinates", ",".join(f"{value:.8f}" for value in _coordinates(place)[:2]))
    if hasattr(ElementTree, "indent"):  # since Python 3.9
        ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _feature(place: Place) -> Dict[str, Any]:
    properties: Dict[str, Any] = {"name": place.name}
    if place.time_s is not None:
        properties["time"] = _iso(place.time_s)
    for key, value in place.properties.items():
        # JSON knows no NaN.
        unknown = isinstance(value, float) and not math.isfinite(value)
        properties[str(key)] = None if unknown else value
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": _coordinates(place)},
        "properties": properties,
    }


def _coordinates(place: Place) -> List[float]:
    """Longitude first, as both formats require."""
    values = [round(place.longitude, 8), round(place.latitude, 8)]
    if place.altitude is not None and math.isfinite(place.altitude):
        values.append(round(place.altitude, 3))
    return values


def _iso(time_s: float) -> str:
    moment = datetime.fromtimestamp(time_s, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add(parent: ElementTree.Element, tag: str, text: str = "") -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{_KML}}}{tag}")
    if text:
        element.text = _clean(text)
    return element


def _clean(text: str) -> str:
    """The text without characters that XML 1.0 cannot represent."""
    return _FORBIDDEN_IN_XML.sub("", text)
