"""The compact training networks against the recorded results of the reference code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training tools need torch (extra `reference`)")

from safetensors.torch import load_file  # noqa: E402
from tolerances import TEXT_F32, TRANSFORMER_F32, VIDEO_F32  # noqa: E402
from train_demo.export import generator_tensors  # noqa: E402
from train_demo.registers import all_rows, sample_rows  # noqa: E402
from train_demo.text import normalise_states  # noqa: E402
from train_demo.transformer import (  # noqa: E402
    Generator,
    Linear,
    TransformerConfig,
)
from train_demo.vae import Conv, Decoder, Encoder, VaeConfig  # noqa: E402

_TRANSFORMER = TransformerConfig(latent_channels=16, text_hidden=96, text_states=9)
_VAE = VaeConfig(
    latent_channels=16,
    decoder_base_channels=6,
    encoder_multipliers=(2, 1, 2, 1),
    decoder_multipliers=(2, 2, 1, 2),
    encoder_layers=(2, 1, 1, 1, 1),
    decoder_layers=(1, 2, 1, 1, 1),
)


@pytest.fixture(autouse=True)
def float32_products(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Linear, "exact", True)
    monkeypatch.setattr(Conv, "exact", True)
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def weights(fixture_a: Path) -> dict[str, torch.Tensor]:
    loaded = load_file(fixture_a / "ltx-2.3-tiny.safetensors")
    return {name: tensor.float() for name, tensor in loaded.items()}


@pytest.fixture(scope="module")
def generator(weights: dict[str, torch.Tensor]) -> Generator:
    """The picture half of the reference checkpoint."""
    made = Generator(_TRANSFORMER)
    # generator_tensors keeps the order of the state.
    names = [name for name, _ in generator_tensors(made)]
    made.load_state_dict(
        {own: weights[name] for own, name in zip(made.state_dict(), names, strict=True)}
    )
    return made


def assert_close(found: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    wanted = torch.from_numpy(np.asarray(expected, dtype=np.float32))
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


def test_velocity(generator: Generator, fixture_a: Path) -> None:
    recorded = np.load(fixture_a / "ref" / "transformer.npz")
    latent = torch.from_numpy(recorded["video_only.in.video.latent"])
    rate = 1 / float(np.diff(recorded["video_only.in.video.positions"][0, 0, 0])[0])
    velocity = generator.velocity(
        latent.transpose(1, 2).reshape(1, 16, 3, 3, 4),
        torch.from_numpy(recorded["video_only.in.video.sigma"]).float(),
        torch.from_numpy(recorded["in.video.context"]),
        None,
        rate,
    )
    assert_close(
        velocity.flatten(2).transpose(1, 2),
        recorded["video_only.out.video.velocity"],
        TRANSFORMER_F32,
    )


def test_context(generator: Generator, fixture_a: Path) -> None:
    recorded = np.load(fixture_a / "ref" / "text.npz")
    states = torch.from_numpy(recorded["P0.hidden"]).permute(1, 2, 0)[None]
    lengths = torch.tensor([states.shape[1]])
    context = generator.context(normalise_states(states), lengths, all_rows(lengths))
    assert_close(context[0], recorded["P0.video_context"], TEXT_F32)


def test_decoder(weights: dict[str, torch.Tensor], fixture_a: Path) -> None:
    decoder = Decoder(_VAE)
    decoder.load_state_dict({name: weights[f"vae.decoder.{name}"] for name in decoder.state_dict()})
    mean, std = (
        weights[f"vae.per_channel_statistics.{name}"][:, None, None, None]
        for name in ("mean-of-means", "std-of-means")
    )
    recorded = np.load(fixture_a / "ref" / "video_vae.npz")
    for case in ("decode", "decode_one_frame"):
        latent = torch.from_numpy(recorded[f"{case}.latent"])
        assert_close(decoder(latent * std + mean), recorded[f"{case}.video"], VIDEO_F32)


def test_encoder(weights: dict[str, torch.Tensor], fixture_a: Path) -> None:
    encoder = Encoder(_VAE)
    encoder.load_state_dict({name: weights[f"vae.encoder.{name}"] for name in encoder.state_dict()})
    mean, std = (
        weights[f"vae.per_channel_statistics.{name}"][:, None, None, None]
        for name in ("mean-of-means", "std-of-means")
    )
    recorded = np.load(fixture_a / "ref" / "video_vae.npz")
    frames = torch.from_numpy(recorded["encode.frames_u8"]).permute(3, 0, 1, 2)[None]
    clip = frames.float() / 127.5 - 1.0
    for case, part in (("encode", clip), ("encode_one_frame", clip[:, :, :1])):
        assert_close((encoder(part) - mean) / std, recorded[f"{case}.latent"], VIDEO_F32)


def test_sampled_rows_stand_for_all() -> None:
    lengths = torch.tensor([1, 9, 17])
    rows, bias = sample_rows(lengths, 32, torch.Generator().manual_seed(0))
    for length, row, weight in zip(lengths.tolist(), rows, bias[:, 0, 0].exp(), strict=True):
        assert row[:length].tolist() == list(range(length))
        assert (row.diff() > 0).all()
        assert int(row[-1]) < 1024
        assert float(weight.sum()) == pytest.approx(1024, rel=1e-4)
