"""Greedy texts of random text models against `generate` of transformers, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.numpy_gemma4 import GEMMA4
from helpers.text_cases import GEMMA, as_dict, random_ids

from ltx2cpp import _core
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.config import Gemma4Config, GemmaConfig

REASON = "needs the torch reference packages (pip install 'ltx2cpp[reference]')"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
save_file = pytest.importorskip("safetensors.torch", reason=REASON).save_file

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore"),  # other packages' deprecations
]
NEW_TOKENS = 16


def shared_options(c: GemmaConfig | Gemma4Config) -> dict[str, Any]:
    return {
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "rms_norm_eps": c.rms_norm_eps,
        "sliding_window": c.sliding_window,
        "layer_types": [
            "full_attention" if is_global else "sliding_attention" for is_global in c.global_layers
        ],
        "attn_implementation": "eager",
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }


def gemma3() -> Any:
    config = transformers.Gemma3TextConfig(
        **shared_options(GEMMA),
        num_key_value_heads=GEMMA.num_kv_heads,
        head_dim=GEMMA.head_dim,
        query_pre_attn_scalar=int(GEMMA.query_pre_attn_scalar),
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )
    return transformers.Gemma3ForCausalLM(config)


def gemma4() -> Any:
    from transformers.models import gemma4_unified

    local, global_ = GEMMA4.local_heads, GEMMA4.global_heads
    config = gemma4_unified.Gemma4UnifiedTextConfig(
        **shared_options(GEMMA4),
        num_key_value_heads=local.num_kv_heads,
        num_global_key_value_heads=global_.num_kv_heads,
        head_dim=local.head_dim,
        global_head_dim=global_.head_dim,
        attention_k_eq_v=True,
        final_logit_softcapping=30.0,
    )
    return gemma4_unified.Gemma4UnifiedForCausalLM(config)


@pytest.mark.parametrize(("make", "config"), [(gemma3, GEMMA), (gemma4, GEMMA4)])
def test_greedy_tokens(tmp_path: Path, make: Any, config: GemmaConfig | Gemma4Config) -> None:
    torch.manual_seed(7)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    weights = {
        name.removeprefix("model."): tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith("model.")
    }
    path = tmp_path / "gemma.safetensors"
    save_file(weights, path)
    table = _core.TensorTable()
    for name, info in open_checkpoint(path).tensors.items():
        table.add(name, *info.place)
    network = _core.TextEncoder(table, as_dict(config), None, None, _core.Device("cpu", 1))
    for length in (3, 12):
        # Without placeholders of pictures, which only one side knows.
        ids = random_ids(length, seed=length) % 47
        given = torch.from_numpy(ids.astype(np.int64))[None]
        with torch.no_grad():
            want = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                eos_token_id=None,
                suppress_tokens=[47, 48, 49],
            )[0, length:]
        cache, written, unread = network.open_cache(length + NEW_TOKENS), list[int](), ids
        while len(written) < NEW_TOKENS:
            logits = network.predict(cache, unread)
            written.append(int(logits[:47].argmax()))
            unread = np.asarray(written[-1:], np.int32)
        assert written == want.tolist()
