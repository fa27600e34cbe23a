# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno

import numpy as np
import pytest

from parrot.base.errors import DeviceMissing, DeviceTimeout
from parrot.faces.framebuffer import Framebuffer
from parrot.faces.luma_panel import LumaPanel
from parrot.faces.panel import RETRY_MS, Light, Look

pytest.importorskip("luma.core", reason="needs the extra: pip install 'parrot-companion[board]'")


def dummy(width: int, height: int, mode: str):  # type: ignore[no-untyped-def]
    from luma.core.device import dummy as luma_dummy
    from luma.core.interface.serial import noop

    return luma_dummy(width=width, height=height, mode=mode, serial_interface=noop())


@pytest.mark.parametrize(("width", "height", "mode"), [(128, 64, "1"), (160, 128, "RGB")])
def test_frame_is_centred_on_any_luma_device(width: int, height: int, mode: str) -> None:
    device = dummy(width, height, mode)
    panel, frame = LumaPanel(device), Framebuffer()
    frame.pixel(3, 5)
    assert panel.show(frame, 0)
    lit = np.argwhere(np.asarray(device.image.convert("1")))
    assert lit.tolist() == [[5 + (height - 64) // 2, 3 + (width - 128) // 2]]
    assert device.persist


def test_unchanged_frame_is_not_sent_again() -> None:
    device = dummy(128, 64, "1")
    panel, frame = LumaPanel(device), Framebuffer()
    panel.show(frame, 0)
    device.image = None
    assert panel.show(frame, 10)
    assert device.image is None
    panel.look = Look(is_inverted=True)
    panel.show(frame, 20)
    assert np.asarray(device.image).all()


def test_dark_light_hides_the_picture() -> None:
    device = dummy(128, 64, "1")
    hidden: list[bool] = []
    device.hide = lambda: hidden.append(True)
    panel = LumaPanel(device)
    panel.look = Look(light=Light.OFF)
    panel.show(Framebuffer(), 0)
    assert hidden == [True]


@pytest.mark.parametrize("is_luma", [True, False])
def test_inv6_lost_device_is_stale_then_recovers(is_luma: bool) -> None:
    from luma.core.error import DeviceNotFoundError

    device, frame = dummy(128, 64, "1"), Framebuffer()
    panel = LumaPanel(device)
    works = device.display

    def breaks(image: object) -> None:
        raise DeviceNotFoundError("gone") if is_luma else OSError(errno.ENXIO, "gone")

    device.display = breaks
    with pytest.raises(DeviceMissing, match=r"panel dummy: .*gone; check its wiring"):
        panel.show(frame, 0)
    assert panel.is_stale
    assert panel.show(frame, RETRY_MS - 1) is False
    device.display = works
    assert panel.show(frame, RETRY_MS)
    device.display = breaks
    frame.pixel(0, 0)
    with pytest.raises(DeviceTimeout):
        panel.show(frame, RETRY_MS + 1)


def test_mistakes_of_ours_are_not_dressed_as_device_errors() -> None:
    device = dummy(128, 64, "1")

    def breaks(image: object) -> None:
        raise TypeError("ours")

    device.display = breaks
    with pytest.raises(TypeError, match="ours"):
        LumaPanel(device).show(Framebuffer(), 0)
