# SPDX-License-Identifier: Apache-2.0
"""What a GPU that is not there, too old, too small or lost says: one sentence each, emulated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parrot.app.cli import main
from parrot.base.errors import ConfigError, DeviceMissing, EngineError, FileError, FormatError
from parrot.engine import cuda_library
from parrot.engine.cuda import CudaModel
from parrot.engine.model import Model
from parrot.model.random_model import write_random_model
from parrot.model.shape import Shape
from tests.unit.cuda_lives import handles

TINY = Shape(
    n_layer=1, n_embd=32, head_size=16, n_ffn=64, n_vocab=256,
    rank_w=4, rank_a=4, rank_v=4, rank_g=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_random_model(path, TINY)
    return path


@pytest.fixture
def gpu(emulated: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PARROT_CUDA", str(emulated))
    return monkeypatch


def test_no_library(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARROT_CUDA", str(tmp_path / "libparrot_cuda.so"))
    with pytest.raises(DeviceMissing, match=r"so: not there.*make cuda.*--device cpu\.$") as caught:
        Model.open(path, device="cuda")
    assert caught.value.device == "cuda"
    monkeypatch.delenv("PARROT_CUDA")
    assert cuda_library.library_path().parent == Path(cuda_library._native.__file__).parent


def test_no_library_but_another_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.so").write_bytes(b"not a library")
    monkeypatch.setenv("PARROT_CUDA", str(tmp_path / "wrong.so"))
    with pytest.raises(DeviceMissing, match="cannot be loaded: "):
        Model.open(path, device="cuda")


def test_library_of_another_version(path: Path, gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(cuda_library, "VERSION", 3)
    with pytest.raises(DeviceMissing, match="interface 2, expected 3; build it again"):
        Model.open(path, device="cuda")


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "CPU"])
def test_unknown_devices(path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="expected cpu, cuda or cuda:N") as caught:
        Model.open(path, device=device)
    assert caught.value.key == "device"


@pytest.mark.parametrize(
    ("asked", "device", "says"),
    [
        ("driver=0", "cuda:0", "cuda:0: no NVIDIA driver answers here; install one"),
        ("driver=12040", "cuda", r"the driver speaks CUDA 12\.4, expected 13\.0 or newer; update"),
        ("gpus=0", "cuda", "the driver sees no GPU; check CUDA_VISIBLE_DEVICES"),
        ("gpus=2", "cuda:2", "cuda:2: not there, this machine has cuda:0 to cuda:1; choose"),
        ("capability=75", "cuda", r"emulated GPU has compute capability 7\.5, expected 8\.0"),
        (
            "code=0",
            "cuda",
            r"no code for emulated GPU, compute capability 9\.0; build",
        ),
    ],
    ids=["no-driver", "old-driver", "no-gpu", "no-such-gpu", "old-gpu", "no-code"],
)
def test_gpus_that_cannot_run_it(
    asked: str, device: str, says: str, path: Path, gpu: pytest.MonkeyPatch
) -> None:
    gpu.setenv("PARROT_EMULATED_GPU", asked)
    with pytest.raises(DeviceMissing, match=says) as caught:
        Model.open(path, device=device)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_too_little_memory_at_open(path: Path, gpu: pytest.MonkeyPatch) -> None:
    gpu.setenv("PARROT_EMULATED_GPU", "memory=1")
    with pytest.raises(EngineError, match=r"cuda:0: 1 MB free, this model needs \d+ MB; close"):
        Model.open(path, device="cuda")


def test_memory_that_others_take_while_it_opens(path: Path, gpu: pytest.MonkeyPatch) -> None:
    gpu.setenv("PARROT_EMULATED_GPU", "memory=100,taken=99")
    with pytest.raises(EngineError, match=r"cuda:0: 1 MB free, this model needs \d+ MB; close"):
        Model.open(path, device="cuda")
    gpu.setenv("PARROT_EMULATED_GPU", "pinned=0")
    with pytest.raises(EngineError, match=r"no \d MB of this machine's own memory .*; close"):
        Model.open(path, device="cuda")
    gpu.delenv("PARROT_EMULATED_GPU")
    Model.open(path, device="cuda")


def test_too_little_memory_for_a_batch_stops_it_before_anybody_lives(
    path: Path, gpu: pytest.MonkeyPatch
) -> None:
    gpu.setattr("parrot.engine.cuda.ROWS_MAX", 2)
    model = Model.open(path, device="cuda")
    states = [model.new_state() for _ in range(3)]
    model.forward_batch(b"ab", states[:2])
    gpu.setenv("PARROT_EMULATED_GPU", "memory=1")
    with pytest.raises(EngineError, match="no memory left on the GPU while making a state"):
        model.forward_batch(b"cde", states)
    gpu.delenv("PARROT_EMULATED_GPU")
    assert [state.position for state in states] == [1, 1, 0]
    alone = model.new_state()
    model.forward(b"a", alone)
    assert np.abs(states[0].payload - alone.payload).max() < 1e-4


def test_code_for_an_older_gpu_does_not_overlap(path: Path, gpu: pytest.MonkeyPatch) -> None:
    expected = Model.open(path, threads=1)
    gpu.setenv("PARROT_EMULATED_GPU", "code=80")  # compiled for 9.0 by its driver
    model = Model.open(path, device="cuda")
    logits = model.forward(b"abc", model.new_state(), every=True)
    assert np.abs(logits - expected.forward(b"abc", expected.new_state(), every=True)).max() < 1e-4


def test_a_small_model_leaves_a_wide_one_its_shared_memory(
    path: Path, tmp_path: Path, gpu: pytest.MonkeyPatch
) -> None:
    wide = Shape(
        n_layer=1, n_embd=16, head_size=16, n_ffn=16_384, n_vocab=256,
        rank_w=1, rank_a=1, rank_v=1, rank_g=1,
    )  # fmt: skip
    write_random_model(tmp_path / "wide", wide)
    cuda = CudaModel(tmp_path / "wide", "cuda", plain=True)
    CudaModel(path, "cuda", plain=True)
    life, out = cuda.new_life(), np.zeros((1, 256), np.float32)
    one = np.ones(1, np.int32)
    cuda._forward(one, handles([life]), one, 1, out)
    assert out.any()


def test_too_little_memory_for_a_state(path: Path, gpu: pytest.MonkeyPatch) -> None:
    model = Model.open(path, device="cuda")
    state = model.new_state()
    gpu.setenv("PARROT_EMULATED_GPU", "memory=1")
    with pytest.raises(EngineError, match="no memory left on the GPU while making a state"):
        model.forward(b"a", state)
    gpu.delenv("PARROT_EMULATED_GPU")
    model.forward(b"a", state)  # memory can come back: nothing is lost
    assert state.position == 1


def test_a_model_too_wide_for_the_gpu(tmp_path: Path, gpu: pytest.MonkeyPatch) -> None:
    wide = Shape(
        n_layer=1, n_embd=16, head_size=16, n_ffn=65_536, n_vocab=16,
        rank_w=1, rank_a=1, rank_v=1, rank_g=1,
    )  # fmt: skip
    write_random_model(tmp_path / "wide", wide)
    with pytest.raises(DeviceMissing, match="needs 262272 bytes of shared memory a block"):
        CudaModel(tmp_path / "wide", "cuda")


def test_files_that_are_no_models(tmp_path: Path, gpu: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_bytes(b"not a model at all")
    with pytest.raises(FormatError):
        CudaModel(tmp_path / "text", "cuda")
    with pytest.raises(FileError, match="cannot be opened"):
        CudaModel(tmp_path / "none", "cuda")


# ---- a GPU that disappears. Launches of a byte: the embedding, five a layer, the head.

LAUNCHES = 1 + 5 * TINY.n_layer + 1


@pytest.mark.parametrize("dies_after", [0, 1, LAUNCHES - 1])
def test_a_lost_gpu_leaves_the_last_state_that_came_back(
    dies_after: int, path: Path, gpu: pytest.MonkeyPatch
) -> None:
    model, cpu = Model.open(path, device="cuda"), Model.open(path, threads=1)
    state, other, twin = model.new_state(), model.new_state(), cpu.new_state()
    model.forward(b"a", state)
    model.forward(b"x", other)
    kept = state.to_bytes()
    model.forward(b"b", state)
    gpu.setenv("PARROT_EMULATED_GPU", f"dies={3 * LAUNCHES + dies_after}")
    with pytest.raises(DeviceMissing, match="cuda:0: the GPU stopped answering while living: "):
        model.forward(b"c", state)
    assert state.position == 1 and state.logits is None
    assert state.to_bytes() == kept
    gpu.delenv("PARROT_EMULATED_GPU")
    for call in (
        lambda: other.payload,
        lambda: model.forward(b"c", state),
        lambda: model.forward_batch(b"cd", [state, other]),
        lambda: model.forward(b"c", model.new_state()),
    ):
        with pytest.raises(DeviceMissing, match="stopped answering in an earlier call; open the"):
            call()
    assert other.position == 0 and not other.payload.any()  # it had never come back
    again = Model.open(path, device="cuda")  # the machine was started again
    moved = again.state_from_bytes(kept)
    cpu.forward(b"a", twin)
    assert np.abs(again.forward(b"b", moved) - cpu.forward(b"b", twin)).max() < 1e-4


def test_a_gpu_lost_in_the_middle_of_a_reply(path: Path, gpu: pytest.MonkeyPatch) -> None:
    model = Model.open(path, device="cuda")
    state = model.new_state()
    model.forward(b"hello", state)
    kept = state.to_bytes()
    said = model.generate(state, b"", max_bytes=100, stop=b"", temperature=1.0, top_p=1.0)
    assert len(next(said)) > 1
    gpu.setenv("PARROT_EMULATED_GPU", "dies=1")
    with pytest.raises(DeviceMissing, match="stopped answering while speaking"):
        next(said)
    assert state.to_bytes() == kept and state.position == 5


def test_a_reply_that_is_cut_off_says_why_not_what_came_of_it(
    path: Path, gpu: pytest.MonkeyPatch
) -> None:
    model = Model.open(path, device="cuda")
    for prompt in (b"hello", b""):  # with one the reply begins in the first call
        state = model.new_state()
        if not prompt:
            model.forward(b"hello", state)
        said = model.generate(state, prompt, max_bytes=100, temperature=3.0, top_p=1.0)
        gpu.setenv("PARROT_EMULATED_GPU", "dies=1")
        with pytest.raises(DeviceMissing, match="stopped answering while speaking") as caught:
            list(said)
        assert caught.value.__context__ is None
        gpu.delenv("PARROT_EMULATED_GPU")
        model = Model.open(path, device="cuda")


def test_a_gpu_lost_while_the_state_comes_back(path: Path, gpu: pytest.MonkeyPatch) -> None:
    model = Model.open(path, device="cuda")
    state, other = model.new_state(), model.new_state()
    model.forward(b"ab", state)
    gpu.setenv("PARROT_EMULATED_GPU", "dies=1")
    with pytest.raises(DeviceMissing):
        model.forward(b"c", other)
    with pytest.raises(DeviceMissing):
        state.to_bytes()
    assert state.position == 0 and not state.payload.any()


def test_the_real_library_without_a_driver(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARROT_CUDA", raising=False)
    if not cuda_library.library_path().exists():
        pytest.skip("libparrot_cuda.so is not built here; make cuda builds it")
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has an NVIDIA driver")
    with pytest.raises(DeviceMissing, match="no NVIDIA driver answers here; install one"):
        Model.open(path, device="cuda")


# ---- the commands


def run(
    path: Path, library: Path, *args: str, device: str = "cuda:0", **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parrot", *args, "--model", str(path), "--device", device],
        env={**os.environ, "PARROT_CUDA": str(library), **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_chat_and_bench_run_there(path: Path, emulated: Path) -> None:
    said = run(path, emulated, "chat", "--fresh", "--once", "hi", "--max-bytes", "6", "--seed", "1")
    assert said.returncode == 0, said.stderr
    bench = run(path, emulated, "bench", "--rounds", "1")
    assert bench.returncode == 0, bench.stderr
    assert "cuda, emulated GPU" in bench.stdout


def test_commands_say_one_sentence_and_exit_1(path: Path, emulated: Path) -> None:
    for command in (["chat", "--fresh", "--once", "hi"], ["bench", "--rounds", "1"]):
        failed = run(path, emulated, *command, PARROT_EMULATED_GPU="gpus=0")
        assert failed.returncode == 1
        assert failed.stderr.strip().endswith("or use --device cpu.")
        assert "Traceback" not in failed.stderr


def test_a_talk_goes_on_after_its_gpu_was_lost(path: Path, emulated: Path, tmp_path: Path) -> None:
    talk = ("chat", "--soul", str(tmp_path / "soul.db"), "--max-bytes", "40", "--once")
    first = run(path, emulated, *talk, "hi")
    assert first.returncode == 0, first.stderr
    lost = run(path, emulated, *talk, "who are you", PARROT_EMULATED_GPU="dies=150")
    assert lost.returncode == 1
    assert "stopped answering" in lost.stderr and "Traceback" not in lost.stderr
    assert len(lost.stderr.strip().splitlines()) == 1
    after = run(path, emulated, *talk, "and now?")
    assert after.returncode == 0, after.stderr
    shown = run(path, emulated, *talk, "and on the CPU?", device="cpu")
    assert shown.returncode == 0, shown.stderr


def organ(name: str, path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    main(["doctor", "--json", "--model", str(path), "--device", "cuda"])
    organs = json.loads(capsys.readouterr().out)["organs"]
    return next(found for found in organs if found["organ"] == name)


def test_the_doctor_names_the_gpu(
    path: Path, gpu: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = organ("gpu", path, capsys)
    assert found["is_well"]
    assert "emulated" in str(found["says"])
    gpu.setenv("PARROT_CUDA", "/none.so")
    assert "make cuda" in str(organ("gpu", path, capsys)["says"])
    gpu.setenv("PARROT_CUDA", __file__)
    ill = organ("gpu", path, capsys)
    assert not ill["is_well"]
    assert "cannot be loaded" in str(ill["says"])


TWO = """
import sys
from parrot.engine.model import Model
model = Model.open(sys.argv[1], device="cuda")
state, token = model.new_state(), 65
print("open", flush=True)
sys.stdin.readline()
for _ in range(40):
    token = int(model.forward([token], state).argmax())
    print(token, end=" ")
"""


def test_two_processes_share_one_gpu(path: Path, gpu: pytest.MonkeyPatch) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"  # both hold the model before either speaks
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in both]
    assert said[0] == said[1]
    assert len(said[0][0].split()) == 40
