"""Browsers that look at the console: real ones, and light ones that only acknowledge."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import struct
import time
from typing import Any

import numpy as np

from refdet_core.errors import ConfigError


def find_chromium() -> str | None:
    """The path of a Chromium that is installed here."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, (shutil.which(name) for name in names)), None)


class Chromium:
    """A page of the console in a real Chromium. Use it as a context manager.

    Raises:
        ConfigError: there is no Chromium, or no Playwright.
    """

    def __init__(self, url: str) -> None:
        path = find_chromium()
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise ConfigError(f"Playwright is not installed ({error}): make setup-test.") from error
        if path is None:
            raise ConfigError("No Chromium: apt-get install chromium.")
        self._driver = sync_playwright().start()
        self._browser = self._driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        self.page = self._browser.new_page(viewport={"width": 1280, "height": 800})
        self.page.goto(url)
        self.page.evaluate(
            "() => { window.drawn = []; document.addEventListener('refdet-drawn',"
            " ({detail}) => window.drawn.push(detail.latency)); }"
        )

    def latencies_ms(self, seconds: float) -> np.ndarray:
        """Stamp to drawn of every picture of so many seconds."""
        self.page.evaluate("() => { window.drawn = []; }")
        time.sleep(seconds)
        return np.array(self.page.evaluate("() => window.drawn"), dtype=float)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._driver.stop()


def _look(url: str, stop: Any) -> None:
    from websockets.sync.client import connect

    address = url.split("?")[0].replace("http", "ws", 1) + "socket"
    with connect(address, max_size=None) as connection:
        connection.send(json.dumps({"type": "choose", "node": None}))
        while not stop.is_set():
            try:
                message = connection.recv(timeout=1)
            except TimeoutError:
                continue
            if isinstance(message, bytes):
                (length,) = struct.unpack_from("<I", message)
                number = json.loads(message[4 : 4 + length])["number"]
                connection.send(json.dumps({"type": "ack", "number": number}))


class LightBrowsers:
    """So many processes that acknowledge each picture at once."""

    def __init__(self, url: str, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._processes: list[Any] = [
            context.Process(target=_look, args=(url, self._stop), daemon=True) for _ in range(count)
        ]

    def __enter__(self) -> LightBrowsers:
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
