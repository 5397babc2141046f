"""The duration head: numbers against its formulas, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_text import Array, Weights, attend, gelu
from helpers.text_cases import Tensors, random_tensors, table

from ltx2cpp import LTX2Pipeline, ModelFiles, PromptEmbedding, _core, frames_for_duration
from ltx2cpp.config import DurationHeadConfig, Fields, read_duration_head_config
from ltx2cpp.errors import ArgumentError, CheckpointError, ConfigError, ShapeError, WeightError

HEAD = DurationHeadConfig(
    video_width=40, audio_width=24, width=12, num_queries=3, num_heads=2, hidden_width=10
)


def head_shapes(c: DurationHeadConfig) -> dict[str, tuple[int, ...]]:
    attention = "attention_pooler.cross_attn."
    shapes: dict[str, tuple[int, ...]] = {
        "attention_pooler.query_tokens": (c.num_queries, c.width),
        f"{attention}in_proj_weight": (3 * c.width, c.width),
        f"{attention}in_proj_bias": (3 * c.width,),
        f"{attention}out_proj.weight": (c.width, c.width),
        f"{attention}out_proj.bias": (c.width,),
        "mlp_hidden.weight": (c.hidden_width, c.num_queries * c.width),
        "mlp_hidden.bias": (c.hidden_width,),
        "mlp_out.weight": (1, c.hidden_width),
        "mlp_out.bias": (1,),
    }
    for stream, width in (("video", c.video_width), ("audio", c.audio_width)):
        shapes[f"{stream}_input_proj.weight"] = (c.width, width)
        shapes[f"{stream}_input_proj.bias"] = (c.width,)
        shapes[f"{stream}_modality_emb"] = (c.width,)
    return shapes


def log_seconds(w: Weights, c: DurationHeadConfig, contexts: dict[str, Array]) -> float:
    """The definition, in float64."""
    rows = [
        context @ w[f"{stream}_input_proj.weight"].T
        + w[f"{stream}_input_proj.bias"]
        + w[f"{stream}_modality_emb"]
        for stream, context in contexts.items()
    ]
    tokens, queries = np.concatenate(rows), w["attention_pooler.query_tokens"]
    parts = zip(
        np.split(w["attention_pooler.cross_attn.in_proj_weight"], 3),
        np.split(w["attention_pooler.cross_attn.in_proj_bias"], 3),
        (queries, tokens, tokens),
        strict=True,
    )
    head_dim = c.width // c.num_heads
    q, k, v = ((x @ m.T + b).reshape(len(x), -1, head_dim) for m, b, x in parts)
    pooled = attend(q, k, v, np.ones((len(q), len(k)), bool), head_dim**-0.5)
    pooled = pooled @ w["attention_pooler.cross_attn.out_proj.weight"].T
    pooled = pooled + w["attention_pooler.cross_attn.out_proj.bias"]
    hidden = gelu(pooled.reshape(-1) @ w["mlp_hidden.weight"].T + w["mlp_hidden.bias"])
    return float((hidden @ w["mlp_out.weight"].T + w["mlp_out.bias"])[0])


def network(folder: Path, config: DurationHeadConfig = HEAD) -> tuple[_core.DurationHead, Tensors]:
    weights = random_tensors(head_shapes(config), seed=1)
    made = _core.DurationHead(
        table(weights, folder / "head.bin"), dataclasses.asdict(config), _core.Device("cpu", 1)
    )
    return made, weights


@pytest.mark.parametrize("streams", [("video", "audio"), ("video",), ("audio",)])
@pytest.mark.parametrize(
    "config",
    [HEAD, DurationHeadConfig(4096, 2048, 256, 1, 4, 256)],
    ids=["several queries", "released"],
)
def test_seconds_follow_the_formulas(
    tmp_path: Path, config: DurationHeadConfig, streams: tuple[str, ...]
) -> None:
    head, weights = network(tmp_path, config)
    rng = np.random.default_rng(5)
    widths = {"video": config.video_width, "audio": config.audio_width}
    contexts = {name: rng.standard_normal((9, width)) for name, width in widths.items()}
    given = {
        name: (context if name in streams else context[:0]).astype(np.float32)
        for name, context in contexts.items()
    }
    want = log_seconds(weights, config, {name: given[name] for name in streams})
    got = head.log_seconds(given["video"], given["audio"])
    compare("seconds", np.exp([got]), np.exp([want]), tolerances.DURATION_F32)


def test_contexts_that_do_not_fit(tmp_path: Path) -> None:
    head, _ = network(tmp_path)
    none = np.zeros((0, 24), np.float32)
    with pytest.raises(ShapeError, match=r"the video context has shape \(2, 24\)"):
        head.log_seconds(np.zeros((2, 24), np.float32), none)
    with pytest.raises(ShapeError, match="both contexts are empty"):
        head.log_seconds(none, none)


def test_weights_and_heads_that_do_not_fit(tmp_path: Path) -> None:
    weights = random_tensors(head_shapes(HEAD), seed=1)
    del weights["mlp_out.bias"]
    with pytest.raises(WeightError, match=r"mlp_out\.bias"):
        _core.DurationHead(
            table(weights, tmp_path / "head.bin"), dataclasses.asdict(HEAD), _core.Device("cpu", 1)
        )
    with pytest.raises(ConfigError, match="a width that num_heads divides, found 12 and 5"):
        network(tmp_path, dataclasses.replace(HEAD, num_heads=5))
    shapes = head_shapes(HEAD)
    assert read_duration_head_config(Fields({"num_pooler_heads": 2}, "x"), shapes) == HEAD
    assert read_duration_head_config(Fields({}, "x"), shapes).num_heads == 4
    with pytest.raises(ConfigError, match="x: 5 heads do not divide"):
        read_duration_head_config(Fields({"num_pooler_heads": 5}, "x"), shapes)
    with pytest.raises(ConfigError, match=r"x: the duration head has no .mlp_hidden\.weight."):
        read_duration_head_config(Fields({}, "x"), {**shapes, "mlp_hidden.weight": ()})


# -- of the tiny model ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(fixture_c: Path) -> dict[str, Path]:
    return {
        "transformer": fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        "text_encoder": fixture_c / "gemma4-tiny-with-proj.safetensors",
    }


@pytest.fixture(scope="module")
def pipe(fixture_c: Path, files: dict[str, Path]) -> Iterator[LTX2Pipeline]:
    head = fixture_c / "ltx-2.5-tiny-duration-head.safetensors"
    with LTX2Pipeline(
        ModelFiles(**files, duration_head=head, variant="distilled"),
        device="cpu",
        weight_type="f32",
        threads=2,
    ) as opened:
        yield opened


def test_predictions_of_the_reference(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    recorded = json.loads((fixture_c / "ref" / "duration.json").read_text())
    for row in recorded["predictions"].values():
        contexts = pipe.encode_prompt(row["prompt"])
        for key, want in row["seconds"].items():
            streams = ("video", "audio") if key == "both" else (key,)
            got = pipe.predict_duration(contexts, streams=streams)
            compare(key, np.array([got]), np.array([want]), tolerances.DURATION_F32)
    for row in recorded["frames_1s_to_20s"]:
        assert frames_for_duration(row["seconds"], row["fps"]) == row["frames"]
    text = next(iter(recorded["predictions"].values()))["prompt"]
    assert pipe.predict_duration(text) == pipe.predict_duration(pipe.encode_prompt(text))


def test_what_no_duration_is_predicted_from(pipe: LTX2Pipeline, files: dict[str, Path]) -> None:
    for streams in ("video", (), ("picture",)):
        with pytest.raises(ArgumentError, match="streams: expected"):
            pipe.predict_duration("a", streams=streams)
    other = PromptEmbedding(np.zeros((1024, 9)), np.zeros((1024, 32)))
    with pytest.raises(ShapeError, match=r"expected a video context of \(rows, 64\)"):
        pipe.predict_duration(other)
    with (
        LTX2Pipeline(ModelFiles(**files, variant="distilled"), device="cpu") as without,
        pytest.raises(CheckpointError, match=r"hold no duration head.*give duration_head="),
    ):
        without.predict_duration("a")
