"""The web server: the page, the WebSocket, uploads and downloads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any, AsyncIterator, Callable, List, Optional

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from refdet_core.errors import RefdetError
from refdet_ros.console.commands import Commands
from refdet_ros.console.events import as_zip
from refdet_ros.console.hub import Hub
from refdet_ros.console.options import ConsoleOptions
from refdet_ros.console.positions import places
from refdet_ros.console.security import Gate, RateLimit
from refdet_ros.console.viewer import Viewer, parse

WEB = Path(__file__).resolve().parent / "web"
_TOO_MANY = 1013  # "try again later"
_POLICY_VIOLATION = 1008


class Server:
    """The ASGI application.

    Args:
        ros_arguments: for the console's node.
    """

    def __init__(self, options: ConsoleOptions, ros_arguments: Optional[List[str]] = None) -> None:
        self._options = options
        self._ros_arguments = ros_arguments
        self._hub: Optional[Hub] = None
        self._browsers = 0
        routes = [
            WebSocketRoute("/socket", self._socket),
            Route("/api/pictures", self._upload, methods=["POST"]),
            Route("/api/events.zip", self._events, methods=["GET"]),
            Route("/api/events.geojson", self._geojson, methods=["GET"]),
            Route("/api/events.kml", self._kml, methods=["GET"]),
            Route("/api/events/{number:int}.jpg", self._event_picture, methods=["GET"]),
            Mount("/", StaticFiles(directory=WEB, html=True)),
        ]
        # The page must load over a slow link too. Pictures do not compress further.
        compress = Middleware(GZipMiddleware, minimum_size=1000)
        application = Starlette(routes=routes, lifespan=self._lifespan, middleware=[compress])
        self.app = Gate(application, options)

    @property
    def hub(self) -> Hub:
        """State shared by all browsers."""
        assert self._hub is not None, "the server has not been started"
        return self._hub

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._hub = Hub(self._options, self._ros_arguments)
        try:
            yield
        finally:
            self._hub.close()

    async def _socket(self, socket: WebSocket) -> None:
        limits = self._options.limits
        await socket.accept()
        if self._browsers >= limits.browsers:
            await socket.close(_TOO_MANY, f"{limits.browsers} browsers are connected already.")
            return
        self._browsers += 1
        viewer = Viewer(
            self.hub.encoder, socket.send_text, socket.send_bytes, self._options.picture_hz
        )
        commands = Commands(self.hub, viewer)
        self.hub.on_change.append(commands.detectors_changed)
        tasks = [
            asyncio.create_task(self._receive(socket, commands)),
            asyncio.create_task(viewer.run()),
            asyncio.create_task(commands.tell_presence()),
        ]
        try:
            viewer.tell("detectors", self.hub.plain_detectors())
            # The connection ends when one of the three tasks ends.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.hub.on_change.remove(commands.detectors_changed)
            await commands.close()
            self._browsers -= 1

    async def _receive(self, socket: WebSocket, commands: Commands) -> None:
        rate = RateLimit(self._options.limits.commands_per_s)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                message = parse(await socket.receive_text())
                if not rate.allows():
                    await socket.close(_POLICY_VIOLATION, "Too many commands.")
                    return
                if message is None:
                    await socket.close(_POLICY_VIOLATION, "Not a command.")
                    return
                # A service call may take seconds, and acknowledgements must not wait for it.
                task = asyncio.create_task(commands.handle(message))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            for task in running:
                task.cancel()

    async def _upload(self, request: Request) -> Response:
        limit = self._options.limits.upload_bytes
        content = bytearray()
        # Content-Length may be wrong, so the bytes are counted.
        async for part in request.stream():
            content += part
            if len(content) > limit:
                return _refused(413, f"The photo has more than {limit // 2**20} MB.")
        try:
            return JSONResponse(self.hub.uploads.add(bytes(content)))
        except RefdetError as error:
            return _refused(400, str(error))

    async def _events(self, request: Request) -> Response:
        session = self.hub.choose(request.query_params.get("node"))
        if session is None:
            return _refused(404, "There is no such detector.")
        archive = await asyncio.get_running_loop().run_in_executor(
            None, as_zip, list(session.events.events)
        )
        disposition = 'attachment; filename="refdet_events.zip"'
        return Response(archive, 200, {"Content-Disposition": disposition}, "application/zip")

    async def _geojson(self, request: Request) -> Response:
        from refdet_ros.locate.export import to_geojson

        return self._map(
            request, "geojson", "application/geo+json", lambda p: json.dumps(to_geojson(p))
        )

    async def _kml(self, request: Request) -> Response:
        from refdet_ros.locate.export import to_kml

        return self._map(request, "kml", "application/vnd.google-earth.kml+xml", to_kml)

    def _map(
        self, request: Request, suffix: str, kind: str, write: Callable[[List[Any]], str]
    ) -> Response:
        session = self.hub.choose(request.query_params.get("node"))
        if session is None:
            return _refused(404, "There is no such detector.")
        disposition = f'attachment; filename="refdet_events.{suffix}"'
        content = write(places(list(session.events.events)))
        return Response(content, 200, {"Content-Disposition": disposition}, kind)

    async def _event_picture(self, request: Request) -> Response:
        session = self.hub.choose(request.query_params.get("node"))
        event = session.events.get(request.path_params["number"]) if session else None
        if event is None or not event.jpeg:
            return _refused(404, "There is no such picture.")
        return Response(event.jpeg, media_type="image/jpeg")


def _refused(status: int, sentence: str) -> Response:
    return JSONResponse({"message": sentence}, status_code=status)


def serve(
    options: ConsoleOptions,
    ros_arguments: Optional[List[str]] = None,
    on_ready: Any = lambda url: None,
) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code.

    Args:
        on_ready: called with the address once browsers can connect.
    """
    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                port = self.servers[0].sockets[0].getsockname()[1]
                on_ready(options.url(port))

    config = uvicorn.Config(
        Server(options, ros_arguments).app,
        host=options.address,
        port=options.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=options.limits.message_bytes,
        # JPEGs do not compress, and compression needs memory for each connection.
        ws_per_message_deflate=False,
        ws_ping_interval=10.0,
        ws_ping_timeout=20.0,
        limit_concurrency=200,
        timeout_graceful_shutdown=2,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        ssl_ca_certs=str(options.client_ca) if options.client_ca else None,
        ssl_cert_reqs=2 if options.client_ca else 0,  # ssl.CERT_REQUIRED, CERT_NONE
    )
    server = Announcing(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal once more at its end, which would skip the caller's cleaning up.
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1
