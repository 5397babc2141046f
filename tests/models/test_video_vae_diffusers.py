"""The video VAE in the form of LTX-2 against diffusers: the fixtures have that of LTX-2.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.video_cases import TINY_20, open_decoder, open_encoder, random_latent
from numpy.typing import NDArray

REASON = "needs the torch reference packages (pip install '.[reference]')"
torch = pytest.importorskip("torch", reason=REASON)
diffusers = pytest.importorskip("diffusers", reason=REASON)

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore"),  # other packages' deprecations
]


def renamed(name: str) -> str:
    """The diffusers name of an official one."""
    part, _, rest = name.partition(".")
    if part in ("up_blocks", "down_blocks"):
        index, _, rest = rest.partition(".")
        # The residual stage at the bottleneck: first of the decoder, last of the encoder.
        bottleneck = "0" if part == "up_blocks" else str(len(TINY_20.encoder_blocks) - 1)
        position = int(index) - (part == "up_blocks")
        if index == bottleneck:
            part = "mid_block"
        elif rest.startswith("conv."):
            sampler = "upsamplers" if part == "up_blocks" else "downsamplers"
            part = f"{part}.{position // 2}.{sampler}.0"
        else:
            part = f"{part}.{position // 2}"
    return f"{part}.{rest}".replace("res_blocks", "resnets")


def reference(decoder: dict[str, Any], encoder: dict[str, Any]) -> Any:
    """An AutoencoderKLLTX2Video of TINY_20 with the given weights."""
    model = diffusers.AutoencoderKLLTX2Video(
        latent_channels=6,
        block_out_channels=(12, 24, 48, 96),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        decoder_causal=False,
    )
    state = {
        f"{half}.{renamed(name)}": torch.from_numpy(values)
        for half, tensors in (("decoder", decoder), ("encoder", encoder))
        for name, values in tensors.items()
        if not name.startswith("per_channel_statistics")
    }
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"latents_mean", "latents_std"}
    return model.eval()


def statistics(weights: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    mean, std = (weights[f"per_channel_statistics.{n}-of-means"] for n in ("mean", "std"))
    return mean.reshape(-1, 1, 1, 1), std.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("frames", [1, 4])
def test_decoder_and_encoder(tmp_path: Path, frames: int) -> None:
    decoder, decoder_weights = open_decoder(tmp_path, TINY_20)
    encoder, encoder_weights = open_encoder(tmp_path, TINY_20)
    model = reference(decoder_weights, encoder_weights)
    latent = random_latent(TINY_20, frames, 3, 2)
    mean, std = statistics(decoder_weights)
    pixels = 8 * (frames - 1) + 1
    clip = np.random.default_rng(1).integers(0, 256, (pixels, 96, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        video = model.decode(torch.from_numpy(latent * std + mean)[None]).sample[0].numpy()
        frames_f32 = torch.from_numpy(np.moveaxis(clip / np.float32(127.5) - 1, -1, 0))
        encoded = model.encode(frames_f32[None]).latent_dist.mode()[0].numpy()
    want = np.moveaxis(video, 0, -1)
    compare("decode", decoder.decode(latent), want, tolerances.VIDEO_F32)
    compare("decode streamed", decoder.decode(latent, 1), want, tolerances.VIDEO_F32)
    mean, std = statistics(encoder_weights)
    compare("encode", encoder.encode(clip), (encoded - mean) / std, tolerances.VIDEO_F32)
