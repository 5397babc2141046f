"""The text model as one that writes: logits of the next token, with earlier ones kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers import numpy_text, text_cases
from helpers.numpy_gemma4 import GEMMA4, SMALL, gemma4_shapes, gemma4_states
from helpers.text_cases import GEMMA, as_dict, random_ids, random_tensors
from numpy.typing import NDArray

from ltx2cpp import LTX2Pipeline, ModelFiles, _core
from ltx2cpp.config import Gemma4Config, GemmaConfig
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.text.choosing import TokenChoice, TokenChooser
from ltx2cpp.values import FloatArray

DEVICE = _core.Device("cpu", 1)
GREEDY = Path(__file__).parents[1] / "golden" / "text" / "greedy.json"
NEW_TOKENS = 24
BOUNDED = dataclasses.replace(GEMMA4, final_logit_softcap=0.75)


class Case:
    """A small text model over random weights, with its definition in numpy."""

    def __init__(
        self, folder: Path, config: GemmaConfig | Gemma4Config, stored: str = "f32"
    ) -> None:
        self._config, self._stored = config, stored
        is_gemma4 = isinstance(config, Gemma4Config)
        shapes = gemma4_shapes(config) if is_gemma4 else numpy_text.gemma_shapes(config)
        weights = random_tensors(shapes, seed=1)
        self._weights = text_cases.decoded(weights, stored)
        self.network = _core.TextEncoder(
            text_cases.table(weights, folder / "gemma.bin", stored),
            as_dict(config),
            None,
            None,
            DEVICE,
        )

    def logits(self, ids: NDArray[np.int32]) -> FloatArray:
        """Return the logits (vocabulary,) after a whole text."""
        cap = 0.0
        if self._stored != "f32":
            # Rounded rows part far between computations; the core's own states have the same ones.
            states = self.network.hidden_states(ids)
        elif isinstance(self._config, Gemma4Config):
            states = gemma4_states(self._weights, self._config, ids)
            cap = self._config.final_logit_softcap
        else:
            states = numpy_text.gemma_states(self._weights, self._config, ids)
        logits = states[-1, -1] @ self._weights["embed_tokens.weight"].T
        return cap * np.tanh(logits / cap) if cap else logits


# Prompts below the window, at it and beyond, then tokens alone and several at once.
@pytest.mark.parametrize(
    ("config", "stored", "tolerance"),
    [
        (GEMMA, "f32", tolerances.TEXT_F32),
        (GEMMA, "bf16", tolerances.TEXT_BF16),
        (GEMMA, "q8_0", tolerances.TEXT_Q8_0),
        (GEMMA4, "f32", tolerances.TEXT_F32),
        (BOUNDED, "f32", tolerances.TEXT_F32),
        (GEMMA4, "q8_0", tolerances.TEXT_Q8_0),
        (SMALL, "f32", tolerances.TEXT_F32),
        (SMALL, "q8_0", tolerances.TEXT_Q8_0),
    ],
    ids=[
        "gemma3",
        "gemma3 bf16",
        "gemma3 q8_0",
        "gemma4",
        "gemma4 bounded",
        "gemma4 q8_0",
        "gemma4 small",
        "gemma4 small q8_0",
    ],
)
def test_logits_follow_the_formulas(
    tmp_path: Path, config: GemmaConfig | Gemma4Config, stored: str, tolerance: float
) -> None:
    case = Case(tmp_path, config, stored)
    for prompt in (1, 4, 9):
        ids = random_ids(prompt + 7, seed=prompt)
        cache = case.network.open_cache(len(ids))
        start = 0
        for count in (prompt, 1, 1, 3, 1, 1):
            got = case.network.predict(cache, ids[start : start + count])
            start += count
            compare(f"after {start}", got, case.logits(ids[:start]), tolerance)
        assert cache.tokens == cache.capacity == start


def test_a_text_grows_over_rows_that_one_graph_reads(tmp_path: Path) -> None:
    case = Case(tmp_path, GEMMA)
    ids = random_ids(300)
    cache = case.network.open_cache(400)
    case.network.predict(cache, ids[:250])
    for start in range(250, 259):
        got = case.network.predict(cache, ids[start : start + 1])
    compare("logits", got, case.logits(ids[:259]), tolerances.TEXT_F32)


def test_texts_do_not_disturb_each_other(tmp_path: Path) -> None:
    case = Case(tmp_path, GEMMA)
    one, other = case.network.open_cache(20), case.network.open_cache(20)
    ids = random_ids(12)
    case.network.predict(one, ids[:6])
    case.network.predict(other, ids[6:])
    case.network.hidden_states(ids)
    got = case.network.predict(one, ids[6:7])
    compare("logits", got, case.logits(ids[:7]), tolerances.TEXT_F32)


def test_what_a_text_takes_is_known_before(tmp_path: Path) -> None:
    network = Case(tmp_path, GEMMA).network
    needs = network.measure_prediction(30, 300)
    cache = network.open_cache(300)
    assert needs["state_bytes"] == cache.size_bytes == 3 * 2 * 300 * 64 * 4
    network.predict(cache, random_ids(30))
    assert network.activation_bytes <= needs["activation_bytes"]


def test_what_no_text_can_hold(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    network = Case(tmp_path, GEMMA).network
    cache = network.open_cache(5)
    network.predict(cache, random_ids(4))
    with pytest.raises(ArgumentError, match="2 tokens after 4 do not fit into a cache of 5"):
        network.predict(cache, random_ids(2))
    with pytest.raises(ShapeError, match="at least one token"):
        network.predict(cache, random_ids(0))
    with pytest.raises(ArgumentError, match=r"ids\[0\] is 50, expected 0 to 49"):
        network.predict(cache, np.asarray([50], np.int32))
    assert cache.tokens == 4
    with pytest.raises(ArgumentError, match="capacity is 0, expected 1 to 1048576"):
        network.open_cache(0)
    with pytest.raises(ArgumentError, match="prompt_tokens is 9, expected 1 to 8"):
        network.measure_prediction(9, 8)
    stranger = Case(tmp_path / "other", GEMMA4).network
    with pytest.raises(ArgumentError, match="made for another text encoder"):
        stranger.predict(cache, random_ids(1))


def test_recorded_greedy_tokens(fixture_a: Path) -> None:
    prompts = json.loads((fixture_a / "ref" / "tokenizer.json").read_text())["prompts"]
    recorded = json.loads(GREEDY.read_text())["tokens"]
    files = ModelFiles(text_encoder=fixture_a / "gemma-3-tiny")
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=1) as pipeline:
        writer = pipeline.networks.prompt_encoder.writer
        for prompt, want in zip(prompts, recorded, strict=True):
            chooser = TokenChooser(TokenChoice())
            written = list(writer.write(prompt["ids"][:200], chooser, NEW_TOKENS))
            assert written == want, prompt["text"]
