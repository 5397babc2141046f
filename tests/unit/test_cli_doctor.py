"""``ltx2cpp-cli doctor`` on devices that are well and others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ltx2cpp import _core
from ltx2cpp.cli import checkup
from ltx2cpp.cli.checkup import check_devices, demo_clip, red_motion
from ltx2cpp.cli.main import main
from ltx2cpp.errors import BackendError, Cancelled
from ltx2cpp.observing import Observer
from ltx2cpp.output import GenerationOutput


@pytest.fixture(scope="module")
def clip() -> GenerationOutput:
    return demo_clip("cpu", Observer())


def changed(clip: GenerationOutput, latents: float = 0.0, levels: int = 0) -> GenerationOutput:
    """A clip whose latents differ by a share of their size, and its pictures by levels."""
    assert clip.video is not None and clip.video_latent is not None
    size = np.sqrt(np.mean(np.square(clip.video_latent)))
    video = np.where(clip.video > 127, clip.video - levels, clip.video + levels).astype(np.uint8)
    return replace(clip, video=video, video_latent=clip.video_latent + np.float32(latents * size))


def test_the_demo_clip_of_this_cpu_is_well(clip: GenerationOutput) -> None:
    (verdict,) = check_devices(["cpu"], lambda _: clip)
    assert verdict.problem is None and verdict.latent_error is None
    assert clip.video is not None and red_motion(clip.video) > 1.5 * checkup.MIN_MOTION
    assert red_motion(clip.video[::-1]) < 0
    assert red_motion(clip.video[..., [1, 0, 2]]) == 0


def test_a_clip_of_other_content_is_not_well(clip: GenerationOutput) -> None:
    assert clip.video is not None
    (verdict,) = check_devices(["cpu"], lambda _: replace(clip, video=clip.video[:1]))
    assert verdict.problem is not None and "the red moves 0.0 pixels" in verdict.problem


@pytest.mark.parametrize(
    ("latents", "levels", "is_well"),
    [(0.01, 0, True), (0.04, 1, True), (0.06, 0, False), (0.0, 2, False), (np.nan, 0, False)],
)
def test_a_device_may_round_and_no_more(
    clip: GenerationOutput, latents: float, levels: int, is_well: bool
) -> None:
    clips = {"cpu": clip, "cuda:0": changed(clip, latents, levels)}
    own, other = check_devices(["cpu", "cuda:0"], clips.__getitem__)
    assert own.problem is None
    assert (other.problem is None) == is_well
    assert other.picture_error == pytest.approx(levels)


def test_a_device_that_fails_keeps_no_other(clip: GenerationOutput) -> None:
    def make(name: str) -> GenerationOutput:
        if name == "cuda:0":
            raise BackendError("no kernel image")
        return clip

    verdicts = check_devices(["cpu", "cuda:0", "cuda:1"], make)
    assert [each.problem for each in verdicts] == [None, "made no clip: no kernel image", None]

    def stop(_: str) -> GenerationOutput:
        raise Cancelled("interrupted")

    with pytest.raises(Cancelled):
        check_devices(["cpu"], stop)


def pretend(monkeypatch: pytest.MonkeyPatch, clips: dict[str, GenerationOutput]) -> None:
    (cpu,) = (device for device in _core.devices() if device["name"] == "cpu")
    # The CPU comes first however devices are listed.
    listed = [{**cpu, "name": name} for name in sorted(clips, reverse=True)]
    monkeypatch.setattr("ltx2cpp._core.devices", lambda: listed)
    monkeypatch.setattr("ltx2cpp.cli.checkup.demo_clip", lambda name, _: clips[name])


def test_doctor_prints_what_is_there(
    clip: GenerationOutput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, {"cpu": clip, "cuda:0": changed(clip, 0.001)})
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line.split(":")[0] for line in lines]
    assert lines[0].startswith("ltx2cpp ")
    assert {"commit", "packages", "memory", "disk of this folder", "device cpu"} < set(told)
    assert told[-2:] == ["demo clip on cpu", "demo clip on cuda"]
    assert "shows what its prompt says" in lines[-2]
    assert "as the CPU's; latents differ by 0.001 of their size, pictures by 0 of" in lines[-1]


def test_doctor_ends_in_an_error_where_a_device_is_not_well(
    clip: GenerationOutput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, {"cpu": clip, "cuda:0": changed(clip, 0.5)})
    assert main(["doctor", "--json"]) == 1
    printed = capsys.readouterr()
    assert "error: cuda:0: its clip differs from the CPU's: latents by 0.5 of" in printed.err
    report: dict[str, Any] = json.loads(printed.out)
    assert [each["device"] for each in report["clips"]] == ["cpu", "cuda:0"]
    assert report["free_disk_bytes"]["this folder"] > 0 and report["packages"]["numpy"]
