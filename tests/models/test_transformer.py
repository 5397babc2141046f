"""The transformer against the reference's recorded numbers, numpy, and the released layouts."""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_transformer import NumpyTransformer, weight_shapes
from helpers.transformer_cases import (
    make_modality,
    open_transformer,
    random_weights,
    write_weights,
)
from helpers.transformer_configs import TINY_20, TINY_23
from numpy.typing import NDArray
from released.configs import released_config
from released.layouts import released_tensors

from ltx2cpp import _core
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.config import Fields, TransformerConfig, read_transformer_config
from ltx2cpp.errors import ArgumentError, ConfigError, ShapeError, UnsupportedError, WeightError
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.resolve import resolve
from ltx2cpp.values import Modality

VARIANTS = {
    "2.3": TINY_23,
    "2.0": TINY_20,
    "static prompt rows": dataclasses.replace(TINY_23, prompt_adaln=False),
    "no feed-forward bias": dataclasses.replace(TINY_23, ff_bias=False, audio_ff_bias=False),
    "float32 ladder": dataclasses.replace(TINY_23, rope_double=False),
    # A third head, and halves of heads of nine and three elements.
    "odd sizes": dataclasses.replace(
        TINY_23,
        num_heads=3,
        head_dim=18,
        cross_attention_dim=54,
        audio_num_heads=3,
        audio_head_dim=6,
        audio_cross_attention_dim=18,
    ),
}

FIXTURE_CASES = (
    "sigma1",
    "sigma0.42",
    "first_frame_clean",
    "mixed",
    "stg",
    "isolated",
    "video_only",
    "audio_only",
)


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A random transformer, its twin in numpy, and inputs with several noise levels."""

    config: TransformerConfig
    core: _core.Transformer
    twin: NumpyTransformer
    video: Modality
    audio: Modality


def make_tiny(path: Path, config: TransformerConfig) -> Tiny:
    weights = random_weights(config, seed=1)
    rng = np.random.default_rng(2)
    return Tiny(
        config,
        open_transformer(write_weights(path / "transformer.safetensors", weights), config),
        NumpyTransformer(config, weights),
        make_modality(config, "video", rng, sigma=0.7, denoise=(0.0, 0.5, 1.0)),
        make_modality(config, "audio", rng, sigma=0.6, denoise=(1.0, 0.25)),
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("transformer"), TINY_23)


def block_outputs(config: TransformerConfig, *kinds: str) -> list[str]:
    names = {"video": "", "audio": ".audio"}
    return [f"transformer_blocks.{i}{names[k]}" for i in range(config.num_layers) for k in kinds]


def compare_with_twin(
    tiny: Tiny, kinds: tuple[str, ...] = ("video", "audio"), **switches: Any
) -> None:
    given = {kind: getattr(tiny, kind) if kind in kinds else None for kind in ("video", "audio")}
    masks = switches.pop("masks", {})
    inputs = dict(given)
    for kind, mask in masks.items():
        inputs[kind] = dataclasses.replace(given[kind], attention_mask=mask)
    probes = block_outputs(tiny.config, *kinds)
    got = tiny.core.velocity(
        inputs["video"],
        inputs["audio"],
        list(switches.get("stg_blocks", ())),
        switches.get("isolate", False),
        probes,
    )
    want = tiny.twin.velocity(given["video"], given["audio"], masks=masks, **switches)
    for probe in probes:
        compare(probe, got["probes"][probe], want[probe], tolerances.TRANSFORMER_F32)
    for kind in ("video", "audio"):
        if kind in kinds:
            compare(kind, got[kind], want[kind], tolerances.TRANSFORMER_F32)
        else:
            assert got[kind] is None


@pytest.mark.parametrize("name", VARIANTS)
def test_transformer_is_its_formulas(name: str, tmp_path: Path) -> None:
    compare_with_twin(make_tiny(tmp_path, VARIANTS[name]))


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_transformer_runs_one_stream_alone(tiny: Tiny, kind: str) -> None:
    compare_with_twin(tiny, (kind,))


@pytest.mark.parametrize("blocks", [(0,), (1,), (0, 1)])
def test_stg_passes_values_through(tiny: Tiny, blocks: tuple[int, ...]) -> None:
    compare_with_twin(tiny, stg_blocks=blocks)


def test_isolation_drops_attention_between_streams(tiny: Tiny) -> None:
    compare_with_twin(tiny, isolate=True)


def test_isolated_streams_equal_single_streams(tiny: Tiny) -> None:
    both = tiny.core.velocity(tiny.video, tiny.audio, [], True, [])
    for kind in ("video", "audio"):
        one = {"video": None, "audio": None} | {kind: getattr(tiny, kind)}
        alone = tiny.core.velocity(one["video"], one["audio"], [], False, [])
        np.testing.assert_array_equal(alone[kind], both[kind])


# Parts of the names of all weights that a stream alone needs.
_OWN_AUDIO = ("audio_attn", "audio_ff", "audio_patchify", "audio_proj_out", "audio_adaln_single")
_OWN_AUDIO += ("audio_prompt", "audio_scale_shift_table", "audio_caption_projection")
_BETWEEN = ("av_ca_", "a2v_ca", "audio_to_video", "video_to_audio")


@pytest.mark.parametrize("name", ["2.3", "2.0"])
def test_a_stream_alone_loads_its_own_weights(name: str, tmp_path: Path) -> None:
    tiny = make_tiny(tmp_path, VARIANTS[name])
    path = tmp_path / "transformer.safetensors"
    sizes = {name: info.size_bytes for name, info in open_checkpoint(path).tensors.items()}
    between = {name for name in sizes if any(part in name for part in _BETWEEN)}
    own = {"audio": {name for name in sizes if any(part in name for part in _OWN_AUDIO)} - between}
    own["video"] = set(sizes) - between - own["audio"]
    for kind, other in (("video", "audio"), ("audio", "video")):
        alone = open_transformer(path, tiny.config, **{other: False})
        assert alone.weight_bytes == sum(sizes[name] for name in own[kind])
        given = {"video": None, "audio": None, kind: getattr(tiny, kind)}
        got = alone.velocity(given["video"], given["audio"])[kind]
        np.testing.assert_array_equal(got, tiny.core.velocity(given["video"], given["audio"])[kind])
        with pytest.raises(ArgumentError, match=f"opened without its {other} stream"):
            alone.velocity(tiny.video, tiny.audio)


def test_weights_that_do_not_run_are_checked(tmp_path: Path) -> None:
    weights = random_weights(TINY_23, 0)
    del weights["transformer_blocks.1.ff.net.0.proj.weight"]
    path = write_weights(tmp_path / "lacking.safetensors", weights)
    with pytest.raises(WeightError, match=r"missing 'transformer_blocks.1.ff"):
        open_transformer(path, TINY_23, video=False)


def test_attention_mask_weighs_self_attention(tiny: Tiny) -> None:
    tokens = len(tiny.video.latent)
    mask = np.ones((tokens, tokens), np.float32)
    mask[:, -6:] = 0.25
    mask[-6:, :-6] = 0.0
    compare_with_twin(tiny, masks={"video": mask})


def test_more_tokens_than_an_attention_tile(tmp_path: Path) -> None:
    small = make_tiny(tmp_path, TINY_23)
    rng = np.random.default_rng(3)
    video = make_modality(TINY_23, "video", rng, sigma=0.9, grid=(4, 5, 7), context_rows=70)
    audio = make_modality(TINY_23, "audio", rng, sigma=0.8, audio_tokens=65, context_rows=70)
    compare_with_twin(dataclasses.replace(small, video=video, audio=audio))


def test_equal_token_levels_equal_the_scalar_path(tiny: Tiny) -> None:
    """Rows gathered per token give the same bits as one row for all."""
    rng = np.random.default_rng(4)
    video = make_modality(TINY_23, "video", rng, sigma=0.5)
    audio = make_modality(TINY_23, "audio", rng, sigma=0.5)
    whole = tiny.core.velocity(video, audio, [], True, [])
    # One audio token differs and streams are isolated, so the others run through the gather.
    timesteps = audio.timesteps.copy()
    timesteps[-1] = 0.25
    split = dataclasses.replace(audio, timesteps=timesteps)
    result = tiny.core.velocity(
        video, split, [], True, ["audio_adaln_single", "transformer_blocks.0.ff"]
    )
    np.testing.assert_array_equal(result["video"], whole["video"])
    assert result["probes"]["audio_adaln_single"].shape == (2, 9 * 16)


def test_calls_do_not_depend_on_earlier_calls(tiny: Tiny) -> None:
    """The graph is reused while shapes and switches stay, tables while positions stay."""
    rng = np.random.default_rng(5)
    video, audio = tiny.video, tiny.audio
    first = tiny.core.velocity(video, audio, [], False, [])
    other = make_modality(TINY_23, "video", rng, sigma=0.3, denoise=(0.0, 0.5, 1.0))
    shifted = dataclasses.replace(other, positions=other.positions + np.float32(1))
    tiny.core.velocity(shifted, audio, [], False, [])
    tiny.core.velocity(video, audio, [0], False, [])
    tiny.core.velocity(video, None, [], False, ["proj_out"])
    again = tiny.core.velocity(video, audio, [], False, [])
    for kind in ("video", "audio"):
        np.testing.assert_array_equal(first[kind], again[kind])


def test_calls_from_several_threads_take_turns(tiny: Tiny) -> None:
    def call(blocks: list[int]) -> NDArray[np.float32]:
        result = tiny.core.velocity(tiny.video, tiny.audio, blocks, False, [])
        video: NDArray[np.float32] = result["video"]
        return video

    switches = [[], [0], [1], [0, 1]] * 4
    want = [call(blocks) for blocks in switches]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(call, switches))
    for first, second in zip(got, want, strict=True):
        np.testing.assert_array_equal(first, second)


def test_thread_counts_agree(tiny: Tiny, tmp_path: Path) -> None:
    path = write_weights(tmp_path / "t.safetensors", random_weights(TINY_23, seed=1))
    results = [
        open_transformer(path, TINY_23, threads=threads).velocity(
            tiny.video, tiny.audio, [], False, []
        )
        for threads in (1, 2)
    ]
    np.testing.assert_array_equal(results[0]["video"], results[1]["video"])


def test_every_probe_name_gives_a_result(tiny: Tiny, tmp_path: Path) -> None:
    old = make_tiny(tmp_path, TINY_20)
    for case in (tiny, old):
        names = case.core.probe_names()
        assert len(names) == len(set(names))
        result = case.core.velocity(case.video, case.audio, [], False, names)
        assert sorted(result["probes"]) == sorted(names)
        np.testing.assert_array_equal(result["probes"]["proj_out"], result["video"])
        assert all(np.isfinite(value).all() for value in result["probes"].values())


def test_unknown_probe_lists_near_names(tiny: Tiny) -> None:
    with pytest.raises(
        ArgumentError, match=r"no probe 'transformer_blocks.9'.*transformer_blocks.0"
    ):
        tiny.core.velocity(tiny.video, None, [], False, ["transformer_blocks.9"])


def test_probe_of_an_absent_stream_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ArgumentError, match=r"audio_ff.*leaves out"):
        tiny.core.velocity(tiny.video, None, [], False, ["transformer_blocks.0.audio_ff"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"latent": np.zeros((24, 9))}, ShapeError, r"video latent .*\(24, 9\).*\(24, 8\)"),
        ({"latent": np.zeros((0, 8))}, ShapeError, "at least one token"),
        ({"latent": np.zeros(8)}, ShapeError, "video latent"),
        ({"latent": "noise"}, ArgumentError, "latent is no array"),
        ({"context": np.zeros((5, 31))}, ShapeError, r"context .*\(5, 32\).*another model"),
        ({"context": np.zeros((0, 32))}, ShapeError, "at least one row"),
        ({"timesteps": np.zeros(23)}, ShapeError, r"timesteps .*\(24,\)"),
        ({"timesteps": np.full(24, 1.5)}, ArgumentError, "timesteps is 1.5"),
        ({"timesteps": np.full(24, np.nan)}, ArgumentError, "timesteps is nan"),
        ({"positions": np.zeros((1, 24, 2))}, ShapeError, r"positions .*\(3, 24, 2\)"),
        ({"positions": np.full((3, 24, 2), np.inf)}, ArgumentError, "positions .*not finite"),
        ({"latent": np.full((24, 8), np.nan)}, ArgumentError, "latent .*not finite"),
        ({"context": np.full((5, 32), -np.inf)}, ArgumentError, "context .*not finite"),
        ({"sigma": -0.1}, ArgumentError, "sigma is -0.1"),
        ({"sigma": float("nan")}, ArgumentError, "sigma is nan"),
        ({"sigma": "high"}, ArgumentError, "sigma is no number"),
        ({"attention_mask": np.ones((24, 23))}, ShapeError, "attention_mask"),
        (
            {"attention_mask": np.full((24, 24), 2.0)},
            ArgumentError,
            "attention_mask is 2, expected",
        ),
    ],
)
def test_bad_inputs_are_refused(
    tiny: Tiny, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    # A Modality would refuse most of these itself.
    video: Any = SimpleNamespace(**vars(tiny.video) | changes)
    with pytest.raises(error, match=message):
        tiny.core.velocity(video, tiny.audio, [], False, [])


def test_missing_inputs_are_refused(tiny: Tiny) -> None:
    video: Any = SimpleNamespace(**vars(tiny.video))
    del video.context
    with pytest.raises(ArgumentError, match="video lacks 'context'"):
        tiny.core.velocity(video, None, [], False, [])
    with pytest.raises(ArgumentError, match="found neither"):
        tiny.core.velocity(None, None, [], False, [])


@pytest.mark.parametrize("block", [-1, 2])
def test_stg_block_out_of_range_is_refused(tiny: Tiny, block: int) -> None:
    with pytest.raises(ArgumentError, match=rf"block {block}, expected 0 to 1"):
        tiny.core.velocity(tiny.video, tiny.audio, [block], False, [])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rope_type": "interleaved"}, UnsupportedError, "interleaved"),
        ({"num_layers": 0}, ConfigError, "num_layers is 0"),
        ({"head_dim": 15}, ConfigError, "head_dim is 15"),
        ({"num_heads": -2}, ConfigError, "num_heads is -2"),
        ({"norm_eps": float("nan")}, ConfigError, "norm_eps"),
        ({"max_pos": (20, 0, 2048)}, ConfigError, "max_pos"),
        ({"cross_attention_dim": 40}, ConfigError, "cross_attention_dim is 40"),
        ({"timestep_scale": 0.0}, ConfigError, "timestep_scale"),
    ],
)
def test_configurations_that_cannot_work_are_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = write_weights(tmp_path / "t.safetensors", random_weights(TINY_23, seed=1))
    with pytest.raises(error, match=message):
        open_transformer(path, dataclasses.replace(TINY_23, **changes))


def test_weights_that_do_not_fit_are_listed_together(tmp_path: Path) -> None:
    weights = random_weights(TINY_23, seed=1)
    del weights["transformer_blocks.1.attn1.to_q.bias"]
    weights["proj_out.bias"] = np.zeros(7, np.float32)
    weights["lora.down"] = np.zeros(3, np.float32)
    path = write_weights(tmp_path / "t.safetensors", weights)
    with pytest.raises(WeightError) as caught:
        open_transformer(path, TINY_23)
    for name in ("transformer_blocks.1.attn1.to_q.bias", "proj_out.bias", "lora.down"):
        assert name in str(caught.value)


@pytest.mark.parametrize(("version", "tensors"), [("2.3", 4186), ("2.0", 3510)])
def test_released_layout_is_claimed_exactly(tmp_path: Path, version: str, tensors: int) -> None:
    """Opening reads names and shapes only, so a sparse file stands for 38 GB of weights."""
    prefix = "model.diffusion_model."
    shapes = {
        name.removeprefix(prefix): shape
        for name, (_, shape) in released_tensors(version).items()
        if name.startswith(prefix) and "_connector." not in name
    }
    assert len(shapes) == tensors
    metadata = Fields(released_config(version)["transformer"], "released")
    config = read_transformer_config(metadata, shapes)
    assert weight_shapes(config) == shapes
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2 * max(math.prod(shape) for shape in shapes.values()))
    table = _core.TensorTable()
    for name, shape in shapes.items():
        table.add(name, "bf16", shape, str(path), 0, 2 * math.prod(shape))
    transformer = _core.Transformer(table, dataclasses.asdict(config), _core.Device("cpu", 1))
    assert transformer.weight_bytes == 2 * sum(math.prod(shape) for shape in shapes.values())


@pytest.fixture(scope="module")
def recorded(fixture_a: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(fixture_a / "ref" / "transformer.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module", params=["f32", None], ids=["f32", "file"])
def fixture_transformer(
    fixture_a: Path, request: pytest.FixtureRequest
) -> tuple[_core.Transformer, float]:
    component = resolve(ModelFiles(fixture_a / "ltx-2.3-tiny.safetensors")).transformer
    assert component is not None
    table = _core.TensorTable()
    for name, ref in component.tensors.items():
        i = ref.info
        table.add(
            name,
            str(i.dtype),
            i.shape,
            str(i.path),
            i.offset,
            i.size_bytes,
            request.param,
            ref.scale,
        )
    core = _core.Transformer(table, dataclasses.asdict(component.config), _core.Device("cpu", 1))
    bound = tolerances.TRANSFORMER_F32 if request.param else tolerances.TRANSFORMER_BF16
    return core, bound


def recorded_stream(
    recorded: dict[str, NDArray[np.float32]], case: str, kind: str
) -> Modality | None:
    prefix = f"{case}.in.{kind}."
    if f"{prefix}latent" not in recorded:
        return None
    return Modality(
        latent=recorded[f"{prefix}latent"][0],
        context=recorded[f"in.{kind}.context"][0],
        sigma=float(recorded[f"{prefix}sigma"][0]),
        timesteps=recorded[f"{prefix}timesteps"][0, :, 0],
        positions=recorded[f"{prefix}positions"][0],
    )


def recorded_probes(recorded: dict[str, NDArray[np.float32]], case: str) -> dict[str, str]:
    """Map probe names to the keys of what was recorded of the same place."""
    probes = {}
    for key in recorded:
        if key.startswith(f"{case}.block"):
            number, kind = key[len(f"{case}.block") :].split(".")
            suffix = ".audio" if kind == "audio" else ""
            probes[f"transformer_blocks.{number}{suffix}"] = key
    for kind, prefix, gate in (("video", "", "a2v"), ("audio", "audio_", "v2a")):
        names = {
            "patchified": f"{prefix}patchify_proj",
            "modulation": f"{prefix}adaln_single",
            "embedded_timestep": f"{prefix}adaln_single.emb",
            "prompt_modulation": f"{prefix}prompt_adaln_single",
            "cross_scale_shift": f"av_ca_{kind}_scale_shift_adaln_single",
            "cross_gate": f"av_ca_{gate}_gate_adaln_single",
        }
        for suffix, name in names.items():
            if f"{case}.{kind}.{suffix}" in recorded:
                probes[name] = f"{case}.{kind}.{suffix}"
    return probes


@pytest.mark.parametrize("case", FIXTURE_CASES)
def test_transformer_is_the_reference(
    recorded: dict[str, NDArray[np.float32]],
    fixture_transformer: tuple[_core.Transformer, float],
    case: str,
) -> None:
    core, bound = fixture_transformer
    streams = {kind: recorded_stream(recorded, case, kind) for kind in ("video", "audio")}
    probes = recorded_probes(recorded, case)
    got = core.velocity(
        streams["video"],
        streams["audio"],
        [1] if case == "stg" else [],
        case == "isolated",
        list(probes),
    )
    for probe, key in probes.items():
        want = recorded[key][0]
        value = got["probes"][probe].reshape(-1, want.shape[-1])
        # Recorded was the modulation of the first token, whose level comes first here too.
        compare(f"{case} {probe}", value[: len(want)], want, bound)
    for kind, stream in streams.items():
        if stream is not None:
            compare(f"{case} {kind}", got[kind], recorded[f"{case}.out.{kind}.velocity"][0], bound)
