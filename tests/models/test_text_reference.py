"""The text networks against the pip references in torch, random weights, float32."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers import text_cases
from helpers.text_cases import CONNECTOR, GEMMA, as_dict
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.config import ConnectorConfig, GemmaConfig, TextProjectionConfig

REASON = "needs the torch reference packages (pip install '.[reference]')"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("diffusers", reason=REASON)
safetensors_torch = pytest.importorskip("safetensors.torch", reason=REASON)

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore"),  # other packages' deprecations
]

DEVICE = _core.Device("cpu", 1)

# One layer of the 12B model; the vocabulary is cut, the look-up being no part of the layer.
LAYER_12B = GemmaConfig(
    num_layers=1,
    hidden_size=3840,
    intermediate_size=15360,
    num_heads=16,
    num_kv_heads=8,
    head_dim=256,
    rms_norm_eps=1e-6,
    query_pre_attn_scalar=256.0,
    sliding_window=1024,
    global_layers=(True,),
    rope_theta_global=1e6,
    rope_factor_global=8.0,
    rope_theta_local=1e4,
    vocab_size=64,
    norm_weight_offset=1.0,
    embedding_scale=float(np.sqrt(np.float32(3840))),
)


def reference_gemma(c: GemmaConfig) -> Any:
    """A random Gemma3TextModel of the configuration, its weights rounded to bfloat16."""
    kinds = ["full_attention" if g else "sliding_attention" for g in c.global_layers]
    config = transformers.Gemma3TextConfig(
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
        layer_types=kinds,
        rope_parameters={
            "full_attention": {
                "rope_type": "linear",
                "factor": c.rope_factor_global,
                "rope_theta": c.rope_theta_global,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": c.rope_theta_local},
        },
        attn_implementation="eager",
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    torch.manual_seed(5)
    model = transformers.Gemma3TextModel(config).eval()
    round_randomly(model)
    return model


def round_randomly(model: Any) -> None:
    """Give every parameter a spread, also norms and biases that start constant."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.copy_(0.3 * torch.randn_like(p) + (1.0 if name.endswith("norm_q.weight") else 0))
            elif "registers" not in name:
                p.copy_(torch.randn_like(p) * p.shape[-1] ** -0.5)
            p.copy_(p.bfloat16().float())


def core_table(path: Path, tensors: dict[str, Any]) -> _core.TensorTable:
    """Save tensors as bfloat16 and return a table that loads them as float32."""
    safetensors_torch.save_file({k: v.bfloat16().contiguous() for k, v in tensors.items()}, path)
    table = _core.TensorTable()
    for name, info in open_checkpoint(path).tensors.items():
        table.add(
            name,
            info.dtype.value,
            info.shape,
            str(info.path),
            info.offset,
            info.size_bytes,
            "f32",
        )
    return table


def reference_states(model: Any, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    with torch.no_grad():
        output = model(torch.from_numpy(ids.astype(np.int64))[None], output_hidden_states=True)
    states: NDArray[np.float32] = torch.cat(output.hidden_states).numpy()
    return states


@pytest.mark.parametrize("tokens", [1, 6, 75])
def test_small_gemma(tmp_path: Path, tokens: int) -> None:
    model = reference_gemma(GEMMA)
    # The model computes the scale in its own dtype.
    config = dataclasses.replace(GEMMA, embedding_scale=float(np.sqrt(np.float32(64))))
    table = core_table(tmp_path / "gemma.safetensors", model.state_dict())
    network = _core.TextEncoder(table, as_dict(config), None, None, DEVICE)
    ids = text_cases.random_ids(tokens)
    want = reference_states(model, ids)
    compare("hidden states", network.hidden_states(ids), want, tolerances.TEXT_F32)


def test_one_layer_of_released_size(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, LAYER_12B.vocab_size, 32).astype(np.int32)
    model = reference_gemma(LAYER_12B)
    table = core_table(tmp_path / "layer.safetensors", model.state_dict())
    want = reference_states(model, ids)
    del model
    network = _core.TextEncoder(table, as_dict(LAYER_12B), None, None, DEVICE)
    compare("hidden states", network.hidden_states(ids), want, tolerances.TEXT_F32)


def reference_connectors(c: ConnectorConfig, p: TextProjectionConfig, audio_head_dim: int) -> Any:
    """Random LTX2TextConnectors of the configurations."""
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    torch.manual_seed(6)
    model = LTX2TextConnectors(
        caption_channels=p.hidden_size,
        text_proj_in_factor=p.num_states,
        video_connector_num_attention_heads=c.num_heads,
        video_connector_attention_head_dim=c.head_dim,
        video_connector_num_layers=c.num_layers,
        video_connector_num_learnable_registers=c.num_registers,
        video_gated_attn=c.gated_attention,
        audio_connector_num_attention_heads=c.num_heads,
        audio_connector_attention_head_dim=audio_head_dim,
        audio_connector_num_layers=c.num_layers,
        audio_connector_num_learnable_registers=c.num_registers,
        audio_gated_attn=c.gated_attention,
        connector_rope_base_seq_len=c.max_pos,
        rope_theta=c.rope_theta,
        rope_double_precision=True,
        rope_type="split",
        per_modality_projections=p.variant == "v2",
        video_hidden_dim=p.video_width,
        audio_hidden_dim=p.audio_width,
        proj_bias=p.variant == "v2",
    ).eval()
    round_randomly(model)
    return model


def official_name(name: str) -> str:
    for theirs, ours in (
        ("transformer_blocks", "transformer_1d_blocks"),
        ("norm_q", "q_norm"),
        ("norm_k", "k_norm"),
        ("text_proj_in", "aggregate_embed"),
    ):
        name = name.replace(theirs, ours)
    return name


@pytest.mark.parametrize(
    ("variant", "gated", "head_dim", "audio_head_dim"),
    [("v1", False, 16, 16), ("v2", True, 16, 8)],
    ids=["LTX-2", "LTX-2.3"],
)
def test_features_and_connectors(
    tmp_path: Path, variant: Any, gated: bool, head_dim: int, audio_head_dim: int
) -> None:
    c = dataclasses.replace(CONNECTOR, gated_attention=gated, head_dim=head_dim)
    widths = {"video": c.num_heads * head_dim, "audio": c.num_heads * audio_head_dim}
    p = TextProjectionConfig(
        variant, GEMMA.hidden_size, GEMMA.num_layers + 1, widths["video"], widths["audio"]
    )
    gemma = reference_gemma(GEMMA)
    connectors = reference_connectors(c, p, audio_head_dim)
    ids, rows = text_cases.random_ids(13), 32
    with torch.no_grad():
        inputs = torch.from_numpy(ids.astype(np.int64))[None]
        states = torch.stack(gemma(inputs, output_hidden_states=True).hidden_states, -1)
        # Pads come first, hold anything, and change nothing.
        padded = torch.cat([torch.randn(1, rows - len(ids), *states.shape[2:]), states], 1)
        mask = torch.ones(1, rows)
        mask[:, : rows - len(ids)] = 0
        want = connectors(padded, mask)
    tensors = {official_name(k): v for k, v in connectors.state_dict().items()}
    projection = {k: v for k, v in tensors.items() if "aggregate_embed" in k}
    encoder = _core.TextEncoder(
        core_table(tmp_path / "gemma.safetensors", gemma.state_dict()),
        as_dict(GEMMA),
        core_table(tmp_path / "projection.safetensors", projection),
        as_dict(p),
        DEVICE,
    )
    for kind, got, expected in zip(widths, encoder.encode(ids), want, strict=False):
        prefix = f"{kind}_connector."
        own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        config = dataclasses.replace(c, head_dim=widths[kind] // c.num_heads)
        connector = _core.TextConnector(
            core_table(tmp_path / f"{kind}.safetensors", own), as_dict(config), DEVICE
        )
        context = connector.run(got, rows)
        compare(f"{kind} context", context, expected[0].numpy(), tolerances.TEXT_F32)
