# SPDX-License-Identifier: Apache-2.0
"""Time calls of an engine in Python exactly as `llama_bench.c` times them in C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


def token_stream() -> Iterator[int]:
    """Yield the bytes of llama_bench.c's generator, so that all engines hear the same."""
    seed = 1
    while True:
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        yield seed >> 24


def time_calls(
    feed: Callable[[list[int]], object], n_tokens: int, seconds: float, reset: Callable[[], object]
) -> list[float]:
    """Feed `n_tokens` new tokens a call; return each call's time in µs, after a warm-up.

    `reset` runs before each call, outside the time taken. The warm-up is one call, and a tenth of
    `seconds`.
    """
    tokens = token_stream()
    calls_us: list[float] = []
    is_warm = False
    end_s = time.perf_counter() + 0.1 * seconds
    while True:
        batch = [next(tokens) for _ in range(n_tokens)]
        reset()
        start_s = time.perf_counter()
        feed(batch)
        done_s = time.perf_counter()
        if is_warm:
            calls_us.append(1e6 * (done_s - start_s))
        if done_s >= end_s:
            if is_warm:
                return calls_us
            is_warm, end_s = True, done_s + seconds
