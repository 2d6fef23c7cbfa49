"""An OpenCV window that shows images and reports keys and the mouse."""

from __future__ import annotations

import ctypes
import os
from typing import Any, List, Tuple

import cv2
import numpy as np

from refdet_core.closeable import Closeable
from refdet_core.errors import RefdetError
from refdet_core.live.session import ESCAPE, MOVE, PRESS, RELEASE, SPACE, Event, Key, Mouse

_MOUSE_KINDS = {
    cv2.EVENT_LBUTTONDOWN: PRESS,
    cv2.EVENT_MOUSEMOVE: MOVE,
    cv2.EVENT_LBUTTONUP: RELEASE,
}
_KEY_NAMES = {27: ESCAPE, ord(" "): SPACE}
_NO_WINDOWS = (
    "This OpenCV cannot open windows (opencv-python-headless cannot). Take one that can: `make "
    "live SOURCE=...`, Debian's, Ubuntu's or JetPack's python3-opencv, or `pip uninstall "
    'opencv-python-headless` and `pip install "opencv-python<5"`. Or give --no-window.'
)


class Window(Closeable):
    """One window, initially as large as its first image; the user may resize it.

    Raises:
        RefdetError: there is no display, or this OpenCV has no windows.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._shown_size: Tuple[int, int] = (0, 0)
        self._events: List[Event] = []
        _check_display()
        try:
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(title, flags)
        except cv2.error as error:
            raise RefdetError(_NO_WINDOWS) from error
        cv2.setMouseCallback(title, self._on_mouse)

    def show(self, picture_bgr: np.ndarray) -> None:
        """Show an image; mouse positions are in its pixels."""
        size = (picture_bgr.shape[1], picture_bgr.shape[0])
        if size != self._shown_size:
            cv2.resizeWindow(self._title, *size)
            self._shown_size = size
        cv2.imshow(self._title, picture_bgr)

    def events(self, wait_s: float) -> List[Event]:
        """The user's input since the last call; waits between one millisecond and ``wait_s``
        seconds.

        Closing the window counts as pressing ``q``.
        """
        code = cv2.waitKey(max(1, round(wait_s * 1e3)))
        events, self._events = self._events, []
        if code != -1:
            code &= 0xFF
            events.append(Key(_KEY_NAMES.get(code, chr(code).lower())))
        if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            events.append(Key("q"))
        return events

    def close(self) -> None:
        cv2.destroyAllWindows()

    def _on_mouse(self, kind: int, x: int, y: int, _flags: int, _data: Any) -> None:
        if kind in _MOUSE_KINDS:
            self._events.append(Mouse(_MOUSE_KINDS[kind], x, y))


def _check_display() -> None:
    """Qt ends the process if there is no display."""
    advice = (
        "On a machine without a screen give --no-window (make live SOURCE=... "
        "LIVE_ARGS='--no-window --init X,Y,W,H'); over ssh use `ssh -X`."
    )
    name = os.environ.get("DISPLAY")
    if not name:
        if os.name == "posix" and not os.environ.get("WAYLAND_DISPLAY"):
            raise RefdetError(f"There is no display to open a window on. {advice}")
        return
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:  # this OpenCV does not use Qt
        return
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if display is None:
        raise RefdetError(f"The display '{name}' (DISPLAY) cannot be opened. {advice}")
    x11.XCloseDisplay(ctypes.c_void_p(display))
