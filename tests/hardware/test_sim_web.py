# SPDX-License-Identifier: Apache-2.0
"""The page and its socket, without a browser."""

from __future__ import annotations

import pytest

from parrot.app.sim_web import Room, application, is_ours
from parrot.engine.model import Model
from tests.hardware.sim_driver import SimHand


def test_only_our_own_pages_on_this_machine_are_served() -> None:
    assert is_ours("127.0.0.1:8765", None)
    assert is_ours("localhost:8765", "http://localhost:8765")
    assert not is_ours("evil.example", None)
    assert not is_ours("127.0.0.1:8765", "http://evil.example")


def test_page_is_served_and_the_socket_carries_glass_and_keys() -> None:
    pytest.importorskip("httpx", reason="starlette's test client needs it")
    client_module = pytest.importorskip("starlette.testclient", reason="extra serve")
    sim = SimHand(Model.open(threads=1))
    room = Room(sim.rig, sim.keypad)
    room.shown = sim.glass.glass().to_bytes()
    client = client_module.TestClient(application(room), base_url="http://127.0.0.1:8765")
    try:
        page = client.get("/").text
        assert "<canvas" in page
        assert "https://" not in page
        headers = {"host": "127.0.0.1:8765", "origin": "http://127.0.0.1:8765"}
        with client.websocket_connect("/glass", headers=headers) as socket:
            assert socket.receive_bytes() == room.shown
        room.take("+C")
        room.take("-C")
        room.take("+?")
        n_before = sim.hand.n_events
        sim.wait(100)
        assert sim.hand.n_events >= n_before + 2
    finally:
        sim.close()
