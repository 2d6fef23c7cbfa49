"""Message types that rosbags does not know, from the installed definitions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterable

from refdet_core.errors import SourceError

_FIELD_TYPE = re.compile(r"^\s*([a-zA-Z][\w/]*?)(?:\[[^\]]*\]|<=\d+)*\s+[a-zA-Z]\w*", re.MULTILINE)


def typestore_for(names: Iterable[str]) -> Any:
    """A rosbags type store with these types and the types of their fields.

    Args:
        names: for example ``vision_msgs/msg/Detection2DArray``.

    Raises:
        SourceError: the definition of one is not installed.
    """
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    found: dict[str, Any] = {}
    missing = list(names)
    while missing:
        name = missing.pop()
        if name in store.fielddefs or name in found:
            continue
        package = name.split("/")[0]
        text = _definition(name)
        found.update(get_types_from_msg(text, name))
        for field in _FIELD_TYPE.findall(text):
            if "/" in field:
                missing.append("{}/msg/{}".format(field.split("/")[0], field.split("/")[-1]))
            elif field[0].isupper() and (_folder(package) / f"{field}.msg").is_file():
                missing.append(f"{package}/msg/{field}")
    store.register(found)
    return store


def _definition(name: str) -> str:
    package, _, short = name.split("/")
    file = _folder(package) / f"{short}.msg"
    if not file.is_file():
        raise SourceError(f"The message type {name} is not installed here ('{file}' is missing).")
    return file.read_text(encoding="utf-8")


def _folder(package: str) -> Path:
    from ament_index_python.packages import get_package_share_directory

    try:
        return Path(get_package_share_directory(package)) / "msg"
    except LookupError as error:
        raise SourceError(f"The ROS package {package} is not installed here.") from error
