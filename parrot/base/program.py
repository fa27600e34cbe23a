# SPDX-License-Identifier: Apache-2.0
"""Programs of the system that carry sound: arecord, aplay, espeak-ng.

A program is started with its errors kept aside; when it ends early, `complaint` turns what it said
into one of our device errors. Nothing passes through a shell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO

from parrot.base.errors import DeviceError, DeviceMissing, DeviceRefused

_SAID_MAX = 300
_SOURCE = re.compile(r"^\w+: (\w+:\d+: )?")  # "arecord: main:831: ", which helps nobody


def installed(program: str, device: str, package: str) -> None:
    """Raise DeviceMissing, which names what to install, unless `program` is there."""
    if shutil.which(program) is None:
        raise DeviceMissing(
            f"{program}: not installed, expected for the {device}; run: apt install {package} "
            f"(OpenWrt: opkg install {package}).",
            device=device,
        )


class Program:
    """A running program with pipes. `device` is the organ's name, for errors."""

    def __init__(self, argv: Sequence[str], device: str, package: str) -> None:
        """Raises: DeviceMissing when it is not installed."""
        installed(argv[0], device, package)
        self.name, self._device = argv[0], device
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )

    @property
    def stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return self._process.wait()

    def kill(self) -> None:
        """End it now: what it has not played is never heard."""
        self._process.kill()

    def close(self) -> None:
        """End it, if it runs, and let go of its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def complaint(self) -> DeviceError:
        """Return why it ended, in our words."""
        self._errors.seek(0)
        lines = self._errors.read(4096).decode(errors="replace").splitlines() or [""]
        own = [line for line in lines if line.startswith(f"{self.name}:")]  # ALSA says a lot more
        line = _SOURCE.sub("", (own or lines)[-1])
        said = " ".join(line.split())[:_SAID_MAX]
        code = self._process.poll()
        if "busy" in said:
            return DeviceRefused(
                f"{self.name}: the {self._device} is busy ({said}); stop the program that uses it.",
                device=self._device,
            )
        if "ermission denied" in said:
            return DeviceRefused(
                f"{self.name}: permission denied ({said}); add this user to the group audio and "
                "log in again.",
                device=self._device,
            )
        return DeviceMissing(
            f"{self.name}: the {self._device} does not answer ({said or f'exit code {code}'}); "
            "plug it in, or choose another from: arecord -L, aplay -L.",
            device=self._device,
        )
