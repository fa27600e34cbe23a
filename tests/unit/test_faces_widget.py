# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from parrot.faces import icon
from parrot.faces.font import Font
from parrot.faces.framebuffer import SCREEN, Box, Framebuffer
from parrot.faces.view import ComposerView, Item, ListView, TextView
from parrot.faces.widget import (
    BODY,
    CandidatePage,
    Meter,
    candidates_that_fit,
    draw_candidates,
    draw_dialog,
    draw_hints,
    draw_meters,
    draw_progress,
    draw_scroll_bar,
    draw_status_bar,
)

FONT = Font()
BAR = Box(0, 51, 128, 13)


def n_lit(frame: Framebuffer, box: Box = SCREEN) -> int:
    return int(frame.pixels()[box.y : box.y + box.height, box.x : box.x + box.width].sum())


def test_status_bar_cuts_a_long_title_before_the_icons() -> None:
    frame, without = Framebuffer(), Framebuffer()
    draw_status_bar(frame, FONT, "鹦" * 20, [icon.HEART], "21:47")
    draw_status_bar(without, FONT, "", [icon.HEART], "21:47")
    right = Box(80, 0, 48, 14)
    assert n_lit(frame, right) == n_lit(without, right)
    assert n_lit(frame) > n_lit(without)


def test_progress_fills_from_left_to_right() -> None:
    counts = []
    for share in (-1.0, 0.0, 0.25, 0.5, 1.0, 9.0):
        frame = Framebuffer()
        draw_progress(frame, FONT, Box(0, 0, 104, 8), share)
        counts.append(n_lit(frame, Box(2, 2, 100, 4)))
    assert counts == [0, 0, 100, 200, 400, 400]


def test_unknown_progress_wanders_there_and_back() -> None:
    def left(now_ms: int) -> int:
        frame = Framebuffer()
        draw_progress(frame, FONT, Box(0, 0, 104, 8), None, now_ms)
        return int(np.flatnonzero(frame.pixels()[4, 2:102])[0])

    places = [left(now_ms) for now_ms in range(0, 3_000, 20)]
    assert min(places) == 0 and max(places) == 75
    assert places[:76] == list(range(76))
    assert places[76] == 74


def test_meter_bars_are_aligned_and_proportional() -> None:
    frame = Framebuffer()
    draw_meters(frame, FONT, BODY, [Meter("愉快", 0.0), Meter("a", 0.5), Meter("b", 1.0)])
    bar = frame.pixels()[:, 31:107]
    filled = [int(bar[BODY.y + 12 * i + 5].sum()) for i in range(3)]
    assert filled[0] < filled[1] < filled[2]
    assert filled[1] - filled[0] == pytest.approx((filled[2] - filled[0]) / 2, abs=1)


def test_baseline_is_a_notch_outside_the_bar() -> None:
    plain, notched = Framebuffer(), Framebuffer()
    draw_meters(plain, FONT, BODY, [Meter("a", 0.0)])
    draw_meters(notched, FONT, BODY, [Meter("a", 0.0, baseline=0.5)])
    assert n_lit(notched) == n_lit(plain) + 2


def test_scroll_bar_is_absent_when_all_is_shown() -> None:
    frame = Framebuffer()
    draw_scroll_bar(frame, Box(126, 0, 2, 60), 0, 5, 5)
    assert n_lit(frame) == 0


def test_scroll_bar_reaches_both_ends() -> None:
    for first, row in ((0, 0), (95, 59)):
        frame = Framebuffer()
        draw_scroll_bar(frame, Box(126, 0, 2, 60), first, 5, 100)
        assert frame.pixels()[row, 126]


def test_hints_fit_the_screen() -> None:
    frame = Framebuffer()
    draw_hints(frame, FONT, 50, [("A", "返回"), ("C", "菜单"), ("D", "说话")])
    assert n_lit(frame, Box(0, 50, 128, 14)) == n_lit(frame) > 0


def test_dialog_selects_and_cuts() -> None:
    def dialog(text: str, selected: int) -> bytes:
        frame = Framebuffer()
        draw_dialog(frame, FONT, text, ("留着", "忘掉"), selected)
        return frame.to_bytes()

    assert dialog("忘掉？", 0) != dialog("忘掉？", 1)
    assert dialog("长" * 200, 0) == dialog("长" * 400, 0)


def test_candidates_that_fit_is_never_zero_nor_more_than_nine() -> None:
    assert candidates_that_fit(FONT, [], 128) == 0
    assert candidates_that_fit(FONT, ["很" * 30], 128) == 1
    assert candidates_that_fit(FONT, ["i"] * 30, 128) == 9
    assert candidates_that_fit(FONT, ["散步", "三部", "散布", "三"], 128) == 4
    assert candidates_that_fit(FONT, ["散步"] * 9, 128) == 3


def test_candidates_stay_between_the_arrows() -> None:
    frame = Framebuffer()
    draw_candidates(frame, FONT, BAR, CandidatePage(["很" * 30]))
    assert n_lit(frame, Box(122, 51, 6, 13)) == 0
    assert n_lit(frame, Box(0, 51, 6, 13)) == 0
    draw_candidates(frame, FONT, BAR, CandidatePage([], 0, has_before=True, has_after=True))
    assert n_lit(frame, Box(122, 51, 6, 13)) > 0
    assert n_lit(frame, Box(0, 51, 6, 13)) > 0


def test_selected_candidate_is_lit() -> None:
    frames = []
    for selected in (0, 1):
        frame = Framebuffer()
        draw_candidates(frame, FONT, BAR, CandidatePage(["你", "好"], selected))
        frames.append(frame)
    assert n_lit(frames[0], Box(6, 51, 19, 13)) > n_lit(frames[1], Box(6, 51, 19, 13))


def test_battery_fills() -> None:
    levels = [int(np.bitwise_count(icon.battery(share)).sum()) for share in (-1, 0, 0.5, 1, 2)]
    assert levels[0] == levels[1] < levels[2] < levels[3] == levels[4]


# Views


def test_text_view_follows_its_end_until_scrolled_back() -> None:
    view = TextView(FONT)
    view.feed("\n".join("abcdefgh"))
    assert (view.n_lines, view.n_rows, view.top, view.is_at_end) == (8, 5, 3, True)
    view.scroll(-2)
    view.feed("\ni\nj")
    assert (view.top, view.is_at_end) == (1, False)
    view.scroll(-99)
    assert view.top == 0
    view.scroll(99)
    assert (view.top, view.is_at_end) == (5, True)
    view.clear()
    assert (view.n_lines, view.top, view.is_at_end) == (1, 0, True)


def test_text_view_shows_ten_hanzi_by_five_lines() -> None:
    view, frame = TextView(FONT), Framebuffer()
    view.feed("鹦" * 50)
    view.draw(frame)
    assert view.n_lines == 5
    view.feed("鹉")
    assert view.n_lines == 6
    ink = np.flatnonzero(frame.pixels().any(axis=1))
    assert (ink[0], ink[-1]) == (2, 60)


def test_text_view_takes_a_line_of_ten_thousand_characters() -> None:
    view, frame = TextView(FONT), Framebuffer()
    view.feed("鹦鹉" * 5_000)
    view.draw(frame)
    assert view.n_lines == 1_000


def test_list_keeps_its_selection_in_sight_and_wraps() -> None:
    view = ListView(FONT, BODY, [Item(str(i)) for i in range(9)])
    frame = Framebuffer()
    for step, selected in ((-1, 8), (1, 0), (5, 5), (-2, 3)):
        view.move(step)
        view.draw(frame, 0)
        assert view.selected == selected
        assert view._top <= selected < view._top + view.n_rows


def test_list_of_nothing_is_drawn() -> None:
    view = ListView(FONT, BODY, [])
    view.move(1)
    frame = Framebuffer()
    view.draw(frame, 0)
    assert (view.selected, n_lit(frame)) == (0, 0)


def test_list_that_shrinks_keeps_a_valid_selection() -> None:
    view = ListView(FONT, BODY, [Item("a"), Item("b"), Item("c")], selected=2)
    view.set_items([Item("a")])
    assert view.selected == 0


def test_long_name_walks_only_when_selected() -> None:
    items = [Item("x" * 40), Item("y" * 40)]

    def row(now_ms: int, y: int) -> bytes:
        view = ListView(FONT, BODY, items)
        view.draw(Framebuffer(), 0)
        frame = Framebuffer()
        view.draw(frame, now_ms)
        return frame.pixels()[y : y + 12].tobytes()

    assert row(0, 15) == row(900, 15) != row(2_000, 15)
    assert row(0, 28) == row(2_000, 28)


def test_composer_keeps_the_cursor_in_sight() -> None:
    view = ComposerView(FONT, Box(0, 0, 128, 24))
    text = "鹦鹉" * 40
    for cursor in (80, 0, 45, 79):
        on, off = Framebuffer(), Framebuffer()
        view.draw(on, text, cursor, "", is_cursor_on=True)
        view.draw(off, text, cursor, "", is_cursor_on=False)
        assert int((on.pixels() != off.pixels()).sum()) == 11


def test_composition_is_underlined_before_the_cursor() -> None:
    view, frame = ComposerView(FONT, Box(0, 0, 128, 24)), Framebuffer()
    view.draw(frame, "你们", 1, "hao", is_cursor_on=False)
    underlined = np.flatnonzero(frame.pixels()[11])
    assert (underlined[0], underlined[-1]) == (14, 14 + FONT.width_px("hao") - 2)


def test_composer_counts_marks_and_emoji_signs_with_their_letter() -> None:
    view, frame, plain = ComposerView(FONT, Box(0, 0, 128, 24)), Framebuffer(), Framebuffer()
    view.draw(frame, "e\u0301❤\ufe0f", 4, "", is_cursor_on=True)
    view.draw(plain, "é❤", 2, "", is_cursor_on=True)
    assert frame.to_bytes() == plain.to_bytes()
