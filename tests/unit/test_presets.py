"""Defaults per version and variant."""

from __future__ import annotations

import pytest

from ltx2cpp.errors import ConfigError
from ltx2cpp.generation.presets import PRESETS, find_preset


@pytest.mark.parametrize(
    ("version", "steps", "block"), [("2.0", 40, 29), ("2.3", 30, 28), ("2.5", 30, 28)]
)
def test_dev_presets_hold_the_published_values(version: str, steps: int, block: int) -> None:
    preset = find_preset(version, "dev", 48)
    assert preset.num_inference_steps == steps
    assert (preset.guidance.video.cfg, preset.guidance.audio.cfg) == (3.0, 7.0)
    assert preset.guidance.stg_blocks == (block,)
    for stream in (preset.guidance.video, preset.guidance.audio):
        assert (stream.stg, stream.rescale, stream.modality) == (1.0, 0.7, 3.0)
    assert preset.negative_prompt


def test_distilled_presets_run_eight_steps_unguided() -> None:
    preset = find_preset("2.3", "distilled", 48)
    assert preset.name == "2.3-distilled"
    assert preset.distilled
    assert preset.num_inference_steps == 8
    assert preset.guidance.video.cfg == 1.0
    assert preset.guidance.video.stg == 0.0


@pytest.mark.parametrize(
    ("version", "crf", "sampler"), [("2.0", 33, "euler"), ("2.3", 33, "euler"), ("2.5", 18, None)]
)
def test_newer_models_compress_pictures_less_and_renew_noise_where_distilled(
    version: str, crf: int, sampler: str | None
) -> None:
    dev, distilled = (find_preset(version, variant, 48) for variant in ("dev", "distilled"))
    assert (dev.image_crf, distilled.image_crf) == (crf, crf)
    assert (dev.sampler, distilled.sampler) == ("euler", sampler or "euler_ancestral")


def test_one_negative_prompt_serves_the_full_models_of_all_versions() -> None:
    prompts = {key: preset.negative_prompt for key, preset in PRESETS.items()}
    assert len({prompt for (_, variant), prompt in prompts.items() if variant == "dev"}) == 1
    assert {prompt for (_, variant), prompt in prompts.items() if variant == "distilled"} == {""}


def test_small_models_get_a_block_that_exists() -> None:
    assert find_preset("2.3", "dev", 4).guidance.stg_blocks == (2,)
    assert find_preset("2.3", "dev", 1).guidance.stg_blocks == (0,)


def test_unknown_models_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"known versions: 2\.0, 2\.3, 2\.5"):
        find_preset("1.0", "dev", 48)
    with pytest.raises(ConfigError, match="variants: dev, distilled"):
        find_preset("2.3", "turbo", 48)


def test_all_presets_share_seed_and_size() -> None:
    assert {(p.seed, p.width, p.height, p.num_frames) for p in PRESETS.values()} == {
        (10, 768, 512, 121)
    }
