"""Decides what one browser is sent, and when."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from typing import Any, Awaitable, Callable, Dict, List, Optional

import cv2
import numpy as np

from refdet_ros.console.frames import Encoder, Frame, Rung, to_jpeg
from refdet_ros.console.link import Link
from refdet_ros.console.pairing import Shown
from refdet_ros.console.slot import Slot
from refdet_ros.console.wire import pack, text

_HEATMAP = Rung(192, 70)
_REMEMBERED = 5  # frames that may still be on the browser's screen


class Viewer:
    """Sends the newest picture when the link is ready for one, and texts as they come.

    Args:
        send_text, send_bytes: of the WebSocket.
        picture_hz: pictures per second, at most.
    """

    def __init__(
        self,
        encoder: Encoder,
        send_text: Callable[[str], Awaitable[None]],
        send_bytes: Callable[[bytes], Awaitable[None]],
        picture_hz: float,
    ) -> None:
        self.wants_heatmap = False
        self.held: Optional[Frame] = None
        self.link = Link()
        self._encoder = encoder
        self._send_text, self._send_bytes = send_text, send_bytes
        self._period_s = 1 / picture_hz
        self._wake = asyncio.Event()
        self._texts: List[str] = []
        self._latest: OrderedDict[str, str] = OrderedDict()
        self._slot = Slot()
        self._still: Optional[Shown] = None
        self._due_s = 0.0
        self._count = 0
        self._sent: OrderedDict[int, Shown] = OrderedDict()

    def offer(self, shown: Shown) -> None:
        """Take a new frame; it replaces an older one that has not been sent."""
        if shown.pending and self.wants_heatmap:
            return  # that travels with the picture
        answered = self._slot.offer(shown, time.monotonic())
        if answered is not None:
            number, later = answered
            sent = self._sent.get(number)
            own = sent is not None and sent.frame is later.frame
            if own:
                self._sent[number] = later
            result = later.result.plain() if own and later.result is not None else None
            self.tell("result", {"number": number, "result": result})
        self._wake.set()

    def tell(self, kind: str, content: Dict[str, Any]) -> None:
        """Queue a message. Of ``status`` and the like, only the newest is sent."""
        if kind in ("status", "templates", "detectors", "recordings", "playback", "positions"):
            self._latest.pop(kind, None)
            self._latest[kind] = text(kind, content)
        else:
            self._texts.append(text(kind, content))
        self._wake.set()

    def acknowledged(self, number: int, round_trip_s: float) -> None:
        """The browser has a picture; ``round_trip_s`` is the link's own delay."""
        self.link.acknowledged(number, time.monotonic(), round_trip_s)
        self._wake.set()

    def hold(self, number: int) -> bool:
        """Hold the frame of a picture, and send it again, sharper; False if it is gone."""
        shown = self._sent.get(number)
        if shown is None:
            return False
        self.held, self._still = shown.frame, shown
        self._wake.set()
        return True

    def release(self) -> None:
        """Continue with the live picture."""
        self.held = self._still = None
        self._wake.set()

    def forget_frames(self) -> None:
        """Forget all frames: another detector was chosen."""
        self._slot.clear()
        self._sent.clear()
        self.release()

    async def run(self) -> None:
        """Send until the connection ends."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._texts or self._latest:
                texts = [*self._texts, *self._latest.values()]
                self._texts.clear()
                self._latest.clear()
                for item in texts:
                    await self._send_text(item)
            if self._still is not None:
                shown, self._still = self._still, None
                await self._send_picture(shown, self.link.still, self._next_number(), still=True)
            elif self.held is None:
                await self._send_newest()

    async def _send_newest(self) -> None:
        now_s = time.monotonic()
        wait_s = self._slot.wait_s(now_s)
        if wait_s is None or not self.link.may_send(now_s):
            # Woken by a result, by the acknowledgement, or by the next frame.
            return
        # A little early is better than one camera frame late.
        wait_s = max(wait_s, self._due_s - now_s - 0.3 * self._period_s)
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._wake.set)
            return
        self._due_s = max(self._due_s + self._period_s, now_s)
        number = self._next_number()
        await self._send_picture(self._slot.take(number), self.link.rung, number)

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    async def _send_picture(
        self, shown: Shown, rung: Rung, number: int, still: bool = False
    ) -> None:
        self._sent[number] = shown
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        try:
            picture = await self._encoder.picture(shown.frame, rung)
            heatmap = b""
            if shown.heatmap is not None and self.wants_heatmap:
                heatmap = await self._encoder.run(_small_heatmap, shown.heatmap)
        except Exception as error:
            await self._send_text(text("problem", {"message": str(error)}))
            return
        now_s = time.monotonic()
        header = {
            "number": number,
            "still": still,
            "stamp": str(shown.frame.stamp_ns),
            "stamp_ms": shown.frame.stamp_ns / 1e6,
            "received_ms": shown.frame.received_s * 1e3,
            "size": picture.frame_size,
            "quality": [rung.width, rung.quality],
            "kbit": round(self.link.kbit_per_s(now_s)),
            "result": shown.result.plain() if shown.result else None,
            "pending": shown.pending,
        }
        message = pack(header, picture.jpeg, heatmap)
        if not still:
            self.link.frame_width = picture.frame_size[0]
            self.link.sent(number, rung, len(message), time.monotonic())
        await self._send_bytes(message)


def _small_heatmap(message: Any) -> bytes:
    grey = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return b"" if grey is None else to_jpeg(grey, _HEATMAP)


def parse(message: str) -> Optional[Dict[str, Any]]:
    """A browser's message; None if it is not a JSON object with a type."""
    try:
        content = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("type"), str) else None
