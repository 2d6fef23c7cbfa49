"""The console as a process of its own, and a WebSocket client of it, for the tests."""

from __future__ import annotations

import json
import queue
import re
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

from forked_process import ForkedProcess

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE_S = 60
"""How long to wait for what comes at once on a quiet machine; only a failure waits so long."""


class ConsoleProcess:
    """``console`` on a free port of this machine."""

    def __init__(self, folder, *arguments):
        self.log = folder / "console.log"
        self.log.write_text("")
        options = ["--port", "0", "--recordings", folder / "recordings", *arguments]
        self.process = ForkedProcess("refdet_ros.console", options, self.log, REPOSITORY)
        deadline = time.monotonic() + 2 * PATIENCE_S
        while not (found := re.search(r"open (\S+)", self.output)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError("the console prints no address: " + self.output)
            time.sleep(0.05)
        self.url = found.group(1)
        self.port = int(re.search(r":(\d+)/", self.url).group(1))

    @property
    def output(self):
        return self.log.read_text()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Browser:
    """What the page does on the wire: acknowledges pictures, sends commands, keeps what comes."""

    def __init__(self, console, headers=None, acknowledge=True):
        from websockets.sync.client import connect

        self._socket = connect(
            f"ws://127.0.0.1:{console.port}/socket", additional_headers=headers, max_size=None
        ).__enter__()
        self.messages = queue.Queue()
        self.newest = {}
        self.seen = []
        self.pictures = []
        self._ahead = None
        self._requests = 0
        self._answers = {}
        self._acknowledge = acknowledge
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        self.send("choose", node=None)

    def send(self, kind, **content):
        self._socket.send(json.dumps({"type": kind, **content}))

    def ask(self, kind, timeout=PATIENCE_S, **content):
        """The answer to a command."""
        self._requests += 1
        request = self._requests
        self.send(kind, request=request, **content)
        return self.wait_for(lambda: self._answers.pop(request, None), timeout, kind)

    def wait_for(self, condition, timeout=PATIENCE_S, what="the condition"):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.01)
        raise AssertionError(f"waited {timeout} s for {what}; newest: {str(self.newest)[:1500]}")

    def reset(self):
        """Take back what earlier tests may have left: templates, a recording, settings."""
        self.wait_for(lambda: self.newest.get("status", {}).get("state") == "active", 100)
        self.wait_for(lambda: self.templates() is not None)
        self.ask("record", on=False)
        for name, value in (("enabled", True), ("score_threshold", 0.5)):
            assert self.ask("set_setting", name=name, value=value)["success"]
        self.ask("clear_template", template_id="")
        self.wait_for(lambda: self.templates() == [])
        self.wait_for(lambda: self.newest["status"]["enabled"])

    def templates(self):
        """Names of the templates, once they are told."""
        content = self.newest.get("templates")
        return None if content is None else [t["template_id"] for t in content["templates"]]

    def events(self):
        return [(m["kind"], m["template_id"]) for m in self.seen if m["type"] == "event"]

    def close(self):
        self._socket.close()
        self._thread.join(5)

    def _join(self, answer):
        """Give the picture that came ahead its result; one that gets none is not shown."""
        header, jpeg, heatmap = self._ahead
        assert answer["number"] == header["number"]
        if answer["result"] is not None:
            header = {**header, "result": answer["result"]}
            self.pictures.append((header, jpeg, heatmap))
        self._ahead = None

    def _receive(self):
        from websockets.exceptions import ConnectionClosed

        try:
            for message in self._socket:
                if isinstance(message, bytes):
                    (length,) = struct.unpack_from("<I", message)
                    header = json.loads(message[4 : 4 + length])
                    start = 4 + length
                    jpeg = message[start : start + header["jpeg"]]
                    heatmap = message[start + header["jpeg"] :]
                    if header["pending"]:
                        self._ahead = (header, jpeg, heatmap)
                    else:
                        self.pictures.append((header, jpeg, heatmap))
                    if self._acknowledge:
                        self.send("ack", number=header["number"])
                    continue
                content = json.loads(message)
                if content["type"] == "result":
                    self._join(content)
                self.newest[content["type"]] = content
                self.seen.append(content)
                if content["type"] == "answer":
                    self._answers[content["request"]] = content
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()
