"""Audio VAE, vocoder and spectrum against recorded numbers, diffusers and the released layouts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import compare
from numpy.typing import NDArray
from released.configs import released_config
from released.layouts import released_tensors
from tolerances import AUDIO_VAE_F32, MEL_F32, RESAMPLING_F32, WAVE_F32

from ltx2cpp import LTX2Pipeline, ModelFiles, _core
from ltx2cpp.config import (
    AudioVaeConfig,
    Fields,
    GeneratorConfig,
    VocoderConfig,
    read_audio_vae_config,
    read_vocoder_config,
)
from ltx2cpp.errors import ArgumentError, ShapeError, WeightError
from ltx2cpp.media.resampling import resample
from ltx2cpp.model.components import Component
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.mel import log_mel, mel_filters

Floats = NDArray[np.float32]

# One thread: the networks here are so small that threads would mostly wait for each other.
DEVICE = _core.Device("cpu", 1)
VAE = AudioVaeConfig(2, 2, 8, 16, 128, (1, 2, 4), 2, 64, 16000, 1024, 160, 1024, 0.0, 8000.0)


def files_of(folder: Path) -> ModelFiles:
    return ModelFiles(
        checkpoint=folder / "ltx-2.3-tiny.safetensors",
        text_encoder=folder / "gemma-3-tiny",
        variant="distilled",
    )


@pytest.fixture(scope="module")
def recorded(fixture_a: Path) -> dict[str, Floats]:
    with np.load(fixture_a / "ref" / "audio.npz") as file:
        return {name: file[name][0] for name in file.files}


@pytest.fixture(scope="module")
def models(fixture_a: Path) -> ModelSet:
    return resolve(files_of(fixture_a))


def open_network(component: Component | None, kind: Any) -> Any:
    assert component is not None
    table = _core.TensorTable()
    for name, ref in component.tensors.items():
        info = ref.info
        table.add(name, str(info.dtype), info.shape, str(info.path), info.offset, info.size_bytes)
    return kind(table, dataclasses.asdict(component.config), DEVICE)


@pytest.fixture(scope="module")
def decoder(models: ModelSet) -> _core.AudioDecoder:
    result: _core.AudioDecoder = open_network(models.audio_decoder, _core.AudioDecoder)
    return result


@pytest.fixture(scope="module")
def vocoder(models: ModelSet) -> _core.Vocoder:
    result: _core.Vocoder = open_network(models.vocoder, _core.Vocoder)
    return result


@pytest.mark.parametrize("composed", [False, True])
def test_mel_of_a_latent(
    decoder: _core.AudioDecoder, recorded: dict[str, Floats], composed: bool
) -> None:
    mel = decoder.decode(recorded["decode.latent"], composed=composed)
    compare("mel", mel, recorded["decode.mel"], AUDIO_VAE_F32)


def test_latents_decode_in_parts(decoder: _core.AudioDecoder) -> None:
    latent = np.random.default_rng(0).standard_normal((2, 60, 16)).astype(np.float32)
    whole = decoder.decode(latent)
    assert whole.shape == (2, 237, 64)
    np.testing.assert_array_equal(decoder.decode(latent, chunk_frames=17), whole)


@pytest.mark.parametrize("composed", [False, True])
def test_latent_of_a_mel(models: ModelSet, recorded: dict[str, Floats], composed: bool) -> None:
    encoder = open_network(models.audio_encoder, _core.AudioEncoder)
    latent = encoder.encode(recorded["encode.log_mel"], composed=composed)
    compare("latent", latent, recorded["encode.latent"], AUDIO_VAE_F32)


@pytest.mark.parametrize("steps", [237, 238, 241])
def test_mels_encode_in_parts(models: ModelSet, steps: int) -> None:
    encoder = open_network(models.audio_encoder, _core.AudioEncoder)
    mel = np.random.default_rng(0).standard_normal((2, steps, 64)).astype(np.float32)
    whole = encoder.encode(mel)
    assert whole.shape == (2, -(-steps // 4), 16)
    np.testing.assert_array_equal(encoder.encode(mel, chunk_frames=17), whole)


def test_memory_of_encoding_is_flat(models: ModelSet) -> None:
    encoder = open_network(models.audio_encoder, _core.AudioEncoder)
    sizes = []
    for steps in (400, 800):
        encoder.encode(np.zeros((2, steps, 64), np.float32), chunk_frames=25)
        sizes.append(encoder.activation_bytes)
    assert sizes[0] == sizes[1]


# The weights are bfloat16 in the file, and the arithmetic is float32 all the same.
@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("name", ["vocoder", "vocoder_loud"])
def test_wave_of_a_mel(
    vocoder: _core.Vocoder, recorded: dict[str, Floats], name: str, composed: bool
) -> None:
    wave = vocoder.vocode(recorded[f"{name}.mel"], composed=composed)
    compare("wave", wave, recorded[f"{name}.wave"], WAVE_F32)


def test_steps_of_the_bandwidth_extension(
    vocoder: _core.Vocoder, recorded: dict[str, Floats]
) -> None:
    names = ["vocoder", "mel_stft", "bwe_generator", "resampler"]
    probes = vocoder.probe(recorded["vocoder.mel"], names)
    mel = probes["mel_stft"].transpose(1, 2, 0)
    compare("16 kHz", probes["vocoder"].T, recorded["vocoder.wave_16k"], WAVE_F32)
    compare("mel", mel, recorded["vocoder.bwe_log_mel"], WAVE_F32)
    compare("residual", probes["bwe_generator"].T, recorded["vocoder.bwe_residual"], WAVE_F32)
    compare("skip", probes["resampler"].T, recorded["vocoder.resampled_48k"], WAVE_F32)
    loud = vocoder.probe(recorded["vocoder_loud.mel"], ["vocoder"])["vocoder"]
    assert np.abs(loud).max() == 1.0  # cut off before the extension
    with pytest.raises(ArgumentError, match=r"no probe 'resblocks\.99'"):
        vocoder.probe(recorded["vocoder.mel"], ["resblocks.99"])


def test_chunks_give_the_whole_wave(vocoder: _core.Vocoder, recorded: dict[str, Floats]) -> None:
    mel = np.tile(recorded["vocoder.mel"], (1, 10, 1))
    mel += np.random.default_rng(0).standard_normal(mel.shape).astype(np.float32) / 2
    whole = vocoder.vocode(mel)
    np.testing.assert_array_equal(vocoder.vocode(mel, chunk_frames=45), whole)
    assert vocoder.reach_frames <= 64


def test_memory_of_chunks_is_flat(vocoder: _core.Vocoder, recorded: dict[str, Floats]) -> None:
    sizes = []
    for repeats in (20, 40):
        vocoder.vocode(np.tile(recorded["vocoder.mel"], (1, repeats, 1)), chunk_frames=42)
        sizes.append(vocoder.activation_bytes)
    assert sizes[0] == sizes[1]


def test_spectrum_and_resampling(recorded: dict[str, Floats]) -> None:
    compare("mel", log_mel(recorded["encode.wave_16k"], VAE), recorded["encode.log_mel"], MEL_F32)
    wave = resample(recorded["resample.wave_44k1"], 44100, 16000)
    compare("16 kHz", wave, recorded["resample.wave_16k"], RESAMPLING_F32)


def test_resampling_keeps_a_tone_and_its_length() -> None:
    for rate in (8000, 22050, 44100, 44101, 48000):
        tone = np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate).astype(np.float32)[None]
        got = resample(tone, rate, 16000)
        assert got.shape == (1, -(-(rate // 2) * 16000 // rate))
        want = np.sin(2 * np.pi * 440 * np.arange(got.shape[1]) / 16000)
        assert np.abs(got[0] - want)[200:-200].max() < 2e-2


def test_mel_filters_peak_where_slaneys_scale_says() -> None:
    edges = np.linspace(0, 15 + np.log(8) / (np.log(6.4) / 27), 66)
    assert abs(int(np.argmax(mel_filters(VAE)[64])) - int(np.abs(edges[1:-1] - 15).argmin())) <= 1


def test_pipeline_runs_every_stage(fixture_a: Path, recorded: dict[str, Floats]) -> None:
    with LTX2Pipeline(files_of(fixture_a), device="cpu", threads=1) as pipe:
        assert pipe.audio_sample_rate == 48000
        mel = pipe.decode_mel(recorded["decode.latent"])
        sound = pipe.decode_audio(recorded["decode.latent"])
        np.testing.assert_array_equal(sound.samples, pipe.vocode(mel))
        assert sound.samples.shape == (2, 480 * 21)
        latent = pipe.encode_audio(recorded["encode.wave_16k"], 16000)
        compare("latent", latent, recorded["encode.latent"], AUDIO_VAE_F32)


def _released(prefix: str, version: str) -> dict[str, tuple[int, ...]]:
    return {
        name.removeprefix(prefix): tuple(shape)
        for name, (_, shape) in released_tensors(version).items()
        if name.startswith(prefix)
    }


def _claim(folder: Path, kind: Any, config: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Opening reads names and shapes only, so a sparse file stands for all weights."""
    path = folder / "sparse"
    with path.open("wb") as file:
        file.truncate(2 * max(math.prod(shape) for shape in shapes.values()))
    table = _core.TensorTable()
    for name, shape in shapes.items():
        table.add(name, "bf16", shape, str(path), 0, 2 * math.prod(shape))
    network = kind(table, dataclasses.asdict(config), DEVICE)
    assert network.weight_bytes == 2 * sum(math.prod(shape) for shape in shapes.values())
    return network


@pytest.mark.parametrize(("version", "tensors"), [("2.0", 194), ("2.3", 1227)])
def test_released_vocoder_is_claimed_exactly(tmp_path: Path, version: str, tensors: int) -> None:
    shapes = _released("vocoder.", version)
    assert len(shapes) == tensors
    config = read_vocoder_config(Fields(released_config(version)["vocoder"], "released"), shapes)
    vocoder = _claim(tmp_path, _core.Vocoder, config, shapes)
    assert vocoder.reach_frames < 80
    with pytest.raises(WeightError, match="unknown 'stray'"):
        _claim(tmp_path, _core.Vocoder, config, {**shapes, "stray": (1,)})


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_released_audio_vae_is_claimed_exactly(tmp_path: Path, version: str) -> None:
    shapes = _released("audio_vae.", version)
    assert len(shapes) == 102
    halves = {
        half: {
            name.removeprefix(f"{half}."): shape
            for name, shape in shapes.items()
            if name.startswith((f"{half}.", "per_channel_statistics."))
        }
        for half in ("decoder", "encoder")
    }
    fields = Fields(released_config(version)["audio_vae"], "released")
    config = read_audio_vae_config(fields, halves["decoder"], halves["encoder"])
    _claim(tmp_path, _core.AudioDecoder, config, halves["decoder"])
    _claim(tmp_path, _core.AudioEncoder, config, halves["encoder"])


def test_shapes_that_do_not_fit_are_refused(
    decoder: _core.AudioDecoder, vocoder: _core.Vocoder
) -> None:
    with pytest.raises(ShapeError, match=r"decode: latent has shape .* expected \(2, frames, 16\)"):
        decoder.decode(np.zeros((8, 3, 16), np.float32))
    with pytest.raises(ShapeError, match=r"vocode: mel has shape .* expected \(2, steps, 64\)"):
        vocoder.vocode(np.zeros((2, 0, 64), np.float32))
    with pytest.raises(ArgumentError, match="chunk_frames is 0"):
        vocoder.vocode(np.zeros((2, 1, 64), np.float32), chunk_frames=0)


@pytest.mark.reference
@pytest.mark.parametrize("frames", [1, 9])
def test_vocoder_of_ltx_2_equals_diffusers(tmp_path: Path, frames: int) -> None:
    torch = pytest.importorskip("torch", reason="needs torch (extra `reference`)")
    module = pytest.importorskip(
        "diffusers.pipelines.ltx2.vocoder", reason="needs diffusers (extra `reference`)"
    )
    from safetensors.numpy import save_file

    from ltx2cpp.checkpoint import open_checkpoint

    torch.manual_seed(0)
    rates, kernels = [6, 5, 2], [16, 15, 8]
    reference = module.LTX2Vocoder(
        hidden_channels=64, upsample_factors=rates, upsample_kernel_sizes=kernels
    ).eval()
    renamed = {"conv_in": "conv_pre", "conv_out": "conv_post"}
    renamed |= {"upsamplers": "ups", "resnets": "resblocks"}
    weights = {
        ".".join(renamed.get(part, part) for part in name.split(".")): value.numpy()
        for name, value in reference.state_dict().items()
    }
    path = tmp_path / "vocoder.safetensors"
    save_file(weights, path)
    generator = GeneratorConfig(
        in_channels=128,
        out_channels=2,
        upsample_initial_channel=64,
        upsample_rates=tuple(rates),
        upsample_kernel_sizes=tuple(kernels),
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilation_sizes=((1, 3, 5),) * 3,
        activation="leaky_relu",
        final_bias=True,
        final_activation="tanh",
    )
    table = _core.TensorTable()
    for name, info in open_checkpoint(path).tensors.items():
        table.add(name, str(info.dtype), info.shape, str(path), info.offset, info.size_bytes)
    config = VocoderConfig(generator, None, 24000, 24000, 0, 0, 0, 0)
    vocoder = _core.Vocoder(table, dataclasses.asdict(config), DEVICE)
    mel = np.random.default_rng(1).standard_normal((2, frames, 64)).astype(np.float32) * 2
    with torch.no_grad():
        want = reference(torch.from_numpy(mel)[None])[0].numpy()
    compare("wave", vocoder.vocode(mel), want, WAVE_F32)
    compare("wave, stock operations", vocoder.vocode(mel, composed=True), want, WAVE_F32)
