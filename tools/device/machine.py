# SPDX-License-Identifier: Apache-2.0
"""A running QEMU: an arm64 board with our USB adapter, serial pad, keyboard and sound card."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tools.device.disk import CardServer, FickleCard
from tools.device.fast import Bootable
from tools.device.usbredir import TinyUsbI2C, UsbAdapter
from tools.image.host import need

MEMORY_MIB = 768
CPU = "cortex-a53"
# One instruction is one nanosecond of the guest's time: a board of 1 GHz, one thing a cycle.
# Without it the guest is as slow as its emulator, and a key held for three scans is a long press.
ICOUNT = "shift=0,sleep=on"
TAP_S = 0.4  # between two keys of the serial pad


class PowerLost(Exception):
    """QEMU ended while something was awaited of the guest."""


class Machine:
    """One power-on. `lines` is what the console said, with the seconds since then.

    Owns the QEMU process; `cut_power` ends it without a word of warning, as a pulled plug does.
    """

    def __init__(
        self,
        folder: Path,
        files: Bootable,
        adapter: TinyUsbI2C,
        card: FickleCard | None = None,
        append: str = "",
    ) -> None:
        need("qemu-system-aarch64")
        folder.mkdir(parents=True)
        self._folder, self.card = folder, card
        self.lines: list[tuple[float, str]] = []
        self._news = threading.Condition()
        self.usb = UsbAdapter(folder / "i2c", adapter)
        self._serial_server = socket.socket(socket.AF_UNIX)
        self._serial_server.bind(str(folder / "serial"))
        self._serial_server.listen(1)
        self._card_server = CardServer(folder / "card", card) if card else None
        self.wav = folder / "sound.wav"
        self.started = time.monotonic()
        self._qemu = subprocess.Popen(
            self._command(files, append),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._console = threading.Thread(target=self._listen, daemon=True, name="console")
        self._console.start()
        self.serial, _ = self._serial_server.accept()
        self._serial_server.close()

    def _command(self, files: Bootable, append: str) -> list[str]:
        card = [
            "-blockdev",
            f"driver=nbd,node-name=card,server.type=unix,server.path={self._folder}/card",
            "-device", "virtio-blk-pci,drive=card,write-cache=on",
        ] if self.card else []  # fmt: skip
        return [
            "qemu-system-aarch64", "-M", "virt", "-cpu", CPU, "-m", str(MEMORY_MIB),
            "-accel", "tcg,tb-size=256", "-icount", ICOUNT, "-nographic", "-no-reboot",
            "-net", "none", "-monitor", "none", "-serial", "stdio", "-qmp",
            f"unix:{self._folder}/qmp,server=on,wait=off",
            *files.words(append), *card,
            "-device", "qemu-xhci,id=usb", "-device", "usb-kbd,bus=usb.0",
            "-chardev", f"socket,id=i2c,path={self._folder}/i2c",
            "-device", "usb-redir,chardev=i2c,bus=usb.0",
            "-chardev", f"socket,id=pad,path={self._folder}/serial",
            "-device", "usb-serial,chardev=pad,bus=usb.0,always-plugged=on",
            "-audiodev", f"wav,id=sound,path={self.wav}",
            "-device", "usb-audio,audiodev=sound,bus=usb.0",
        ]  # fmt: skip

    def _listen(self) -> None:
        assert self._qemu.stdout
        for raw in self._qemu.stdout:
            line = raw.decode(errors="replace").rstrip()
            with self._news:
                self.lines.append((time.monotonic() - self.started, line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def is_on(self) -> bool:
        return self._qemu.poll() is None

    def wait_line(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """Return the first line, old or new, that `pattern` is found in."""
        end, at = time.monotonic() + timeout_s, 0
        with self._news:
            while True:
                for at in range(at, len(self.lines)):  # noqa: B020 - goes on where it stopped
                    if found := re.search(pattern, self.lines[at][1]):
                        return found
                at = len(self.lines)
                if not self.is_on:
                    raise PowerLost(f"QEMU ended before {pattern!r}: {self.tail()}")
                if time.monotonic() > end:
                    raise TimeoutError(f"{timeout_s} s without {pattern!r}: {self.tail()}")
                self._news.wait(0.5)

    def tail(self, n: int = 12) -> str:
        return "\n".join(line for _, line in self.lines[-n:])

    def turns(self) -> list[dict[str, Any]]:
        """Return the turns that the guest's observer has read from the soul."""
        found = [line.partition("turn: ") for _, line in list(self.lines)]
        return [json.loads(rest) for before, sign, rest in found if sign and not before]

    def cpu_s(self) -> float:
        """Return what this QEMU has computed on the host."""
        spent = Path(f"/proc/{self._qemu.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")

    def keyboard(self, name: str) -> None:
        """Press and release a key of the USB keyboard, by QEMU's name for it."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(f"{self._folder}/qmp")
            talk = line.makefile("rw")
            talk.readline()
            for execute, arguments in (
                ("qmp_capabilities", {}),
                ("send-key", {"keys": [{"type": "qcode", "data": name}], "hold-time": 150}),
            ):
                talk.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
                talk.flush()
                answer = json.loads(talk.readline())
                if "return" not in answer:
                    raise ValueError(f"QEMU: {answer}")

    def tap(self, keys: str) -> None:
        """Tap keys on the serial pad: not held, so a busy guest takes none for a long press."""
        for key in keys:
            self.serial.sendall(key.encode())
            time.sleep(TAP_S)

    def type(self, line: str) -> None:
        """Type a line on the serial console."""
        assert self._qemu.stdin
        self._qemu.stdin.write(line.encode() + b"\n")
        self._qemu.stdin.flush()

    def cut_power(self) -> int:
        """Kill QEMU; return how many unflushed writes the card lost."""
        self._qemu.kill()
        self._qemu.wait()
        self._console.join()
        self.usb.join()
        self.serial.close()
        for pipe in (self._qemu.stdin, self._qemu.stdout):
            assert pipe
            pipe.close()
        if self._card_server is None or self.card is None:
            return 0
        self._card_server.close()
        return self.card.cut_power()
