# SPDX-License-Identifier: Apache-2.0
"""The simulator in a browser: one page, one WebSocket, the same hand.

The page asks for nothing beyond this server. Only loopback is served, and only pages that came
from here may open the socket: another site's page cannot type into the parrot.
Frames go out as the glass's 1,024 bytes; keys come in as text, "+5" down and "-5" up.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

from parrot.app.assemble import Rig, add_composer, real_voice, sim_rig
from parrot.app.catalogue import language_of
from parrot.app.loop import TICK_MS
from parrot.base.clock import SystemClock
from parrot.base.errors import ConfigError
from parrot.senses.key import KEYS
from parrot.senses.live_keypad import LiveKeypad

PAGE = Path(__file__).parents[1] / "assets" / "sim.html"
HOSTS = ("localhost", "127.0.0.1", "[::1]")


class Room:
    """The hand and everybody who looks at its glass."""

    def __init__(self, rig: Rig, keypad: LiveKeypad) -> None:
        self.rig, self.keypad = rig, keypad
        self._viewers: list[asyncio.Queue[bytes]] = []
        self.shown = b""

    async def turn(self) -> None:
        """Turn the hand's loop until power off; give each new glass to every viewer."""
        while not self.rig.hand.is_off:
            if self.rig.hand.tick():
                glass = self.rig.glass.glass().to_bytes()
                if glass != self.shown:
                    self.shown = glass
                    for viewer in self._viewers:
                        viewer.put_nowait(glass)
            await asyncio.sleep(TICK_MS / 1000)

    def join(self) -> asyncio.Queue[bytes]:
        viewer: asyncio.Queue[bytes] = asyncio.Queue()
        viewer.put_nowait(self.shown)
        self._viewers.append(viewer)
        return viewer

    def leave(self, viewer: asyncio.Queue[bytes]) -> None:
        self._viewers.remove(viewer)

    def take(self, message: str) -> None:
        """Take "+K" or "-K"; anything else is nothing."""
        if len(message) == 2 and message[0] in "+-" and message[1] in KEYS:
            (self.keypad.press if message[0] == "+" else self.keypad.release)(message[1])


def is_ours(host: str, origin: str | None) -> bool:
    """Say whether a request names this machine, and comes from one of our own pages."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name in HOSTS and (origin is None or origin == f"http://{host}")


def application(room: Room) -> Any:
    """Return the ASGI application. Raises: ConfigError without starlette."""
    try:
        from starlette.applications import Starlette
        from starlette.responses import HTMLResponse, PlainTextResponse
        from starlette.routing import Route, WebSocketRoute
        from starlette.websockets import WebSocketDisconnect
    except ImportError as exc:
        raise ConfigError(
            "sim: the package starlette is not installed; run: pip install "
            "'parrot-companion[serve]'."
        ) from exc

    async def page(request: Any) -> Any:
        if not is_ours(request.headers.get("host", ""), None):
            return PlainTextResponse("unknown host", 421)
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    async def glass(ws: Any) -> None:
        if not is_ours(ws.headers.get("host", ""), ws.headers.get("origin")):
            await ws.close(1008)
            return
        await ws.accept()
        viewer = room.join()
        sender = asyncio.create_task(_send(ws, viewer))
        try:
            while True:
                room.take(await ws.receive_text())
        except WebSocketDisconnect:
            for key in KEYS:
                room.keypad.release(key)
        finally:
            sender.cancel()
            room.leave(viewer)

    return Starlette(routes=[Route("/", page), WebSocketRoute("/glass", glass)])


async def _send(ws: Any, viewer: asyncio.Queue[bytes]) -> None:
    while True:
        glass = await viewer.get()
        while not viewer.empty():
            glass = viewer.get_nowait()  # a slow viewer sees the newest
        await ws.send_bytes(glass)


def listening(port: int) -> socket.socket:
    """Return a socket on this machine's `port`, 0 for any free one. Raises: ConfigError."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"sim: port {port}, expected 0 to 65535; choose another.", key="port")
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as exc:
        why = "in use by another program" if exc.errno == errno.EADDRINUSE else str(exc.strerror)
        raise ConfigError(
            f"sim: port {port} is {why}; choose another with --port.", key="port"
        ) from exc


def serve(args: argparse.Namespace) -> int:
    """Serve until power off or Ctrl-C."""
    try:
        import uvicorn
    except ImportError as exc:
        raise ConfigError(
            "sim: the package uvicorn is not installed; run: pip install 'parrot-companion[serve]'."
        ) from exc
    door = listening(args.port)
    keypad = LiveKeypad()
    rig = sim_rig(SystemClock(), keypad, real_voice(args), args.language or language_of())
    add_composer(rig.hand)
    room = Room(rig, keypad)
    config = uvicorn.Config(application(room), log_level="warning")
    server = uvicorn.Server(config)

    async def both() -> None:
        serving = asyncio.create_task(server.serve([door]))
        turning = asyncio.create_task(room.turn())
        await asyncio.wait((serving, turning), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = rig.hand.is_off = True
        await asyncio.gather(serving, turning)

    print(f"parrot: http://127.0.0.1:{door.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
    try:
        asyncio.run(both())
    finally:
        rig.hand.close()
    return 0
