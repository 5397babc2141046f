"""Every way to publish a model gives the velocities and clips of the official file.

A cell is a publisher, a packing and an element type. What it computes is compared with the official
file of its own de-quantised weights in float32.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.element_types import BLOCKS, PACKED, in_type
from helpers.publishers import PACKINGS, PUBLISHERS
from helpers.stored_models import Model, read_stored, write_stored
from helpers.transformer_cases import make_modality

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles

CELLS = [
    *((publisher, packing, "bf16") for publisher in PUBLISHERS for packing in PACKINGS),
    *((publisher, "gguf in parts", "gguf q8_0") for publisher in PUBLISHERS),
    *(("official", "one gguf", kind) for kind in ("f32", "f16", *BLOCKS)),
    *(("split", "one safetensors", kind) for kind in ("f32", "f16", *PACKED)),
]


def test_cells_are_enough() -> None:
    assert len(CELLS) == len(set(CELLS)) >= 60


class Wanted:
    """What the official file of each type's values computes in float32."""

    def __init__(self, folder: Path, fixture_a: Path) -> None:
        self._folder, self.fixture = folder, fixture_a
        self._model, self.metadata = read_stored(fixture_a / "ltx-2.3-tiny.safetensors")

    @functools.cache  # noqa: B019
    def stored(self, kind: str) -> tuple[Model, Model]:
        """Return the model in a type, and with the same values in float32."""
        return in_type(self._model, kind)

    @functools.cache  # noqa: B019
    def results(self, kind: str, silent: bool) -> dict[str, Any]:
        path = self._folder / f"{kind}-{silent}.safetensors"
        write_stored(path, self.stored(kind)[1], self.metadata)
        with open_files(self.fixture, {"checkpoint": path}, "f32") as pipe:
            return results(pipe, silent=silent)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, fixture_a: Path) -> Wanted:
    return Wanted(tmp_path_factory.mktemp("wanted"), fixture_a)


def open_files(fixture_a: Path, files: dict[str, Path], weight_type: str = "file") -> LTX2Pipeline:
    rest = {"checkpoint": fixture_a / "ltx-2.3-tiny.safetensors", "variant": "distilled"}
    return LTX2Pipeline(
        ModelFiles(**{**rest, **files}), device="cpu", weight_type=weight_type, threads=1
    )


def results(pipe: LTX2Pipeline, *, silent: bool) -> dict[str, Any]:
    """Velocities, and what the decoders make of a small latent."""
    rng = np.random.default_rng(7)
    config = pipe.networks.transformer.config
    video = make_modality(config, "video", rng, sigma=0.6, grid=(2, 2, 3), context_rows=8)
    audio: Modality | None = None
    if not silent:
        audio = make_modality(config, "audio", rng, sigma=0.6, audio_tokens=5, context_rows=8)
    velocity = pipe.velocity(video, audio)
    found: dict[str, Any] = {"velocity of video": velocity.video}
    pictures = np.random.default_rng(8).standard_normal((config.in_channels, 1, 1, 1), np.float32)
    found["pictures"] = pipe.decode_video(pictures)
    if not silent:
        found["velocity of audio"] = velocity.audio
        vae = pipe.models.audio_config.vae
        shape = (vae.latent_channels, 2, vae.latent_bins)
        sound = np.random.default_rng(9).standard_normal(shape, np.float32)
        found["spectrum"] = pipe.decode_mel(sound)
        found["sound"] = pipe.vocode(found["spectrum"])
    return found


@pytest.mark.parametrize(("publisher", "packing", "kind"), CELLS)
def test_layout(publisher: str, packing: str, kind: str, tmp_path: Path, wanted: Wanted) -> None:
    model, _ = wanted.stored(kind)
    files = {
        role: PACKINGS[packing](tmp_path, role, part, wanted.metadata)
        for role, part in PUBLISHERS[publisher](model).items()
    }
    silent = publisher == "silent"
    with open_files(wanted.fixture, files) as pipe:
        for role, path in files.items():
            assert any(path in (each, *each.parents) for each in pipe.models.searched), role
        found = results(pipe, silent=silent)
    bound = tolerances.TRANSFORMER_F32 if kind == "f32" else tolerances.LAYOUT_FILE_TYPES
    for name, values in wanted.results(kind, silent).items():
        compare(f"{publisher}, {packing}, {kind}: {name}", found[name], values, bound)
