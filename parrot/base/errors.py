# SPDX-License-Identifier: Apache-2.0
"""Every error that parrot raises on purpose.

    ParrotError
    ├─ ConfigError          settings or board.toml cannot be obeyed        .path .key
    ├─ FileError            a file of ours cannot be used                  .path .offset
    │  ├─ FormatError       not our format, or a version we do not read
    │  ├─ CorruptError      ours, but damaged
    │  └─ MismatchError     whole, but belongs to another model
    ├─ DeviceError          hardware did not do its part                   .device
    │  ├─ DeviceMissing     nothing answers
    │  ├─ DeviceRefused     present, but busy or not permitted
    │  └─ DeviceTimeout     answered once, then not
    └─ EngineError          the network could not run
       └─ Aborted           it was told to stop, and did                   .n_done

The message is one sentence: `where: what was seen, what was expected; what to do.` It is raised by
the layer that knows the fact, wrapped at most once with `from`, and shown by `parrot.app` alone.
"""

from __future__ import annotations

from pathlib import Path


class ParrotError(Exception):
    """Root of every error that parrot raises on purpose."""


class ConfigError(ParrotError):
    """Settings, a command line or a board file that cannot be obeyed."""

    def __init__(self, message: str, *, path: Path | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.path, self.key = path, key


class FileError(ParrotError):
    """A file that cannot be used; `offset` is where, in bytes, when that is known."""

    def __init__(
        self, message: str, *, path: Path | None = None, offset: int | None = None
    ) -> None:
        super().__init__(message)
        self.path, self.offset = path, offset


class FormatError(FileError):
    """Not our format, or a version that this build does not read."""


class CorruptError(FileError):
    """Our format, but damaged."""


class MismatchError(FileError):
    """Whole, but it belongs to another model."""


class DeviceError(ParrotError):
    """Hardware that did not do its part; `device` is the name the doctor uses."""

    def __init__(self, message: str, *, device: str = "") -> None:
        super().__init__(message)
        self.device = device


class DeviceMissing(DeviceError):
    """Nothing answers."""


class DeviceSilent(DeviceMissing):
    """The bus works, but nothing acknowledges this address."""


class DeviceRefused(DeviceError):
    """Present, but busy or not permitted."""


class DeviceTimeout(DeviceError):
    """Answered once, then not."""


class EngineError(ParrotError):
    """The network could not run."""


class Aborted(EngineError):
    """A forward call ended by its abort flag, after `n_done` tokens."""

    def __init__(self, message: str, *, n_done: int = 0) -> None:
        super().__init__(message)
        self.n_done = n_done
