"""Writes camera images into a rosbag2 bag (mcap or sqlite3) with the rosbags package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from refdet_core.closeable import Closeable
from refdet_core.errors import ConfigError, SourceError
from refdet_ros.bags.cdr import split_ns
from refdet_ros.bags.reading import COMPRESSED_TYPE, IMAGE_TYPE, absolute

STORAGES = ("mcap", "sqlite3")
TRANSPORTS = ("raw", "compressed")
# Readable on Humble; version 9 writes QoS profiles that only Jazzy and later parse.
_METADATA_VERSION: Literal[8] = 8
_QOS_DEPTH = 10


class ImageBagWriter(Closeable):
    """Writes one image topic. Use it as a context manager; the bag is complete at its end.

    Args:
        path: the new bag folder; it must not exist.
        topic: base topic. Compressed images go to ``<topic>/compressed``, where
            image_transport looks for them.
        quality: JPEG quality of the ``compressed`` transport, 1-100.

    Raises:
        ConfigError: an unknown storage or transport, or a quality out of range.
        SourceError: the folder exists or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        topic: str = "image",
        storage: str = "mcap",
        transport: str = "raw",
        frame_id: str = "camera",
        quality: int = 90,
    ) -> None:
        _check_choice("storage", storage, STORAGES)
        _check_choice("transport", transport, TRANSPORTS)
        if not 1 <= quality <= 100:
            raise ConfigError(f"The JPEG quality must be between 1 and 100, got {quality}.")
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise SourceError(
                "Writing bags needs Python 3.10 or newer and rosbags 0.10 or newer: "
                "'pip install \"rosbags>=0.10\"'."
            ) from error
        self._transport = transport
        self._frame_id = frame_id
        self._quality = quality
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._msgtype = IMAGE_TYPE if transport == "raw" else COMPRESSED_TYPE
        name = absolute(topic) + ("" if transport == "raw" else "/compressed")
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        try:
            self._writer = Writer(Path(path), version=_METADATA_VERSION, storage_plugin=plugin)
            self._writer.open()
            self._connection = self._writer.add_connection(
                name, self._msgtype, typestore=self._store, offered_qos_profiles=[reliable_qos()]
            )
        except Exception as error:
            raise SourceError(
                f"The bag '{path}' cannot be written: {str(error) or type(error).__name__}"
            ) from error

    def write(self, frame_bgr: np.ndarray, time_ns: int) -> None:
        """Append one frame; bag time and header stamp are ``time_ns``.

        Args:
            frame_bgr: ``(H, W, 3)`` uint8, or uint16 with three equal channels, which only the
                ``raw`` transport takes: it becomes ``mono16``.
            time_ns: since 1970.
        """
        types = self._store.types
        sec, nanosec = split_ns(time_ns)
        header = types["std_msgs/msg/Header"](
            stamp=types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec),
            frame_id=self._frame_id,
        )
        message: Any
        if self._transport == "raw":
            deep = frame_bgr.dtype == np.uint16
            rows = np.ascontiguousarray(frame_bgr[..., 0] if deep else frame_bgr)
            message = types[IMAGE_TYPE](
                header=header,
                height=rows.shape[0],
                width=rows.shape[1],
                encoding="mono16" if deep else "bgr8",
                is_bigendian=int(deep and sys.byteorder == "big"),
                step=rows.strides[0],
                data=rows.view(np.uint8).reshape(-1),
            )
        else:
            encoded, jpeg = cv2.imencode(
                ".jpg", frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality]
            )
            if not encoded:
                raise SourceError(f"A frame of {frame_bgr.shape} cannot be encoded as JPEG.")
            # The format string of compressed_image_transport itself.
            message = types[COMPRESSED_TYPE](
                header=header, format="bgr8; jpeg compressed bgr8", data=jpeg.reshape(-1)
            )
        cdr = self._store.serialize_cdr(message, self._msgtype)
        self._writer.write(self._connection, time_ns, cdr)

    def close(self) -> None:
        self._writer.close()


def _check_choice(name: str, value: str, valid: Any) -> None:
    if value not in valid:
        raise ConfigError("Unknown {} '{}'; valid are {}.".format(name, value, ", ".join(valid)))


def reliable_qos(latched: bool = False) -> Any:
    """Reliable: 'ros2 bag play' offers what is recorded, and that suits every subscriber.

    Args:
        latched: transient local; late subscribers get the last messages, too.
    """
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    unset = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        _QOS_DEPTH,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        unset,
        unset,
        QosLiveliness.SYSTEM_DEFAULT,
        unset,
        False,
    )
