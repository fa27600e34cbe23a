# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest

from parrot.base.errors import (
    ConfigError,
    DeviceError,
    DeviceMissing,
    DeviceRefused,
    DeviceTimeout,
)
from parrot.base.i2c import ScriptedBus
from parrot.faces.framebuffer import Box, Framebuffer
from parrot.faces.idle import IdlePolicy
from parrot.faces.panel import (
    ADDRESS,
    CHIPS,
    HEAL_MS,
    RETRY_MS,
    Light,
    Look,
    OLEDPanel,
    RecordingPanel,
    wake_sequence,
)
from parrot.faces.sim_panel import SimulatedSSD1306


class Bench:
    """A panel, its simulated chip and a frame of noise, with a clock in hand."""

    def __init__(self, chip: str = "ssd1306") -> None:
        self.sim = SimulatedSSD1306(chip)
        self.bus = ScriptedBus({ADDRESS: self.sim})
        self.panel = OLEDPanel(self.bus, chip)
        self.frame = Framebuffer()
        noise = random.Random(7)
        self.frame.columns[:] = [noise.getrandbits(64) for _ in range(128)]
        self.now_ms = 0

    def show(self, after_ms: int = 0) -> bool:
        self.now_ms += after_ms
        return self.panel.show(self.frame, self.now_ms)

    def is_right(self) -> bool:
        return self.sim.glass().to_bytes() == self.frame.to_bytes() and not self.sim.unknown


@pytest.mark.parametrize("chip", CHIPS)
def test_glass_shows_the_frame(chip: str) -> None:
    bench = Bench(chip)
    assert bench.panel.is_stale
    assert bench.show()
    assert bench.is_right()
    assert not bench.panel.is_stale
    assert bench.sim.contrast == 0xCF


@pytest.mark.parametrize("chip", CHIPS)
def test_only_changed_columns_are_sent(chip: str) -> None:
    bench = Bench(chip)
    bench.show()
    before = bench.sim.n_bytes
    bench.show(10)
    assert bench.sim.n_bytes == before
    bench.frame.invert(Box(40, 12, 6, 6))  # pages 1 and 2
    bench.frame.invert(Box(100, 12, 6, 1))  # page 1, far from the first
    bench.show(10)
    assert bench.is_right()
    assert bench.sim.n_bytes - before <= 3 * (6 + 11)


def test_near_changes_share_a_run() -> None:
    bench = Bench()
    bench.show()
    before = bench.sim.n_transactions
    bench.frame.pixel(10, 0)
    bench.frame.invert(Box(10, 0, 1, 1))
    bench.frame.invert(Box(18, 0, 1, 1))
    bench.show(10)
    assert bench.is_right()
    assert bench.sim.n_transactions - before == 2


def test_contrast_inversion_and_light_reach_the_chip() -> None:
    bench = Bench()
    bench.show()
    bench.panel.look = Look(contrast=90, is_inverted=True)
    bench.show(10)
    assert (bench.sim.contrast, bench.sim.is_inverted) == (90, True)
    bench.panel.look = Look(contrast=90, light=Light.DIM)
    bench.show(10)
    assert (bench.sim.contrast, bench.sim.is_inverted) == (8, False)
    bench.panel.look = Look(light=Light.OFF)
    bench.show(10)
    assert not bench.sim.is_on
    bench.frame.invert()
    bench.panel.look = Look()
    bench.show(10)
    assert bench.is_right()


def test_dark_glass_costs_nothing() -> None:
    bench = Bench()
    bench.panel.look = Look(light=Light.OFF)
    bench.show()
    before = bench.sim.n_bytes
    assert bench.show(60_000)
    assert bench.sim.n_bytes == before


def test_panel_that_lost_power_in_the_dark_is_right_at_once_when_lit() -> None:
    bench = Bench()
    bench.show()
    bench.panel.look = Look(light=Light.OFF)
    bench.show(10)
    bench.sim.cut_power()
    bench.panel.look = Look()
    bench.show(10)
    assert bench.is_right()


def test_inv6_absent_panel_is_stale_and_named() -> None:
    bench = Bench()
    bench.bus.unplug(ADDRESS)
    with pytest.raises(DeviceMissing) as caught:
        bench.show()
    assert str(caught.value) == (
        "panel ssd1306: i2c-scripted address 0x3c: no answer; check SDA, SCL and power, then run: "
        "parrot doctor."
    )
    assert bench.panel.is_stale
    assert caught.value.device == "panel"
    assert bench.bus.n_transactions == 3
    assert bench.show(RETRY_MS - 1) is False
    assert bench.bus.n_transactions == 3  # not asked before the retry is due


def test_inv6_panel_that_stops_answering_is_stale() -> None:
    bench = Bench()
    bench.show()
    bench.bus.unplug(ADDRESS)
    bench.frame.invert()
    with pytest.raises(DeviceTimeout, match="stopped answering, 3 tries; i2c-scripted"):
        bench.show(10)
    assert bench.panel.is_stale


def test_refusal_by_the_kernel_passes_unchanged() -> None:
    class Refusing(ScriptedBus):
        def write(self, address: int, payload: bytes) -> None:
            raise DeviceRefused("/dev/i2c-1: permission denied; join the group i2c.")

    with pytest.raises(DeviceRefused, match="permission denied"):
        OLEDPanel(Refusing({})).show(Framebuffer(), 0)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("away_ms", [0, 20, 300, 1_000, 60_000])
def test_replugged_panel_is_right_again_within_two_seconds(chip: str, away_ms: int) -> None:
    bench = Bench(chip)
    bench.show()
    bench.show(1_000)
    bench.bus.unplug(ADDRESS)
    bench.sim.cut_power()
    tick_until(bench, away_ms)
    bench.bus.plug(ADDRESS)
    tick_until(bench, 2_000)
    assert bench.is_right()
    assert not bench.panel.is_stale


def tick_until(bench: Bench, duration_ms: int) -> None:
    """Call show every 20 ms, as the loop does, and let it fail."""
    for _ in range(0, duration_ms, 20):
        try:
            bench.show(20)
        except DeviceError:
            assert bench.panel.is_stale


def test_static_picture_still_notices_an_unplugged_panel() -> None:
    bench = Bench()
    bench.show()
    bench.bus.unplug(ADDRESS)
    with pytest.raises(DeviceTimeout):
        bench.show(HEAL_MS)


def test_one_refusal_in_a_hundred_is_not_seen() -> None:
    bench = Bench()
    bench.bus.fail_every(100)
    noise = random.Random(3)
    for _ in range(300):
        bench.frame.invert(Box(noise.randrange(128), noise.randrange(64), 9, 9))
        assert bench.show(20)
        assert bench.is_right()


def test_bus_that_refuses_everything_only_raises_device_errors() -> None:
    bench = Bench()
    bench.bus.fail_every(1)
    n_raised = 0
    for _ in range(100):
        try:
            assert not bench.show(20)
        except DeviceMissing:
            n_raised += 1
    assert n_raised == 2000 // RETRY_MS


def test_full_frame_fits_in_26_ms_of_a_400_khz_bus() -> None:
    bench = Bench()
    bench.show()
    assert bench.sim.bus_ms() < 26


def test_unknown_chip_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'ssd1331', expected one of ssd1306, ssd1309, sh1106"):
        wake_sequence("ssd1331")


class Recorder:
    """Looks to luma like a serial interface; remembers what would be sent."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def command(self, *codes: int) -> None:
        self.commands.append(bytes(codes))

    def data(self, data: object) -> None:
        """The picture is not asked for."""

    def cleanup(self) -> None:
        """There is nothing to close."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # luma uses Pillow's getdata
@pytest.mark.parametrize("chip", CHIPS)
def test_each_chip_is_woken_as_luma_wakes_it(chip: str) -> None:
    luma = pytest.importorskip("luma.oled.device", reason="needs the extra board")
    recorder = Recorder()
    getattr(luma, chip)(recorder).persist = True
    assert recorder.commands[0] == wake_sequence(chip)
    assert wake_sequence(chip)[0] == 0xAE  # display off


def test_wake_sequence_does_not_touch_the_bus() -> None:
    bus = ScriptedBus({})
    OLEDPanel(bus)
    assert bus.n_transactions == 0


def test_recording_panel_keeps_each_new_frame_once() -> None:
    panel, frame = RecordingPanel(), Framebuffer()
    for _ in range(2):
        assert panel.show(frame, 0)
    frame.pixel(1, 1)
    panel.show(frame, 0)
    assert [len(blob) for blob in panel.frames] == [1024, 1024]
    assert panel.looks == [Look()]


def test_glass_dims_then_goes_dark_then_wakes() -> None:
    policy = IdlePolicy(0, dim_after_ms=100, off_after_ms=200)
    lights = [policy.light(now_ms) for now_ms in (0, 99, 100, 199, 200)]
    assert lights == [Light.FULL, Light.FULL, Light.DIM, Light.DIM, Light.OFF]
    assert policy.touch(150) is False
    assert policy.light(240) is Light.FULL
    assert policy.touch(400) is True
    assert policy.light(400) is Light.FULL


def test_idle_policy_refuses_off_before_dim() -> None:
    with pytest.raises(ValueError, match="dim after 200 ms and off after 100 ms"):
        IdlePolicy(0, dim_after_ms=200, off_after_ms=100)
