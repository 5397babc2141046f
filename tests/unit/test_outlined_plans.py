"""Plans that nobody runs: given clips are outlined, and all is settled as for a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.plan_cases import DISTILLED

from ltx2cpp import media
from ltx2cpp.conditioning import (
    AudioCondition,
    Extend,
    Foley,
    ReferenceVideo,
    Retake,
    VideoCondition,
)
from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.generation.plan import Plan
from ltx2cpp.generation.settle import settle
from ltx2cpp.media import clips
from ltx2cpp.values import Audio

SIZE = {"width": 64, "height": 64, "num_frames": 17}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 25 per second, with sound."""
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    frames = np.random.default_rng(1).integers(0, 255, (30, 66, 98, 3), np.uint8)
    sound = Audio(np.full((2, 19200), 0.25, np.float32), 16000)
    media.save_video(path, [frames], frame_rate=25, audio=sound)
    return path


def calls(path: Path) -> list[dict[str, Any]]:
    return [
        {**SIZE, "conditions": [VideoCondition(path)]},
        {**SIZE, "conditions": [ReferenceVideo(path, temporal_scale=2, audio=path)]},
        {"conditions": [Retake(path)]},
        {"conditions": [Extend(path, -1.0)]},
        {"conditions": [Foley(path)]},
        {**SIZE, "audio_condition": AudioCondition(path, start_s=0.5)},
    ]


@pytest.mark.parametrize("index", range(6))
def test_outlines_settle_as_clips_do(
    clip: Path, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    arguments: Any = calls(clip)[index]
    run = settle("a bell", arguments, DISTILLED)
    monkeypatch.setattr(clips, "decode_packets", first_only(clips.decode_packets))
    outlined = settle("a bell", arguments, DISTILLED, outlined=True)
    assert shapes(outlined) == shapes(run)


def first_only(decode: Any) -> Any:
    def decoded(*given: Any) -> Iterator[Any]:
        yield next(decode(*given))
        pytest.fail("a second frame was asked for")

    return decoded


def shapes(plan: Plan) -> list[Any]:
    items = plan.stages[0].placements.items
    sounds = [*(item.audio for item in items), plan.sound]
    given = plan.finish.given_frames
    return [
        plan.decoded_shape,
        None if given is None else given.shape,
        [(item.kind, item.frames.shape, item.frame) for item in items],
        # In tokens of 40 ms; packets do not say how long the decoded sound is to the sample.
        [sound and round(25 * sound.samples.shape[1] / sound.sample_rate) for sound in sounds],
    ]


def test_outlines_refuse_what_clips_do(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late: Any = {**SIZE, "conditions": [Retake(clip, start_s=9.0)]}
    too_late: Any = {**SIZE, "audio_condition": AudioCondition(clip, start_s=60.0)}
    for arguments in (late, too_late):
        problems = set()
        for outlined in (False, True):
            with pytest.raises(ArgumentError) as refused:
                settle("a bell", arguments, DISTILLED, outlined=outlined)
            problems.add(str(refused.value).partition(" lasts ")[0])
        assert len(problems) == 1
    monkeypatch.setattr(clips, "available_bytes", lambda: 1)
    with pytest.raises(DeviceMemoryError, match="30 frames of 98 x 66"):
        settle("a bell", {"conditions": [Extend(clip, 1.0)]}, DISTILLED, outlined=True)
