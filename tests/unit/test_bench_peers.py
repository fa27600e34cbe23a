# SPDX-License-Identifier: Apache-2.0
"""The parts of `tools.bench_peers` that need no compiler, network or peer."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import pytest

from parrot.base.errors import ConfigError
from parrot.model.codec import TensorType
from parrot.model.random_model import SHAPES, write_random_model
from parrot.model.shape import Shape
from tools import bench_peers
from tools.peers import build
from tools.peers.build import PeerError, PeerFolder
from tools.peers.calls import time_calls, token_stream
from tools.peers.rounds import Plan, bytes_per_token, commands, run_driver
from tools.peers.verdict import (
    LLAMA_F16,
    LLAMA_Q8,
    LLAMA_Q8_ALL,
    OURS,
    RWKV,
    Round,
    Spread,
    rate_per_s,
    ratio_of,
    rows_of,
    spread,
    table,
)


def round_of(work: str, rates: dict[str, float], shape: str = "S", n_threads: int = 1) -> Round:
    return Round(shape, n_threads, 5_000_000, 20.0, 10.0, {work: rates})


def plan_in(folder: Path, *engines: str, cpu: str = "native") -> Plan:
    return Plan(PeerFolder(folder, cpu), engines, ["S"], [1], 1, 0.4)


def test_spread_of_odd_and_even_counts() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(median=2.0, q1=1.5, q3=2.5, n=3)
    assert spread([4.0, 1.0, 2.0, 3.0]) == Spread(median=2.5, q1=1.75, q3=3.25, n=4)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0, 1)


def test_rate_ignores_preempted_calls() -> None:
    calls_us = [100.0] * 4 + [5_000.0] * 16
    assert rate_per_s({"call_us": calls_us, "tokens_per_call": 1}) == pytest.approx(10_000)
    assert rate_per_s({"call_us": [1e6], "tokens_per_call": 512}) == pytest.approx(512)


def test_decode_is_held_against_q8_alone_and_prefill_against_the_faster_format() -> None:
    rates = {OURS: 300.0, LLAMA_Q8: 100.0, LLAMA_F16: 150.0}
    assert ratio_of(round_of("decode", rates), "decode") == 3.0
    assert ratio_of(round_of("prefill", rates), "prefill") == 2.0


def test_no_ratio_without_ours_or_without_a_rival() -> None:
    assert ratio_of(round_of("decode", {LLAMA_Q8: 100.0}), "decode") is None
    assert ratio_of(round_of("decode", {OURS: 100.0, RWKV: 1.0}), "decode") is None


def test_ratio_is_formed_inside_each_round_before_the_median() -> None:
    # The machine slows to a tenth in the second round: both medians mislead, the ratios agree.
    rounds = [
        round_of("decode", {OURS: 200.0, LLAMA_Q8: 100.0}),
        round_of("decode", {OURS: 20.0, LLAMA_Q8: 10.0}),
        round_of("decode", {OURS: 210.0, LLAMA_Q8: 100.0}),
    ]
    (row,) = rows_of(rounds)
    assert row.ratio == spread([2.0, 2.0, 2.1])
    assert row.rates[OURS].median == 200.0


def test_rows_keep_shapes_works_and_threads_apart() -> None:
    rounds = [
        round_of("decode", {OURS: 2.0}, "S", 1),
        round_of("decode", {OURS: 3.0}, "S", 2),
        round_of("prefill", {OURS: 4.0}, "S", 1),
        round_of("decode", {OURS: 5.0}, "L", 1),
    ]
    cells = [
        (row.shape, row.work, row.n_threads, row.rates[OURS].median) for row in rows_of(rounds)
    ]
    assert cells == [
        ("S", "decode", 1, 2.0), ("S", "decode", 2, 3.0),
        ("L", "decode", 1, 5.0), ("S", "prefill", 1, 4.0),
    ]  # fmt: skip


def test_share_of_bandwidth_is_of_decode_and_of_the_probe_as_large_as_the_weights() -> None:
    # 5 MB a token, 2,000 tokens/s: 10 GB/s of the 20 GB/s that the probe read.
    decode, prefill = rows_of(
        [round_of("decode", {OURS: 2_000.0, RWKV: 9.0}), round_of("prefill", {OURS: 9_000.0})]
    )
    assert decode.shares == {OURS: Spread(0.5, 0.5, 0.5, 1)}
    assert prefill.shares == {}


def test_table_shows_medians_ratio_quartiles_and_gaps() -> None:
    rows = rows_of(
        [
            round_of("decode", {OURS: 2_000.0, LLAMA_Q8_ALL: 1_000.0}),
            round_of("prefill", {LLAMA_F16: 30_000.0}),
        ]
    )
    assert table(rows).splitlines()[2:] == [
        "| decode | S | 1 | 2,000 | 1,000 | – | **2.00** (2.00–2.00) | 50% / 25% |",
        "| prefill | S | 1 | – | – | 30,000 | – | – |",
    ]


def test_commands_of_a_round_pair_every_engine_with_its_model(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, "ours", "llama", "rwkv")
    found = commands(plan, "S", 2)
    assert [(work, engine) for work, engine, _ in found] == [
        ("decode", OURS), ("decode", LLAMA_Q8), ("decode", LLAMA_Q8_ALL), ("decode", RWKV),
        *(("prefill", engine) for engine in (OURS, LLAMA_Q8, LLAMA_Q8_ALL, LLAMA_F16)),
    ]  # fmt: skip
    by_name = {(work, engine): command for work, engine, command in found}
    q8 = str(tmp_path / "models" / "S.q8_all.gguf")
    assert by_name["decode", OURS] == [
        *(sys.executable, "-m", "tools.peers.ours", "decode", q8, "2", "0.4")
    ]
    assert by_name["prefill", LLAMA_F16] == [
        str(plan.peers.llama_bench),
        *("prefill", str(tmp_path / "models" / "S.f16.gguf"), "2", "0.4", "512"),
    ]


def test_commands_leave_out_engines_that_were_not_asked_for(tmp_path: Path) -> None:
    engines = {engine for _, engine, _ in commands(plan_in(tmp_path, "llama"), "S", 1)}
    assert engines == {LLAMA_Q8, LLAMA_Q8_ALL, LLAMA_F16}


def test_build_commands_name_the_cpu_class_and_the_one_target(tmp_path: Path) -> None:
    configure, ninja = build.llama_commands(PeerFolder(tmp_path, "avx2"), 3)
    assert {"-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON"} < set(configure)
    assert ninja[-2:] == ["-j3", "llama"]
    assert "-DGGML_NATIVE=ON" in build.llama_commands(PeerFolder(tmp_path), 1)[0]


def test_bytes_per_token_counts_one_embedding_row_and_no_unread_tensor(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    shape = Shape.standard(2, 64)
    write_random_model(path, shape, matrix=TensorType.F32)
    embedding_rows_unread = 255 * 64
    assert bytes_per_token(path) == 4 * (shape.n_weights - embedding_rows_unread)


def test_driver_token_stream_is_that_of_the_c_driver() -> None:
    # 1664525 + 1013904223 = 0x3C88596C; its top byte is what llama_bench.c feeds first.
    assert list(islice(token_stream(), 3)) == [0x3C, 0x5E, 0x81]


def test_time_calls_warms_up_once_and_resets_before_every_call() -> None:
    fed, resets = [], []
    calls_us = time_calls(lambda tokens: fed.append(len(tokens)), 5, 0.0, lambda: resets.append(1))
    assert fed == [5, 5] and len(resets) == 2
    assert len(calls_us) == 1 and calls_us[0] > 0


def test_failing_driver_is_named_with_its_last_words() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such shape')"]
    with pytest.raises(PeerError, match=r"^ours, S: ended with code 1 \(no such shape\); run it"):
        run_driver(command, "ours, S", "native")


@pytest.mark.parametrize("cpu, seen", [("avx2", "avx2"), ("native", None)])
def test_driver_is_held_to_the_cpu_class_of_the_peer(
    cpu: str, seen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARROT_CPU", raising=False)
    code = "import json, os; print(json.dumps({'cpu': os.environ.get('PARROT_CPU')}))"
    assert run_driver([sys.executable, "-c", code], "ours", cpu) == {"cpu": seen}


def test_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PeerError, match=r"^cc: not found on PATH, expected a C compiler; install"):
        build.check_tools()


def test_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r": 1\.2 GB free, expected 4 GB for llama\.cpp"):
        build.check_disk(tmp_path, 1_200_000_000)


def test_wrong_cpu_class_is_named() -> None:
    with pytest.raises(PeerError, match=r"^--cpu avx2: this machine is aarch64"):
        build.check_cpu("avx2", "aarch64")
    build.check_cpu("avx2", "x86_64")


def test_download_without_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PeerError, match=r"pip could not download it \(.+\); check the network, or"):
        build.fetch(PeerFolder(tmp_path))


def test_damaged_download_is_named(tmp_path: Path) -> None:
    sdist = tmp_path / "x.tar.gz"
    sdist.write_bytes(b"cut short")
    with pytest.raises(PeerError, match=r"x\.tar\.gz: sha256 is [0-9a-f]{16}…, expected 832db069"):
        build.check_sdist(sdist, build.LLAMA_SHA256)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("--engines ours,vllm", "--engines: vllm, expected some of ours, llama, rwkv."),
        ("--shapes XXL", "--shapes: XXL, expected some of S, M, L, XL, XL64k."),
        ("--shapes ,", "--shapes: nothing, expected some of"),
        ("--threads 0", r"--threads: [0], expected 1 to"),
        ("--threads 10000", r"--threads: [10000], expected 1 to"),
        ("--rounds 0", "--rounds 0 --seconds 0.4: expected at least 1 round"),
    ],
)
def test_impossible_options_are_named_before_anything_is_built(
    arguments: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_peers.main([*arguments.split(), "--peers", str(tmp_path / "peers")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "peers").exists()


def test_realtime_without_the_right_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.sched_setscheduler", refuse)
    with pytest.raises(ConfigError, match=r"^--realtime: not permitted, expected root"):
        bench_peers.schedule_realtime()


def test_default_plan_is_all_shapes_seven_rounds_one_and_two_threads() -> None:
    args = bench_peers.parse([])
    assert (args.shapes, args.rounds, args.threads) == (list(SHAPES), 7, [1, 2])
    assert args.engines == ["ours", "llama"]


def test_machine_is_described_in_json() -> None:
    assert json.loads(json.dumps(bench_peers.machine()))["cores"] >= 1


def test_config_error_carries_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bench_peers.check(plan_in(tmp_path, "vllm"))
    assert caught.value.key == "--engines"
