"""Writing text token by token: the text encoder's Gemma against transformers on the same weights.

A side writes a number of tokens after a prompt of random ids, always the likeliest one, and tells
the seconds of a token without those of reading the prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.reference import open_torch, read_weights
from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.config import GemmaConfig
from ltx2cpp.model.resolve import resolve
from ltx2cpp.text.choosing import TokenChoice, TokenChooser

_PROMPT_TOKENS = 64
SIDES = ("transformers bf16", "transformers f32", "ltx2cpp bf16", "ltx2cpp f32", "ltx2cpp q8_0")


@dataclass(frozen=True)
class Written:
    """What a side wrote.

    Attributes:
        ids: the new tokens.
        prompt_s: seconds up to the first of them.
        token_s: seconds of each of the others.
    """

    ids: list[int]
    prompt_s: float
    token_s: float


Side = Callable[[int], Written]


def ours(path: Path, weight_type: str, threads: int) -> Side:
    """Return our side; "file" keeps BF16 weights as they are."""
    pipe = LTX2Pipeline(
        ModelFiles(text_encoder=path), device="cpu", weight_type=weight_type, threads=threads
    )
    prompt = _prompt(path).tolist()

    def write(count: int) -> Written:
        writer = pipe.networks.prompt_encoder.writer
        return _timed(writer.write(prompt, TokenChooser(TokenChoice()), count))

    return write


def transformers(path: Path, dtype: str, threads: int) -> Side:
    """Return the side of transformers, with its own cache of keys and values."""
    torch = open_torch(threads)
    model = _model(path, torch, dtype)
    prompt = torch.from_numpy(_prompt(path).astype(np.int64))[None]

    def tokens(count: int) -> Iterator[int]:
        ids, cache = prompt, None
        for _ in range(count):
            with torch.inference_mode():
                result = model(
                    input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
            ids, cache = result.logits[:, -1:].argmax(-1), result.past_key_values
            yield int(ids)

    return lambda count: _timed(tokens(count))


def compare(path: Path, sides: Sequence[str], count: int, rounds: int, threads: int) -> None:
    """Print tokens per second and memory of each side, all of them in this process."""
    types = {"bf16": "bfloat16", "f32": "float32"}
    opened: dict[str, Side] = {}
    for name in sides:
        engine, weights = name.split()
        if engine == "transformers":
            opened[name] = transformers(path, types[weights], threads)
        else:
            opened[name] = ours(path, "file" if weights == "bf16" else weights, threads)
    print(f"work       {count} tokens after {_PROMPT_TOKENS}, {rounds} rounds in turn, the fastest")
    best: dict[str, Written] = {}
    for number in range(rounds + 1):
        for name, write in opened.items():
            written = write(count)
            known = best.get(name, written)
            # The first round brings weights into memory.
            if number <= 1 or written.token_s < known.token_s:
                best[name] = written
    print(f"\n{'':20} tokens/s  prompt s  ids equal to {sides[0]}")
    for name, written in best.items():
        same = sum(a == b for a, b in zip(written.ids, best[sides[0]].ids, strict=True))
        print(f"{name:20} {1 / written.token_s:8.2f} {written.prompt_s:9.2f}  {same} of {count}")
    print(f"\nmemory     {machine.resident_bytes(peak=True) / 1e9:.2f} GB at the highest")


def _timed(tokens: Iterator[int]) -> Written:
    start = time.perf_counter()
    ids = [next(tokens)]
    first = time.perf_counter()
    ids += list(tokens)
    return Written(ids, first - start, (time.perf_counter() - first) / max(1, len(ids) - 1))


def _prompt(path: Path) -> NDArray[np.int32]:
    rows = _config(path).vocab_size
    return np.random.default_rng(0).integers(4, rows, _PROMPT_TOKENS).astype(np.int32)


def _config(path: Path) -> GemmaConfig:
    config: GemmaConfig = resolve(ModelFiles(text_encoder=path)).require("text_encoder").config
    return config


def _model(path: Path, torch: Any, dtype: str) -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    c = _config(path)
    config = Gemma3TextConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.hidden_size,
        intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_layers,
        num_attention_heads=c.num_heads,
        num_key_value_heads=c.num_kv_heads,
        head_dim=c.head_dim,
        rms_norm_eps=c.rms_norm_eps,
        query_pre_attn_scalar=int(c.query_pre_attn_scalar),
        sliding_window=c.sliding_window,
        layer_types=[
            "full_attention" if is_global else "sliding_attention" for is_global in c.global_layers
        ],
        rope_parameters={
            "full_attention": {
                "rope_type": "linear",
                "factor": c.rope_factor_global,
                "rope_theta": c.rope_theta_global,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": c.rope_theta_local},
        },
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        model = Gemma3ForCausalLM(config)
    weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in _weights(path).items()}
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    # Made from the configuration, and still without values.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)
    model.model.embed_tokens.embed_scale = torch.tensor(c.hidden_size**0.5)
    left = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if left:
        raise RuntimeError(f"{path}: has no {left[0]}")
    return model.eval()


def _weights(path: Path) -> dict[str, Any]:
    return {
        "model." + name.rpartition("model.")[2]: tensor
        for name, tensor in read_weights(path, "").items()
    }
