"""Clips whose pictures the diffusion decoder makes, on the tiny model of fixtures C."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.errors import ArgumentError, CheckpointError
from ltx2cpp.media import to_codes, to_uint8

# Large enough to be cut along two axes.
CLIP: dict[str, Any] = {
    "width": 192,
    "height": 64,
    "num_frames": 25,
    "seed": 3,
    "num_inference_steps": 8,
    "audio": False,
}
CONV, DIFFUSION = (f"ltx-2.5-tiny-video-vae{kind}.safetensors" for kind in ("-conv", ""))


def open_pipeline(folder: Path, decoders: tuple[str, ...], **options: Any) -> LTX2Pipeline:
    files = dict(zip(("video_vae", "video_decoder"), decoders, strict=False))
    return LTX2Pipeline(
        ModelFiles(
            transformer=folder / "ltx-2.5-tiny-transformer.safetensors",
            text_encoder=folder / "gemma4-tiny-with-proj.safetensors",
            variant="distilled",
            **{role: folder / name for role, name in files.items()},
        ),
        device="cpu",
        threads=1,
        **options,
    )


@pytest.fixture(scope="module")
def pipe(fixture_c: Path) -> Iterator[LTX2Pipeline]:
    with open_pipeline(fixture_c, (CONV, DIFFUSION)) as opened:
        yield opened


def decoded_again(pipe: LTX2Pipeline, latent: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """The pictures of a clip from its latent and what its parameters say."""
    tiling = info["decoder_tiling"]
    frames = pipe.decode_video(
        latent,
        decoder=info["decoder"],
        seed=info["decoder_seed"],
        tiling=None if tiling is None else {axis: tuple(pair) for axis, pair in tiling.items()},
    )
    return to_uint8(frames)


def test_the_decoder_given_for_it_makes_the_pictures(pipe: LTX2Pipeline) -> None:
    output = pipe("a boat", **CLIP)
    assert output.video.shape == (25, 64, 192, 3)
    assert output.info["decoder"] == "diffusion" and output.info["decoder_tiling"] is None
    # Not the noise that the clip starts from.
    assert output.info["decoder_seed"] == 30_003
    np.testing.assert_array_equal(
        output.video, decoded_again(pipe, output.video_latent, output.info)
    )
    conv = pipe("a boat", decoder="conv", **CLIP)
    np.testing.assert_array_equal(conv.video_latent, output.video_latent)
    assert conv.info["decoder"] == "conv" and "decoder_seed" not in conv.info
    assert not np.array_equal(conv.video, output.video)
    latents = pipe("a boat", output="latents", **CLIP)
    assert "decoder" not in latents.info


def test_a_limit_cuts_the_picture_into_tiles(fixture_c: Path, pipe: LTX2Pipeline) -> None:
    with open_pipeline(fixture_c, (CONV, DIFFUSION), max_memory=100.0) as roomy:
        whole = roomy.memory_plan("a boat", **CLIP)
    decode = whole.phases[-1]
    assert decode.name == "decode video" and whole.tiling is None
    limit = (whole.peak_bytes - decode.compute_bytes // 8) / (1 << 30)
    with open_pipeline(fixture_c, (CONV, DIFFUSION), max_memory=limit) as limited:
        plan = limited.memory_plan("a boat", **CLIP)
        assert plan.fits and plan.tiling is not None
        stream = limited.stream("a boat", **CLIP)
        chunks = list(stream)
        assert len(chunks) > 1
        # Rounded a few at a time, whatever the rows of tiles are.
        assert max(map(len, chunks)) == 8
        frames = np.concatenate(chunks)
        again = decoded_again(limited, stream.video_latent, stream.info)
        np.testing.assert_array_equal(frames, again)
        assert {axis: tuple(pair) for axis, pair in stream.info["decoder_tiling"].items()} == (
            plan.tiling
        )
    # The noise is the same, so tiles differ near their borders only.
    difference = np.abs(frames.astype(int) - pipe("a boat", **CLIP).video)
    assert 0 < difference.mean() < 8


def test_a_file_with_the_diffusion_decoder_alone_makes_clips(fixture_c: Path) -> None:
    with open_pipeline(fixture_c, (DIFFUSION,)) as alone:
        clip = {**CLIP, "num_frames": 9, "width": 64}
        assert alone("a boat", **clip).info["decoder"] == "diffusion"
        with pytest.raises(ArgumentError, match="the files hold the diffusion video decoder only"):
            alone("a boat", decoder="conv", **clip)


def test_high_dynamic_range_is_decoded_in_float32(pipe: LTX2Pipeline) -> None:
    clip = {**CLIP, "num_frames": 9, "width": 64}
    output = pipe("a boat", hdr="ACESCCT", **clip)
    assert output.video.dtype == np.float32
    decoder = pipe.networks.exact_diffusion_decoder
    seed = output.info["decoder_seed"]
    frames = np.concatenate(list(decoder.stream(output.video_latent, seed=seed)))
    np.testing.assert_array_equal(output.video, to_codes(frames))


def test_decoders_that_cannot_be_had(fixture_c: Path, pipe: LTX2Pipeline) -> None:
    with pytest.raises(ArgumentError, match="decoder: expected one of conv, diffusion, found 3"):
        pipe("a boat", decoder=3, **CLIP)
    with (
        open_pipeline(fixture_c, (CONV,)) as conv,
        pytest.raises(ArgumentError, match="the files hold the conv video decoder only"),
    ):
        conv("a boat", decoder="diffusion", **CLIP)
    with (
        open_pipeline(fixture_c, ()) as none,
        pytest.raises(CheckpointError, match="no diffusion video decoder"),
    ):
        none("a boat", decoder="diffusion", **CLIP)
