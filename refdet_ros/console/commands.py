"""The commands of a browser, and the messages that answer them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Awaitable, Callable, Dict, Optional

from refdet_core.errors import RefdetError
from refdet_ros.console.hub import Hub
from refdet_ros.console.playback import Playback, find, recordings
from refdet_ros.console.references import references_from
from refdet_ros.console.ros.side import NoAnswerError
from refdet_ros.console.session import DetectorSession
from refdet_ros.console.viewer import Viewer

_LOG = logging.getLogger(__name__)
_MAX_NAME = 64
_EVENTS_AT_FIRST = 100
_PRESENCE_PERIOD_S = 0.5


class Commands:
    """Carries out the commands of one browser."""

    def __init__(self, hub: Hub, viewer: Viewer) -> None:
        self._hub = hub
        self._viewer = viewer
        self._session: Optional[DetectorSession] = None
        self._wanted: Optional[str] = None
        self._mark = 0
        self._playback: Optional[Playback] = None
        # Only these get an answer.
        self._answering: Dict[str, Callable[[Dict[str, Any]], Awaitable[Dict[str, Any]]]] = {
            "set_template": self._set_template,
            "clear_template": self._clear_template,
            "undo": self._undo,
            "settings": self._settings,
            "set_setting": self._set_setting,
            "record": self._record,
            "play": self._play,
            "delete_recording": self._delete_recording,
        }

    async def handle(self, message: Dict[str, Any]) -> None:
        """Carry out one message of the browser."""
        kind = message["type"]
        if kind == "ack":
            round_trip_s = _number(message.get("round_trip")) / 1e3
            self._viewer.acknowledged(_whole(message.get("number")), round_trip_s)
        elif kind == "ping":
            self._viewer.tell("pong", {"at": message.get("at"), "now": _now_ms()})
        elif kind == "choose":
            self._choose(message.get("node"))
        elif kind == "heatmap":
            self._viewer.wants_heatmap = message.get("on") is True
            if self._session is not None:
                self._session.update_watching()
        elif kind == "hold":
            if not self._viewer.hold(_whole(message.get("number"))):
                self._viewer.tell("not_held", {})
        elif kind == "release":
            self._viewer.release()
        elif kind == "recordings":
            self._tell_recordings()
        elif kind == "pause" and self._playback is not None:
            self._playback.pause(message.get("on") is True)
        elif kind == "seek" and self._playback is not None:
            self._playback.seek(_number(message.get("seconds")))
        elif kind == "stop":
            await self._stop_playing()
        elif kind in self._answering:
            await self._answer(kind, message)

    def detectors_changed(self) -> None:
        """Another detector was found."""
        self._viewer.tell("detectors", self._hub.plain_detectors())
        if self._session is None:
            self._choose(self._wanted)

    async def tell_presence(self) -> None:
        """Send the new points of the curves and the list of detectors, again and again."""
        turn = 0
        while True:
            await asyncio.sleep(_PRESENCE_PERIOD_S)
            turn += 1
            recorder = self._session.recorder if self._session is not None else None
            self._viewer.tell("recording", {"recording": recorder.plain() if recorder else None})
            if turn % 4 == 0:
                self._viewer.tell("detectors", self._hub.plain_detectors())
                if self._session is not None:
                    # Sent even without new diagnostics, so that the page shows their age.
                    self._viewer.tell("status", self._session.plain_status())
            self._tell_presence()

    async def close(self) -> None:
        """The browser has disconnected."""
        self.leave()
        await self._stop_playing()

    def leave(self) -> None:
        """Stop watching the detector."""
        if self._session is not None:
            self._session.leave(self._viewer)

    def _choose(self, node: Any) -> None:
        self._wanted = node if isinstance(node, str) else None
        session = self._hub.choose(self._wanted)
        if session is self._session:
            return
        self.leave()
        self._session = session
        self._viewer.forget_frames()
        if session is None:
            return
        viewer = self._viewer
        if self._playback is None:
            session.join(viewer)
        viewer.tell("chosen", {"node": session.node})
        viewer.tell("status", session.plain_status())
        viewer.tell("templates", session.plain_templates())
        events = list(session.events.events)[-_EVENTS_AT_FIRST:]
        viewer.tell("events", {"events": [event.plain() for event in events]})
        self._mark = 0
        self._tell_presence()

    def _tell_presence(self) -> None:
        if self._session is None:
            return
        self._mark, points = self._session.presence.points(self._mark)
        content = {"points": points, "seen": self._session.events.last_seen()}
        positions = self._session.positions.plain()
        if positions:
            self._viewer.tell("positions", {"positions": positions})
        if points:
            self._viewer.tell("presence", content)

    async def _answer(self, kind: str, message: Dict[str, Any]) -> None:
        try:
            answer = await self._answering[kind](message)
        except (RefdetError, NoAnswerError) as error:
            answer = {"success": False, "message": str(error)}
        except Exception:
            _LOG.exception("%s failed", kind)
            said = "Internal error; the console's log says more."
            answer = {"success": False, "message": said}
        self._viewer.tell("answer", {"request": message.get("request"), **answer})

    def _chosen(self) -> DetectorSession:
        if self._session is None:
            raise NoAnswerError("No detector is running; start one, and it shows up here.")
        return self._session

    async def _set_template(self, message: Dict[str, Any]) -> Dict[str, Any]:
        session, viewer = self._chosen(), self._viewer
        name = str(message.get("template_id") or "").strip()
        if len(name) > _MAX_NAME:
            return {"success": False, "message": f"A name has at most {_MAX_NAME} characters."}
        references, used = references_from(
            message.get("references"),
            viewer.held,
            self._hub.uploads,
            same_camera=self._playback is None,
        )
        answer = await session.book.set(name, references, message.get("append") is True)
        if answer.success:
            viewer.release()
            for picture in used:
                self._hub.uploads.forget(picture)
        session.tell_templates()
        return {"success": answer.success, "message": answer.message}

    async def _clear_template(self, message: Dict[str, Any]) -> Dict[str, Any]:
        session = self._chosen()
        answer = await session.book.clear(str(message.get("template_id") or ""))
        session.tell_templates()
        return {"success": answer.success, "message": answer.message}

    async def _undo(self, message: Dict[str, Any]) -> Dict[str, Any]:
        session = self._chosen()
        answer = await session.book.undo()
        session.tell_templates()
        return {"success": answer.success, "message": answer.message}

    async def _settings(self, message: Dict[str, Any]) -> Dict[str, Any]:
        return {
            "success": True,
            "message": "",
            "settings": await self._chosen().link.settings.read(),
        }

    async def _record(self, message: Dict[str, Any]) -> Dict[str, Any]:
        session, options = self._chosen(), self._hub.options
        if message.get("on") is True:
            # From the clock and the detector's checked name, never from what a browser sent.
            name = time.strftime("%Y-%m-%d_%H-%M-%S") + session.node.replace("/", "_")
            session.record(options.recordings / name, options.limits.free_disk_bytes)
            return {"success": True, "message": f"Recording to {name}."}
        loop = asyncio.get_running_loop()
        saved = await loop.run_in_executor(None, session.stop_recording)
        self._tell_recordings()
        return {"success": bool(saved), "message": f"Saved as {saved}." if saved else ""}

    async def _play(self, message: Dict[str, Any]) -> Dict[str, Any]:
        path = find(self._hub.options.recordings, message.get("name"))
        await self._stop_playing()
        viewer = self._viewer
        playback = Playback(path, viewer.offer, lambda state: viewer.tell("playback", state))
        self.leave()
        viewer.forget_frames()
        self._playback = playback
        return {"success": True, "message": ""}

    async def _stop_playing(self) -> None:
        playback, self._playback = self._playback, None
        if playback is None:
            return
        await playback.close()
        self._viewer.forget_frames()
        if self._session is not None:
            self._session.join(self._viewer)

    async def _delete_recording(self, message: Dict[str, Any]) -> Dict[str, Any]:
        path = find(self._hub.options.recordings, message.get("name"))
        sessions = self._hub.sessions.values()
        if any(item.recorder and item.recorder.folder == path for item in sessions):
            return {"success": False, "message": "It is being recorded; stop that first."}
        for file in path.iterdir():
            if file.suffix in (".mcap", ".db3", ".yaml"):
                file.unlink()
        with contextlib.suppress(OSError):  # something else lies in the folder
            path.rmdir()
        self._tell_recordings()
        return {"success": True, "message": f"{path.name} is deleted."}

    def _tell_recordings(self) -> None:
        folder = self._hub.options.recordings
        self._viewer.tell("recordings", {"folder": str(folder), "recordings": recordings(folder)})

    async def _set_setting(self, message: Dict[str, Any]) -> Dict[str, Any]:
        name, value = str(message.get("name")), message.get("value")
        if not isinstance(value, (bool, int, float, str)):
            return {"success": False, "message": "A setting is a number, a text, or yes or no."}
        refusal = await self._chosen().link.settings.change(name, value)
        return {"success": not refusal, "message": refusal or f"{name} is now {value}."}


def _number(value: Any) -> float:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable and abs(value) < 1e9 else 0.0


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _now_ms() -> float:
    return time.time() * 1e3
