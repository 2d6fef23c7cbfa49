"""The camera frames of a bag as BGR images."""

from __future__ import annotations

from typing import Iterable, Iterator

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from refdet_core.contrast import Contrast
from refdet_core.errors import ConfigError, RefdetError, SourceError
from refdet_core.image_files import Stretch
from refdet_ros.bags.parts import BagMessage, BagTopic
from refdet_ros.bags.reading import IMAGE_TYPE, Bag
from refdet_ros.conversions import compressed_to_bgr, image_to_bgr


def frames(
    bag: Bag, topic: BagTopic, contrast: Contrast | None = None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Every frame of an image topic: its 0-based number, bag time in ns, and BGR picture.

    Args:
        contrast: makes frames of more than 8 bits uint8; None follows the range in use.

    Raises:
        SourceError: a frame cannot be decoded; the message names it.
    """
    contrast = contrast or Contrast()
    for number, message in enumerate(bag.messages([topic.name])):
        yield number, message.time_ns, decode(message, number, contrast.frame)


def frames_at(
    bag: Bag, topic: BagTopic, numbers: Iterable[int], contrast: Contrast | None = None
) -> dict[int, np.ndarray]:
    """Some frames of an image topic, by number.

    Args:
        contrast: makes frames of more than 8 bits uint8; None takes the range each one uses.

    Raises:
        ConfigError: the topic has fewer frames than that.
    """
    stretch = (contrast or Contrast()).still
    wanted = set(numbers)
    found: dict[int, np.ndarray] = {}
    for number, message in enumerate(bag.messages([topic.name])):
        if number in wanted:
            found[number] = decode(message, number, stretch)
        if len(found) == len(wanted):
            break
    missing = sorted(wanted - set(found))
    if missing:
        raise ConfigError(
            f"Frame {missing[0]} is wanted as a reference, but {topic.name} of '{bag.path}' has "
            f"the frames 0-{topic.count - 1}."
        )
    return found


def decode(message: BagMessage, number: int, stretch: Stretch) -> np.ndarray:
    """One recorded image as ``(H, W, 3)`` uint8 BGR."""
    try:
        if message.msgtype == IMAGE_TYPE:
            return image_to_bgr(deserialize_message(message.cdr, Image), stretch)
        return compressed_to_bgr(deserialize_message(message.cdr, CompressedImage), stretch)
    except RefdetError as error:
        raise SourceError(f"Image {number} of {message.topic}: {error}") from error
    except Exception as error:
        # rclpy does not document what it raises for invalid bytes.
        raise SourceError(
            f"Image {number} of {message.topic} is not a readable {message.msgtype}: {error}"
        ) from error
