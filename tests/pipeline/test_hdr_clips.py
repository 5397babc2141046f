"""Clips in high dynamic range on the tiny LTX-2.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.lora_writers import write_lora

from ltx2cpp import (
    Extend,
    Foley,
    LoraSpec,
    LTX2Pipeline,
    ModelFiles,
    ReferenceVideo,
    Retake,
    VideoCondition,
)
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.presets import find_preset
from ltx2cpp.generation.settle_hdr import settle_hdr
from ltx2cpp.media import Hdr, HdrCurve, HdrSpace, color_curves, read_exr, to_codes
from ltx2cpp.sampling.choice import decoder_seed

OpenEXR: Any = pytest.importorskip("OpenEXR", reason="HDR needs the package OpenEXR (extra hdr)")

SIZE = {"width": 64, "height": 64, "num_frames": 9, "num_inference_steps": 2, "seed": 4}


@pytest.fixture(scope="module")
def files(fixture_c: Path) -> ModelFiles:
    return ModelFiles(
        transformer=fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=fixture_c / "gemma4-tiny-with-proj.safetensors",
        video_vae=fixture_c / "ltx-2.5-tiny-video-vae-conv.safetensors",
        audio_vae=fixture_c / "ltx-2.5-tiny-audio-vae.safetensors",
        variant="distilled",
    )


@pytest.fixture(scope="module")
def pipe(files: ModelFiles) -> Iterator[LTX2Pipeline]:
    with LTX2Pipeline(files, device="cpu", threads=2) as opened:
        yield opened


def exr(path: Path, pixels: np.ndarray) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGB": np.ascontiguousarray(pixels, np.float32)}) as file:
        file.write(str(path))
    return path


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)


def test_codes_are_shown_as_levels_are(
    pipe: LTX2Pipeline, picture: np.ndarray, tmp_path: Path
) -> None:
    path = exr(tmp_path / "a.exr", picture / 255)
    high = pipe("a boat", images=[(path, 0, 0.9)], hdr="ACESCCT", output="latents", **SIZE)
    want = pipe("a boat", images=[(picture, 0, 0.9, 0)], output="latents", **SIZE)
    compare("latent", high.video_latent, want.video_latent, tolerances.RUN_F32)


def test_pictures_are_decoded_in_float32(
    pipe: LTX2Pipeline, files: ModelFiles, tmp_path: Path
) -> None:
    output = pipe("a boat", hdr="SRGB_LINEAR", **SIZE)
    assert (output.video.shape, output.video.dtype) == ((9, 64, 64, 3), np.float32)
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as exact:
        want = to_codes(exact.decode_video(output.video_latent))
    np.testing.assert_array_equal(output.video, want)
    output.save(tmp_path / "boat.mov")
    stored = read_exr(tmp_path / "boat_exr" / "frame_00004.exr", HdrSpace.SRGB_LINEAR)
    np.testing.assert_allclose(stored, output.hdr.pixels(output.video[4]), rtol=1e-3, atol=1e-4)
    assert output.info["hdr"] == "SRGB_LINEAR"
    assert pipe("a boat", **SIZE).video.dtype == np.uint8


def test_the_diffusion_decoder_too(files: ModelFiles, fixture_c: Path) -> None:
    own = replace(files, video_decoder=fixture_c / "ltx-2.5-tiny-video-vae.safetensors")
    with (
        LTX2Pipeline(own, device="cpu", threads=2) as stored,
        LTX2Pipeline(own, device="cpu", weight_type="f32", threads=2) as exact,
    ):
        output = stored("a boat", hdr="ACESCCT", **SIZE)
        options = {"decoder": "diffusion", "seed": decoder_seed(SIZE["seed"])}
        want = to_codes(exact.decode_video(output.video_latent, **options))
    compare("frames", output.video, want, tolerances.VIDEO_F32)


@pytest.fixture
def clip(tmp_path: Path) -> tuple[np.ndarray, Path]:
    """Nine frames, and a folder of EXR files of them."""
    frames = np.random.default_rng(6).integers(0, 256, (9, 64, 64, 3), np.uint8)
    (tmp_path / "shot").mkdir()
    for index, frame in enumerate(frames):
        exr(tmp_path / "shot" / f"a_{index:04d}.exr", frame / 255)
    return frames, tmp_path / "shot"


@pytest.mark.parametrize("kind", ["reference", "extend", "retake", "beginning"])
def test_clips_of_exr_files_are_shown_as_levels_are(
    pipe: LTX2Pipeline, clip: tuple[np.ndarray, Path], kind: str
) -> None:
    frames, folder = clip
    make: Callable[[Any], Any] = {
        "reference": ReferenceVideo,
        "extend": lambda video: Extend(video, 8 / 24, overlap_s=0),
        "retake": lambda video: Retake(video, start_s=0.2),
        "beginning": VideoCondition,
    }[kind]
    # Those that are retaken or go on settle the size.
    size = SIZE if kind in ("reference", "beginning") else {"num_inference_steps": 2, "seed": 4}
    size = {**size, "audio": False}
    given = make(folder / "a_%04d.exr")
    assert pipe.memory_plan("a boat", conditions=given, hdr="ACESCCT", **size).phases
    high = pipe("a boat", conditions=given, hdr="ACESCCT", **size)
    want = pipe("a boat", conditions=make(frames), **size)
    compare("latent", high.video_latent, want.video_latent, tolerances.RUN_F32)
    if kind == "extend":
        assert (len(high.video), high.video.dtype) == (17, np.float32)
        np.testing.assert_allclose(high.video[:9], frames / 255, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hdr": "PQ"}, "hdr: expected one of"),
        ({"images": "a.exr"}, "is an EXR file, whose colours have to be named"),
        ({"images": "a.png", "hdr": "ACESCG"}, "is no EXR file, as all pictures are with hdr"),
        ({"images": [("a.exr", 0, 1.0, 18)], "hdr": "ACESCG"}, "compresses display colours"),
        ({"images": ["a.exr", "a.png"], "hdr": "ACESCG"}, "a.png: is no EXR file"),
        (
            {"conditions": Retake(np.zeros((9, 64, 64, 3), np.uint8)), "hdr": "ACESCG"},
            "Retake takes a clip, which holds display colours",
        ),
        ({"conditions": Foley(np.zeros((9, 64, 64, 3), np.uint8)), "hdr": "ACESCG"}, "hdr: Foley"),
    ],
    ids=str,
)
def test_inputs_that_do_not_go_together(
    pipe: LTX2Pipeline,
    picture: np.ndarray,
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    from PIL import Image

    exr(tmp_path / "a.exr", picture / 255)
    Image.fromarray(picture).save(tmp_path / "a.png")
    with pytest.raises(ArgumentError, match=message):
        pipe("a boat", **SIZE, **options)


@pytest.mark.parametrize("kind", [Retake, ReferenceVideo, VideoCondition, Foley])
def test_clips_of_exr_files_need_their_colours(
    pipe: LTX2Pipeline, clip: tuple[np.ndarray, Path], kind: Callable[[Any], Any]
) -> None:
    with pytest.raises(ArgumentError, match="shot is a clip of EXR files, whose colours have to"):
        pipe("a boat", conditions=kind(clip[1]), **SIZE)


def test_log_codes_of_2_3_with_its_ic_lora(
    fixture_a: Path, tmp_path: Path, clip: tuple[np.ndarray, Path]
) -> None:
    """The IC-LoRA translates a clip of display colours."""
    checkpoint = fixture_a / "ltx-2.3-tiny.safetensors"
    write_lora(tmp_path / "hdr.safetensors", checkpoint, rank=1, seed=1)
    files = ModelFiles(checkpoint, text_encoder=fixture_a / "gemma-3-tiny", variant="distilled")
    reference = ReferenceVideo(np.zeros((9, 64, 64, 3), np.uint8))
    with LTX2Pipeline(
        files, device="cpu", threads=2, loras=[LoraSpec(tmp_path / "hdr.safetensors")]
    ) as older:
        output = older("a boat", conditions=reference, hdr="SRGB_LINEAR", audio=False, **SIZE)
        with pytest.raises(ArgumentError, match="the IC-LoRA for HDR translates display colours"):
            older("a boat", conditions=ReferenceVideo(clip[1]), hdr="SRGB_LINEAR", **SIZE)
    assert output.hdr == Hdr(HdrSpace.SRGB_LINEAR, HdrCurve.LOGC3)
    np.testing.assert_array_equal(
        output.hdr.pixels(output.video), color_curves.from_logc3(output.video)
    )


def test_other_models(fixture_a: Path) -> None:
    with (
        LTX2Pipeline.demo("cpu") as demo,
        pytest.raises(ArgumentError, match="makes display colours only"),
    ):
        demo("a red circle", hdr="ACESCG")
    files = ModelFiles(
        fixture_a / "ltx-2.3-tiny.safetensors",
        text_encoder=fixture_a / "gemma-3-tiny",
        variant="distilled",
    )
    with (
        LTX2Pipeline(files, device="cpu") as older,
        pytest.raises(ArgumentError, match="with its IC-LoRA for HDR only"),
    ):
        older("a boat", hdr="ACESCG", **SIZE)


@pytest.mark.parametrize(
    ("version", "curve"), [("2.3", HdrCurve.LOGC3), ("2.5", HdrCurve.ACESCCT), ("2.0", None)]
)
def test_curves_of_models(version: str, curve: HdrCurve | None) -> None:
    preset = find_preset(version, "distilled", 48)
    model: Any = SimpleNamespace(loras=("ic-lora",))
    if curve is None:
        with pytest.raises(ArgumentError, match="makes display colours only"):
            settle_hdr({"hdr": "ACESCG"}, preset, model)
    else:
        assert settle_hdr({"hdr": "ACESCG"}, preset, model) == Hdr(HdrSpace.ACESCG, curve)
    assert settle_hdr({}, preset, model) is None
