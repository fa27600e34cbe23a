# SPDX-License-Identifier: Apache-2.0
"""Any other display that luma can drive: colour, greyscale, SPI, larger or smaller than 128×64.

The device is built by whoever knows its pins (board.toml); here a frame becomes a Pillow image,
centred on the device's glass, and is sent whole when it changed.
"""

from __future__ import annotations

from typing import Any

from parrot.base.errors import DeviceError, DeviceMissing, DeviceTimeout
from parrot.faces.framebuffer import HEIGHT, WIDTH, Framebuffer
from parrot.faces.panel import RETRY_MS, Light, Look


class LumaPanel:
    """A `luma` device as a Panel. Borrows `device`; marks it to keep its picture at exit.

    Invariant: INV-6. Raises: see Panel.show.
    """

    def __init__(self, device: Any) -> None:
        self.look = Look()
        self.is_stale = True
        device.persist = True
        self._device = device
        self._shown = (b"", self.look)
        self._has_answered = False
        self._retry_at_ms: int | None = None

    def show(self, frame: Framebuffer, now_ms: int) -> bool:
        """See Panel.show."""
        if self._retry_at_ms is not None and now_ms < self._retry_at_ms:
            return False
        wanted = (frame.to_bytes(), self.look)
        if wanted == self._shown and not self.is_stale:
            return True
        try:
            self._bring(frame)
        except OSError as exc:  # what smbus2 and spidev raise
            raise self._lost(exc, now_ms) from exc
        except Exception as exc:
            if not type(exc).__module__.startswith("luma."):
                raise
            raise self._lost(exc, now_ms) from exc
        self._shown, self.is_stale, self._retry_at_ms = wanted, False, None
        self._has_answered = True
        return True

    def _bring(self, frame: Framebuffer) -> None:
        from PIL import Image

        look, device = self.look, self._device
        if look.light is Light.OFF:
            device.hide()
            return
        pixels = frame.pixels() != look.is_inverted
        picture = Image.fromarray(pixels)
        whole = Image.new("1", device.size)
        whole.paste(picture, ((device.width - WIDTH) // 2, (device.height - HEIGHT) // 2))
        device.display(whole.convert(device.mode))
        device.contrast(look.contrast_now)
        device.show()

    def _lost(self, exc: Exception, now_ms: int) -> DeviceError:
        self.is_stale = True
        self._retry_at_ms = now_ms + RETRY_MS
        kind = DeviceTimeout if self._has_answered else DeviceMissing
        return kind(
            f"panel {type(self._device).__name__}: {exc}; check its wiring and power, then run: "
            "parrot doctor panel.",
            device="panel",
        )
