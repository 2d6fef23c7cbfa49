"""A TCP proxy that carries so many bits a second, in each direction, as a radio link does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

_CHUNK = 1400  # a packet
_BUFFER = 4096


class Throttle:
    """A proxy in a thread of its own. Use it as a context manager.

    Args:
        target_port: on this machine, where connections are passed on to.
        kbit_per_s: of each direction of each connection.
        delay_s: added to every packet, one way.
    """

    def __init__(self, target_port: int, kbit_per_s: float, delay_s: float = 0.0) -> None:
        self._target_port = target_port
        self._bytes_per_s = kbit_per_s * 125
        self._delay_s = delay_s
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0

    def __enter__(self) -> Throttle:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listener = socket.create_server(("127.0.0.1", 0))
        # Little is kept in the kernel, or that would be a queue no radio has.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.port = listener.getsockname()[1]
        start = asyncio.start_server(self._connected, sock=listener, limit=_BUFFER)
        self._loop.run_until_complete(start)
        self._ready.set()
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = socket.socket()
        onward.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        onward.setblocking(False)
        await self._loop.sock_connect(onward, ("127.0.0.1", self._target_port))
        back, to = await asyncio.open_connection(sock=onward, limit=_BUFFER)
        await asyncio.gather(self._carry(reader, to), self._carry(back, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        free_s = time.monotonic()
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                free_s = max(free_s, time.monotonic()) + len(data) / self._bytes_per_s
                await asyncio.sleep(max(0.0, free_s - time.monotonic()))
                if self._delay_s:
                    self._loop.call_later(self._delay_s, writer.write, data)
                else:
                    writer.write(data)
                    await writer.drain()
        writer.close()
