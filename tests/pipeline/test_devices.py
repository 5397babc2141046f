"""The parts of a model on devices of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ltx2cpp import Devices, LTX2Pipeline, _core
from ltx2cpp.errors import ArgumentError
from ltx2cpp.networks import backend

CLIP: dict[str, Any] = {"num_frames": 9, "seed": 1, "num_inference_steps": 2}
PROMPT = "a red circle moves right on a blue background"


def test_a_text_puts_parts_on_devices() -> None:
    placed = Devices.spelled("decode=cuda:1,encode=cpu")
    assert placed == Devices("cpu", "auto", "cuda:1")
    assert Devices.spelled(str(placed)) == placed
    several = Devices.spelled("encode=cpu,denoise=cuda:0+cuda:1")
    assert several == Devices("cpu", "cuda:0", guidance=("cuda:1",))
    assert Devices.spelled(str(several)) == several and str(Devices.spelled("a+b")) == "a+b"
    assert Devices.spelled("cpu") == Devices("cpu", "cpu", "cpu") and str(Devices()) == "auto"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("encode=cpu,draw=cpu", r"one of encode, denoise, decode as PART, found 'draw=cpu'"),
        ("encode=cpu,cpu", r"found 'cpu'"),
        ("encode=cpu,encode=cuda", r"encode is given twice"),
        ("encode=", r"expected the name of a device to encode on, found ''"),
        ("encode=cpu=1", r"expected the name of a device to encode on, found 'cpu=1'"),
        ("encode=cpu+cpu", r"expected the name of a device to encode on, found 'cpu\+cpu'"),
        ("encode=tpu:7", r"encode=tpu:7: device 'tpu:7' is not one of this build and machine: "),
    ],
)
def test_what_names_no_device_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        LTX2Pipeline.demo(text)


def test_latents_are_those_of_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part computes on its own device."""
    devices: dict[str, Any] = {}
    open_device = _core.Device

    def named(name: str, threads: int | None) -> Any:
        # Whatever their names, they are devices of their own on this CPU.
        return devices.setdefault(name, open_device("cpu", threads))

    def worked() -> set[str]:
        return {name for name, device in devices.items() if device.take_profile()}

    with LTX2Pipeline.demo("cpu", threads=1) as pipe:
        alone = pipe(PROMPT, **CLIP)
    monkeypatch.setattr(backend._core, "Device", named)
    with LTX2Pipeline.demo(device=Devices("first", "second", "third"), threads=1) as pipe:
        for device in devices.values():
            device.start_profile()
        stream = pipe.stream(PROMPT, **CLIP)
        assert worked() == {"first", "second"}
        devices["third"].start_profile()
        video = np.concatenate(list(stream))
        assert worked() == {"third"}
    assert np.array_equal(stream.video_latent, alone.video_latent)
    assert np.array_equal(video, alone.video)
