"""What a file is: version, variant, components, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.checkpoint_writers import STRING, gguf_key, write_gguf, write_safetensors
from released.layouts import released_gemma_tensors, released_tensors

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.model.detect import Detection, detect, missing_sentence

Tensors = dict[str, tuple[str, tuple[int, ...]]]
_DIT = "model.diffusion_model."


def _detect(
    folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None, name: str = "m"
) -> Detection:
    path = folder / f"{name}.safetensors"
    return detect(open_checkpoint(write_safetensors(path, tensors, metadata)))


def _part(version: str, *prefixes: str) -> Tensors:
    tensors = released_tensors(version, 2)
    return {name: value for name, value in tensors.items() if name.startswith(prefixes)}


def _of_2_5() -> Tensors:
    tensors = _part("2.3", _DIT)
    return {
        name: value
        for name, value in tensors.items()
        if not (".ff.net." in name and "transformer_blocks" in name and name.endswith("bias"))
    }


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_whole_checkpoint(version: str, tmp_path: Path) -> None:
    found = _detect(tmp_path, released_tensors(version, 2))
    assert (found.family, found.version, found.version_source) == ("ltx-2", version, "tensors")
    assert found.num_blocks == 2 and not found.unclaimed and not found.layouts
    assert set(found.missing) == {"text_encoder", "tokenizer"}
    assert "text_encoder=" in found.missing["text_encoder"]
    assert list(found.components) == [
        "text_projection",
        "video_connector",
        "audio_connector",
        "transformer",
        "video_decoder",
        "audio_decoder",
        "vocoder",
        "video_encoder",
        "audio_encoder",
    ]


def test_2_5_by_tensors(tmp_path: Path) -> None:
    assert _detect(tmp_path, _of_2_5()).version == "2.5"


@pytest.mark.parametrize("version", ["2.0", "2.3"])
@pytest.mark.parametrize(
    "prefix",
    [
        "text_embedding_projection.",
        f"{_DIT}video_embeddings_connector.",
        f"{_DIT}audio_embeddings_connector.",
        "vae.",
        "vocoder.",
    ],
)
def test_version_of_single_components(version: str, prefix: str, tmp_path: Path) -> None:
    found = _detect(tmp_path, _part(version, prefix))
    assert (found.version, found.version_source) == (version, "tensors")
    assert found.variant is None


@pytest.mark.parametrize(
    ("stated", "version"),
    [
        ("2.0.0", "2.0"),
        ("2", "2.0"),
        ("2.1", "2.0"),
        ("2.3.0", "2.3"),
        ("2.3.rc1", "2.3"),
        ("v2.3-distilled", "2.3"),
        ("2.4.0", "2.5"),
        ("2.5.1", "2.5"),
        ("0.9.8", None),
        ("3.0", None),
        ("unknown", None),
        ("", None),
        ("2." + "9" * 5000, None),
    ],
)
def test_model_version_is_read_tolerantly(stated: str, version: str | None, tmp_path: Path) -> None:
    found = _detect(tmp_path, _part("2.3", "audio_vae."), {"model_version": stated})
    assert found.version == version or len(stated) > 1000
    assert found.version_source == ("metadata" if found.version else "")
    assert len(found.model_version) <= 64


def test_tensors_beat_metadata(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = _detect(tmp_path, _part("2.3", _DIT), {"model_version": "2.0.0"}, "x-dev")
    assert (found.version, found.version_source) == ("2.3", "tensors")
    assert "using the tensors" in caplog.text


def test_parts_that_2_3_and_2_5_share(tmp_path: Path) -> None:
    found = _detect(tmp_path, _part("2.3", "vae."), {"model_version": "2.5.0"})
    assert (found.version, found.version_source) == ("2.5", "metadata")


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        ("ltx-2.3-22b-distilled-1.1", {}, ("distilled", "file name")),
        ("LTX-2-19B-Distilled-Q8", {}, ("distilled", "file name")),
        ("ltx-2.3-22b-dev-fp8", {}, ("dev", "file name")),
        ("devil", {}, ("distilled", "default")),
        ("model", {}, ("distilled", "default")),
        ("x-dev", {"model_version": "2.3-distilled"}, ("distilled", "metadata")),
        ("x-distilled", {"variant": "dev"}, ("dev", "metadata")),
        ("x", {"model_version": "2.3.0"}, ("distilled", "default")),
    ],
)
def test_variant(
    name: str, metadata: dict[str, str], expected: tuple[str, str], tmp_path: Path
) -> None:
    found = _detect(tmp_path, _part("2.3", f"{_DIT}patch"), metadata, name)
    assert (found.variant, found.variant_source) == expected


def test_gemma_and_strangers(tmp_path: Path) -> None:
    tensors = {**released_gemma_tensors(1, 64), "spiece_model": ("U8", (4,))}
    found = _detect(tmp_path, tensors)
    assert (found.family, found.version) == ("gemma-3", None)
    assert found.components == {"text_encoder": 15, "tokenizer": 1}
    found = _detect(tmp_path, {"x.weight": ("F32", (2,))})
    assert found.family == "unknown" and found.unclaimed == ("x.weight",)


def test_diffusers_layout_is_named(tmp_path: Path) -> None:
    tensors: Tensors = {
        "proj_in.weight": ("BF16", (4, 4)),
        "time_embed.emb.timestep_embedder.linear_1.bias": ("BF16", (4,)),
        "audio_time_embed.linear.weight": ("BF16", (4, 4)),
    }
    assert _detect(tmp_path, tensors).layouts == {"transformer": "diffusers"}


def test_gguf_says_what_is_missing(tmp_path: Path) -> None:
    """A 22B GGUF has connectors but no projection and no VAE."""
    tensors = {name[len(_DIT) :]: value for name, value in _part("2.3", _DIT).items()}
    keys = [gguf_key("general.architecture", STRING, "ltxv")]
    path = write_gguf(tmp_path / "ltx-2.3-22b-dev-Q8_0.gguf", tensors, keys)
    found = detect(open_checkpoint(path))
    assert (found.version, found.variant) == ("2.3", "dev")
    assert set(found.components) == {"transformer", "video_connector", "audio_connector"}
    assert set(found.missing) == {
        "text_encoder",
        "tokenizer",
        "text_projection",
        "video_decoder",
        "audio_decoder",
        "vocoder",
    }
    assert path.name in found.missing["text_projection"]
    assert "*text_projection*" in found.missing["text_projection"]
    assert "give text_projection=" in missing_sentence("text_projection", "x")


def test_upsampler_kinds(tmp_path: Path) -> None:
    common: Tensors = {"initial_norm.weight": ("BF16", (8,))}
    spatial = {**common, "upsampler.0.weight": ("BF16", (32, 8, 3, 3))}
    temporal = {**common, "upsampler.0.weight": ("BF16", (16, 8, 3, 3, 3))}
    rational = {**common, "upsampler.conv.weight": ("BF16", (72, 8, 3, 3))}
    scalar = {**common, "upsampler.0.weight": ("BF16", ())}
    kinds = [
        set(_detect(tmp_path, tensors).components)
        for tensors in (spatial, temporal, rational, scalar)
    ]
    assert kinds == [{f"{kind}_upsampler"} for kind in ("spatial", "temporal", *["spatial"] * 2)]
