# SPDX-License-Identifier: Apache-2.0
"""Where the parts become a parrot: the only place that names concrete panels and keypads."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parrot.app.board import Board
from parrot.app.catalogue import language_of
from parrot.app.conversation import Conversation, manner_from
from parrot.app.engine_thread import EngineThread, StepEngine
from parrot.app.hand_voice import HandVoice, VoiceManner
from parrot.app.learned import SETTING as WORDS_SETTING
from parrot.app.learned import LearnedWords
from parrot.app.loop import Hand
from parrot.app.options import open_model, open_soul, say_progress, soul_path
from parrot.app.persona import begin_as
from parrot.app.speech_installed import can_hear
from parrot.base.clock import Clock, ManualClock, SystemClock
from parrot.base.errors import DeviceError, FileError
from parrot.base.i2c import I2CBus, ScriptedBus, SMBusI2C
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.faces.panel import OLEDPanel
from parrot.faces.sim_panel import SimulatedSSD1306
from parrot.mind.companion import Companion, Manner
from parrot.mind.soul import Soul
from parrot.senses.composer import Composer
from parrot.senses.evdev_keypad import EvdevKeypad
from parrot.senses.expander import MCP23017, PCF8574, TCA8418, I2CPad
from parrot.senses.gpio import open_gpiod_matrix, open_rpi_matrix
from parrot.senses.hotplug import HotPlug, Merged
from parrot.senses.key import KeySource
from parrot.senses.matrix import MatrixKeypad
from parrot.senses.pinyin_table import PinyinTable
from parrot.senses.serial_keypad import open_serial_keypad
from parrot.senses.t9 import T9

if TYPE_CHECKING:
    from parrot.app.voice_thread import Organs

PINYIN_PATH = Path(__file__).parents[1] / "assets" / "pinyin.bin"


class LateBus:
    """An I²C adapter that is opened when it is used, and again after it was away."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._bus: SMBusI2C | None = None

    def write(self, address: int, payload: bytes) -> None:
        self._opened().write(address, payload)

    def read(self, address: int, n_bytes: int) -> bytes:
        return self._opened().read(address, n_bytes)

    def write_read(self, address: int, payload: bytes, n_bytes: int) -> bytes:
        return self._opened().write_read(address, payload, n_bytes)

    def _opened(self) -> SMBusI2C:
        if self._bus is None:
            self._bus = SMBusI2C(self._port)
        return self._bus


class Buses:
    """One bus object for each adapter number, shared by panel and keypads."""

    def __init__(self) -> None:
        self._buses: dict[int, LateBus] = {}

    def at(self, port: int) -> I2CBus:
        return self._buses.setdefault(port, LateBus(port))


def open_keypad(buses: Buses, keys: Mapping[str, Any]) -> KeySource:
    """Open the keypad that one [[keys]] table describes. Raises: DeviceError."""
    kind = keys["kind"]
    if kind == "gpio":
        return MatrixKeypad(open_gpiod_matrix(keys["chip"], keys["rows"], keys["columns"]))
    if kind == "rpi-gpio":
        return MatrixKeypad(open_rpi_matrix(keys["rows"], keys["columns"]))
    if kind == "serial":
        return open_serial_keypad(keys["path"], keys["baud"])
    if kind == "evdev":
        return EvdevKeypad()
    bus, address = buses.at(keys["bus"]), keys["address"]
    if kind == "tca8418":
        return TCA8418(bus, address)
    if kind == "i2c-pad":
        return I2CPad(bus, address)
    return MatrixKeypad((PCF8574 if kind == "pcf8574" else MCP23017)(bus, address))


class Keypads(Merged):
    """All keypads of a board, each alive on its own."""

    def __init__(self, pads: Iterable[tuple[str, HotPlug]]) -> None:
        self.pads = dict(pads)
        super().__init__(list(self.pads.values()))

    @property
    def fault(self) -> DeviceError | None:
        """Return what is wrong when no keypad answers; one that works is enough."""
        faults = [pad.fault for pad in self.pads.values()]
        return faults[0] if faults and all(faults) else None


def open_keypads(board: Board, buses: Buses) -> Keypads:
    return Keypads((str(k["kind"]), HotPlug(_opener(buses, k))) for k in board.keys)


def _opener(buses: Buses, keys: Mapping[str, Any]) -> Callable[[], KeySource]:
    return lambda: open_keypad(buses, keys)


def add_composer(hand: Hand, path: Path = PINYIN_PATH) -> None:
    """Give the hand its line; without a table the rest of the hand works, and it is said why."""
    learned = LearnedWords(lambda words: hand.talk.set_setting(WORDS_SETTING, words))
    try:
        hand.use_composer(Composer(T9(PinyinTable(path), learned.index)), learned)
    except FileError as exc:
        hand.talk.notice = str(exc)


def waker(args: argparse.Namespace) -> Callable[[Abort], Companion]:
    """Return what opens model and soul on the engine's thread."""

    def wake(abort: Abort) -> Companion:
        model = open_model(args)
        soul = open_soul(None if args.fresh else soul_path(args))
        try:
            kept = {"hand.sampling": soul.setting("hand.sampling")}
            manner = manner_from(kept, Manner())
            companion = Companion(model, soul, SystemClock(), manner, say_progress, abort)
            if args.persona:
                begin_as(companion, args.persona)
            return companion
        except BaseException:
            soul.close()
            raise

    return wake


def real_voice(args: argparse.Namespace) -> HandVoice:
    """Return the talk of one parrot, its engine already waking, with ears and mouth if it has any.

    The voice is on where something is installed that hears, until the owner says otherwise.
    """
    talk = Conversation()
    talk.engine = EngineThread(waker(args), talk.awake)

    def organs() -> Organs:
        from parrot.app.speech_organs import organs_of

        return organs_of(args)

    return HandVoice(talk, organs, VoiceManner(is_on=can_hear()))


def no_organs() -> Organs:
    """Return ears and a mouth for keys in virtual time: there is no sound in it."""
    from parrot.app.speech_organs import NO_ORGANS

    return NO_ORGANS


def board_hand(args: argparse.Namespace, board: Board) -> tuple[Hand, Keypads]:
    """Return the handheld on real hardware, its engine already waking."""
    clock, buses = SystemClock(), Buses()
    panel = OLEDPanel(buses.at(board.panel.bus or 0), board.panel.chip, board.panel.address)
    keypads = open_keypads(board, buses)
    hand = Hand(clock, panel, keypads, real_voice(args), language_of())
    add_composer(hand)
    return hand, keypads


@dataclass
class Rig:
    """A hand on a model of the controller, on a model of the bus."""

    hand: Hand
    glass: SimulatedSSD1306
    bus: ScriptedBus
    clock: Clock


def sim_rig(clock: Clock, keypad: KeySource, voice: HandVoice, language: str) -> Rig:
    glass = SimulatedSSD1306()
    bus = ScriptedBus({0x3C: glass})
    hand = Hand(clock, OLEDPanel(bus), keypad, voice, language)
    return Rig(hand, glass, bus, clock)


def virtual_rig(
    model: Model,
    keypad: KeySource,
    language: str = "en",
    seed: int = 1,
    organs: Callable[[], Organs] = no_organs,
) -> Rig:
    """Return a newborn parrot in virtual time: the same keys give the same frames."""
    clock, talk = ManualClock(), Conversation()
    manner = Manner(seed=seed)
    manner = replace(manner, max_bytes=120)
    companion = Companion(model, Soul.in_memory(), clock, manner)
    talk.engine = StepEngine(companion, clock)
    rig = sim_rig(clock, keypad, HandVoice(talk, organs, VoiceManner()), language)
    talk.awake(None)
    return rig
