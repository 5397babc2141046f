"""Memory plans against what runs take, weights that go behind the reader, budgets."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lora_writers import write_lora

from ltx2cpp import Foley, LoraSpec, LTX2Pipeline, ModelFiles, _core
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.memory.plan import WHOLE
from ltx2cpp.networks import backend
from ltx2cpp.observing import PhaseRecorder

CLIP: dict[str, Any] = {"width": 96, "height": 64, "num_frames": 17, "seed": 5}
testing: Any = getattr(_core, "_testing", None)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/smaps")


def open_pipe(fixture_a: Path, **options: Any) -> LTX2Pipeline:
    files = ModelFiles(
        fixture_a / "ltx-2.3-tiny.safetensors",
        text_encoder=fixture_a / "gemma-3-tiny",
        spatial_upsampler=fixture_a / "ltx-2.3-tiny-spatial-upscaler-x2.safetensors",
        variant="distilled",
    )
    return LTX2Pipeline(files, device="cpu", threads=2, **options)


def mapped_bytes(path: Path) -> int | None:
    """Return the resident pages of a mapped file, or None where it is not mapped."""
    found, total = False, 0
    name = re.compile(rf"\s{re.escape(str(path.resolve()))}$")
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = bool(name.search(line))
            found |= inside
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total if found else None


@pytest.mark.parametrize("mode", ["stream", "disk"])
def test_weights_that_go_behind_the_reader_change_no_bit(fixture_a: Path, mode: str) -> None:
    outputs = []
    for offload in ("phase", mode):
        with open_pipe(fixture_a, offload=offload) as pipe:
            context = pipe.encode_prompt("a red boat")
            clip = pipe(context, **CLIP, num_inference_steps=2, sigmas=(1.0, 0.5, 0.0))
            outputs.append((context.video, context.audio, clip.video, clip.audio))
    for usual, streamed in zip(*outputs, strict=True):
        assert np.array_equal(usual, streamed)


@pytest.mark.parametrize("mode", ["stream", "disk"])
def test_converted_weights_are_not_streamed(fixture_a: Path, mode: str) -> None:
    with (
        open_pipe(fixture_a, offload=mode, weight_type="f32") as pipe,
        pytest.raises(ArgumentError, match=r"^offload: weights that are converted .* are \d+ %;"),
    ):
        pipe("a red boat", **CLIP)


@linux
def test_streamed_pages_leave_the_process(fixture_a: Path) -> None:
    resident = {}
    for offload in ("none", "stream"):
        with open_pipe(fixture_a, offload=offload) as pipe:
            pipe.encode_prompt("a red boat")
            resident[offload] = mapped_bytes(fixture_a / "gemma-3-tiny" / SHARD)
    assert resident["none"] and resident["stream"] is not None
    assert resident["stream"] < 0.2 * resident["none"]


SHARD = "model-00001-of-00002.safetensors"


@linux
def test_components_are_freed_after_their_phase(fixture_a: Path) -> None:
    with open_pipe(fixture_a, offload="phase") as pipe:
        clip = pipe(**CLIP, prompt="a red boat")
        assert clip.video is not None
        assert mapped_bytes(fixture_a / "gemma-3-tiny" / SHARD) is None
        assert mapped_bytes(fixture_a / "ltx-2.3-tiny.safetensors") is None


def test_a_plan_gives_the_buffers_that_the_run_allocates(fixture_a: Path) -> None:
    with open_pipe(fixture_a) as pipe:
        ids = pipe.tokenize("a red boat")
        prompts = pipe.networks.prompt_encoder
        planned = [prompts.measure_encoder(len(ids)), *prompts.measure_connectors(len(ids))]
        features = prompts.features("a red boat")
        prompts.connect("a red boat", features)
        prompts.open()
        prompts.open_connectors()
        encoder = prompts._encoder.draft()
        connector = prompts._connectors["video"].draft()
        assert encoder.activation_bytes == planned[0].activation_bytes
        assert connector.activation_bytes == planned[1].activation_bytes

        latent = np.zeros((16, 5, 2, 3), np.float32)
        pipe.networks.video_decoder.open()
        decoder = pipe.networks.video_decoder._decoder.draft()
        for chunk in (None, 1, 2):
            stream = decoder.stream(latent, chunk_latents=chunk)
            frames = sum(len(each) for each in stream)
            assert frames == 33
            assert (
                stream.activation_bytes == decoder.measure(latent.shape, chunk)["activation_bytes"]
            )
            assert stream.state_bytes == decoder.measure(latent.shape, chunk)["state_bytes"]


def test_modulation_and_blocks_are_parts_of_their_own(fixture_a: Path) -> None:
    with open_pipe(fixture_a) as pipe:
        streams = _core.StreamShape(24, 64), _core.StreamShape(8, 64)
        needs = pipe.networks.transformer.measure(pipe.models, *streams)
        parts: dict[str, int] = {}
        for name, weight in pipe.models.require("transformer").tensors.items():
            part = ".".join(name.split(".")[:2]) if name.startswith("transformer_blocks") else ""
            parts[part] = parts.get(part, 0) + weight.info.size_bytes
    assert 0 < needs.mapped_part_bytes <= max(parts.values())


@pytest.mark.skipif(testing is None, reason="the extension was built without LTX2CPP_TESTING")
def test_slots_are_counted_where_weights_are_streamed(
    fixture_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_core, "Device", functools.partial(testing.open_device, weight_slots=2))
    with open_pipe(fixture_a) as pipe:
        streams = _core.StreamShape(24, 64), _core.StreamShape(8, 64)
        needs = pipe.networks.transformer.measure(pipe.models, *streams)
        stored = pipe.models.require("transformer").size_bytes
        decoder = pipe.networks.video_decoder.measure((16, 3, 2, 3), WHOLE)
    assert needs.mapped_part_bytes < needs.slot_bytes < stored
    # Its layers run from the device's own memory.
    assert decoder.slot_bytes == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_threads_are_the_cores_that_the_process_may_use() -> None:
    usable = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(usable)})
        assert _core.Device("cpu").threads == 1
    finally:
        os.sched_setaffinity(0, usable)


def test_a_plan_names_the_phases_of_the_run(fixture_a: Path) -> None:
    recorder = PhaseRecorder()
    picture = np.full((64, 96, 3), 128, np.uint8)
    request: dict[str, Any] = {**CLIP, "width": 128, "two_stage": True, "images": [picture]}
    with open_pipe(fixture_a, observer=recorder) as pipe:
        plan = pipe.memory_plan("a red boat", **request)
        assert not recorder.phases
        pipe("a red boat", **request)
    ran = [phase.name for phase in recorder.phases if not phase.name.startswith("load ")]
    assert [phase.name for phase in plan.phases] == ran
    assert plan.seconds is not None and plan.seconds > 0
    assert all(phase.peak_bytes > 0 for phase in plan.phases)


def test_a_plan_decodes_no_pictures_that_are_given(fixture_a: Path) -> None:
    recorder = PhaseRecorder()
    request: dict[str, Any] = {"conditions": Foley(np.full((17, 64, 96, 3), 99, np.uint8))}
    with open_pipe(fixture_a, observer=recorder) as pipe:
        plan = pipe.memory_plan("a red boat", **request)
        pipe("a red boat", **request, num_inference_steps=1)
    ran = [phase.name for phase in recorder.phases if not phase.name.startswith("load ")]
    assert [phase.name for phase in plan.phases] == ran
    assert "encode pictures" in ran and "decode video" not in ran
    assert all(phase.host_bytes > 17 * 64 * 96 * 3 for phase in plan.phases)


def test_a_plan_leaves_a_loaded_transformer_alone(fixture_a: Path, tmp_path: Path) -> None:
    """The first stage of the plan has another LoRA than the transformer that is loaded."""
    lora = tmp_path / "lora.safetensors"
    write_lora(lora, fixture_a / "ltx-2.3-tiny.safetensors", rank=2, seed=1)
    with open_pipe(fixture_a, loras=[LoraSpec(lora, stage=1)]) as pipe:
        large = {**CLIP, "width": 192, "height": 128, "two_stage": True}
        pipe("a red boat", **large, output="latents")
        loaded = pipe.networks.transformer._network._network
        assert loaded is not None
        plan = pipe.memory_plan("a red boat", **large)
        assert [phase.name for phase in plan.phases if "denoise" in phase.name] == [
            "denoise, stage 1",
            "denoise, stage 2",
        ]
        assert pipe.networks.transformer._network._network is loaded
        sound = pipe.memory_plan("a red boat", video=False)
        assert sound.phases and pipe.networks.transformer._network._network is loaded


def test_the_peak_is_measured_once(fixture_a: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_peaks", {("cpu", 2): (1e12, 1e10)})
    with open_pipe(fixture_a) as pipe:
        phases = pipe.memory_plan("a red boat", **CLIP).phases
    assert [phase.seconds for phase in phases] == [phase.flop / 0.5e12 for phase in phases]


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_runs(fixture_a: Path) -> None:
    recorder = PhaseRecorder()
    with (
        open_pipe(fixture_a, max_memory=0.01, observer=recorder) as pipe,
        pytest.raises(DeviceMemoryError, match=r"needs .* GiB and max_memory allows 0\.01 GiB"),
    ):
        pipe("a red boat", **CLIP)
    assert not recorder.phases


def test_a_budget_makes_the_decoder_work_in_smaller_pieces(fixture_a: Path) -> None:
    large = {"width": 512, "height": 512, "num_frames": 121}
    with open_pipe(fixture_a) as pipe:
        usual = pipe.memory_plan("a red boat", **large)
    others = max(phase.peak_bytes for phase in usual.phases[:-1])
    assert usual.largest.name == "decode video"
    budget = (others + usual.peak_bytes) / 2 / (1 << 30)
    with open_pipe(fixture_a, max_memory=budget) as pipe:
        plan = pipe.memory_plan("a red boat", **large)
    assert plan.fits and plan.chunk_latents is not None
    assert plan.peak_bytes < usual.peak_bytes


def test_plan_command_prints_phases_and_keeps_a_budget(
    fixture_a: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, encoder = fixture_a / "ltx-2.3-tiny.safetensors", fixture_a / "gemma-3-tiny"
    words = ["a red boat", "-m", str(checkpoint), "--text-encoder", str(encoder)]
    words += ["-W", "96", "-H", "64", "--num-frames", "17", "--device", "cpu"]
    assert main(["plan", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("phase", "weights", "mapped", "compute", "host", "other", "peak", "time")
    ]
    assert lines[1].startswith("encode prompt") and lines[-1] == "device cpu, offload phase"
    assert main(["plan", *words, "-o", "boat.mp4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] is True
    assert not Path("boat.mp4").exists()
    assert main(["plan", *words, "--max-memory", "0.01"]) == 4
    assert "needs" in capsys.readouterr().err


def test_the_first_command_of_the_readme_can_be_planned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompt = "a red circle moves right on a blue background"
    assert main(["plan", prompt, "-o", "demo.mp4", "--device", "cpu"]) == 0
    assert "decode video" in capsys.readouterr().out
