# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from parrot.base.service import Service


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The end of the socket that systemd holds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        yield line


def heard(manager: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(manager.recv(100).decode())
        except BlockingIOError:
            return words


def test_service_is_ready_once_and_alive_twice_per_interval(manager: socket.socket) -> None:
    path = str(manager.getsockname())
    service = Service({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
    service.turn(100.0)
    assert heard(manager) == ["READY=1", "WATCHDOG=1"]
    service.turn(114.9)
    assert heard(manager) == []
    service.turn(115.0)
    assert heard(manager) == ["WATCHDOG=1"]


def test_service_without_watchdog_only_says_that_it_is_ready(manager: socket.socket) -> None:
    service = Service({"NOTIFY_SOCKET": str(manager.getsockname())})
    for now_s in range(100):
        service.turn(now_s)
    assert heard(manager) == ["READY=1"]


def test_no_systemd_no_word() -> None:
    Service({}).turn(1.0)
