"""Write the trained model as an official single file and a Gemma folder.

`python -m train_demo.export --run FOLDER --out FOLDER` writes
`demo-distilled.safetensors` (bf16, the layout and metadata of a released LTX-2.3), `gemma/` and
`card.json`. The transformer has its sound stream, because every LTX-2.3 has, but untrained and with
its contribution to the picture zero; there is no audio VAE and no vocoder, so the demo is silent.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from train_demo import data, text
from train_demo.registers import NUM_REGISTERS
from train_demo.train import (
    TOKENIZER_FOLDER,
    load_decoder,
    load_encoder,
    load_gemma,
    load_generator,
)
from train_demo.transformer import Generator, TransformerConfig
from train_demo.transformer_training import TransformerSettings, latent_statistics
from train_demo.vae import VaeConfig

CHECKPOINT_NAME = "demo-distilled.safetensors"
MODEL_VERSION = "2.3.0"
_DIFFUSION = "model.diffusion_model."
_PROJECTION = "text_embedding_projection."


def export(run: Path, out: Path, seed: int) -> None:
    """Write checkpoint, Gemma folder and card.

    Args:
        run: Folder of train.py.
        out: Created if absent.
        seed: Of the untrained tensors.
    """
    out.mkdir(parents=True, exist_ok=True)
    cpu = torch.device("cpu")
    generator = load_generator(run, cpu)
    tensors = dict(generator_tensors(generator))
    random = torch.Generator().manual_seed(seed)
    for name, shape in sound_shapes(generator.config):
        if name in tensors:
            raise ValueError(f"{name}: trained and untrained at once")
        tensors[name] = _untrained(name, shape, random)
    for half, module in (("encoder", load_encoder(run, cpu)), ("decoder", load_decoder(run, cpu))):
        tensors.update((f"vae.{half}.{name}", v) for name, v in module.state_dict().items())
    statistics = latent_statistics(TransformerSettings(), seed)
    tensors["vae.per_channel_statistics.mean-of-means"] = statistics.mean
    tensors["vae.per_channel_statistics.std-of-means"] = statistics.std
    save_file(
        {name: _to_bf16(tensor) for name, tensor in sorted(tensors.items())},
        out / CHECKPOINT_NAME,
        metadata={
            "config": json.dumps(model_config(generator.config, VaeConfig())),
            "model_version": MODEL_VERSION,
        },
    )
    export_gemma(run, out / "gemma")
    card = {
        "width": data.WIDTH,
        "height": data.HEIGHT,
        "num_frames": data.NUM_FRAMES,
        "frame_rate": data.FRAME_RATE,
        "sound": False,
        "words": data.known_words(),
        "example": data.plain_caption(data.HELD_OUT_COMBINATIONS[0]),
        "held_out": [asdict(one) for one in data.HELD_OUT_COMBINATIONS],
    }
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def generator_tensors(generator: Generator) -> Iterator[tuple[str, Tensor]]:
    """Yield the trained tensors under their official names."""
    for name, tensor in generator.state_dict().items():
        if name.startswith("video_aggregate_embed."):
            yield _PROJECTION + name, tensor
        elif name.startswith("connector."):
            yield _DIFFUSION + "video_embeddings_" + name, tensor
        else:
            yield _DIFFUSION + name, tensor


Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _attention(name: str, query: int, context: int, inner: int, heads: int) -> Shapes:
    yield f"{name}.q_norm.weight", (inner,)
    yield f"{name}.k_norm.weight", (inner,)
    yield from _linear(f"{name}.to_q", inner, query)
    yield from _linear(f"{name}.to_k", inner, context)
    yield from _linear(f"{name}.to_v", inner, context)
    yield from _linear(f"{name}.to_out.0", query, inner)
    yield from _linear(f"{name}.to_gate_logits", heads, query)


def _feed_forward(name: str, width: int) -> Shapes:
    yield from _linear(f"{name}.net.0.proj", 4 * width, width)
    yield from _linear(f"{name}.net.2", width, 4 * width)


def _adaln(name: str, width: int, count: int) -> Shapes:
    yield from _linear(f"{name}.emb.timestep_embedder.linear_1", width, 256)
    yield from _linear(f"{name}.emb.timestep_embedder.linear_2", width, width)
    yield from _linear(f"{name}.linear", count * width, width)


def sound_shapes(config: TransformerConfig) -> Shapes:
    """Yield names and shapes of the untrained tensors: the sound stream and what crosses over."""
    width, audio, heads = config.width, config.audio_width, config.num_heads
    yield from _linear(
        f"{_PROJECTION}audio_aggregate_embed", audio, config.text_hidden * config.text_states
    )
    connector = f"{_DIFFUSION}audio_embeddings_connector."
    yield f"{connector}learnable_registers", (NUM_REGISTERS, audio)
    for index in range(config.connector_layers):
        block = f"{connector}transformer_1d_blocks.{index}."
        yield from _attention(f"{block}attn1", audio, audio, audio, heads)
        yield from _feed_forward(f"{block}ff", audio)
    yield from _linear(f"{_DIFFUSION}audio_patchify_proj", audio, config.audio_channels)
    yield from _linear(f"{_DIFFUSION}audio_proj_out", config.audio_channels, audio)
    yield f"{_DIFFUSION}audio_scale_shift_table", (2, audio)
    yield from _adaln(f"{_DIFFUSION}audio_adaln_single", audio, 9)
    yield from _adaln(f"{_DIFFUSION}audio_prompt_adaln_single", audio, 2)
    yield from _adaln(f"{_DIFFUSION}av_ca_video_scale_shift_adaln_single", width, 4)
    yield from _adaln(f"{_DIFFUSION}av_ca_audio_scale_shift_adaln_single", audio, 4)
    yield from _adaln(f"{_DIFFUSION}av_ca_a2v_gate_adaln_single", width, 1)
    yield from _adaln(f"{_DIFFUSION}av_ca_v2a_gate_adaln_single", audio, 1)
    for index in range(config.num_layers):
        block = f"{_DIFFUSION}transformer_blocks.{index}."
        yield from _attention(f"{block}audio_attn1", audio, audio, audio, heads)
        yield from _attention(f"{block}audio_attn2", audio, audio, audio, heads)
        yield from _attention(f"{block}audio_to_video_attn", width, audio, audio, heads)
        yield from _attention(f"{block}video_to_audio_attn", audio, width, audio, heads)
        yield from _feed_forward(f"{block}audio_ff", audio)
        yield f"{block}audio_scale_shift_table", (9, audio)
        yield f"{block}audio_prompt_scale_shift_table", (2, audio)
        yield f"{block}scale_shift_table_a2v_ca_video", (5, width)
        yield f"{block}scale_shift_table_a2v_ca_audio", (5, audio)


def _untrained(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    if ".audio_to_video_attn.to_out.0." in name or name.endswith(".bias"):
        # The picture must not hear an untrained stream.
        return torch.zeros(shape)
    if "norm.weight" in name:
        return torch.ones(shape)
    return torch.randn(shape, generator=random) / math.sqrt(shape[-1])


def _to_bf16(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.bfloat16).contiguous()


def model_config(config: TransformerConfig, vae: VaeConfig) -> dict[str, object]:
    """Return the metadata object `config`, with the keys of the released files."""
    return {
        "transformer": {
            "_class_name": "AVTransformer3DModel",
            "activation_fn": "gelu-approximate",
            "apply_gated_attention": True,
            "attention_bias": True,
            "attention_head_dim": config.head_dim,
            "audio_attention_head_dim": config.audio_head_dim,
            "audio_connector_attention_head_dim": config.audio_head_dim,
            "audio_connector_num_attention_heads": config.num_heads,
            "audio_cross_attention_dim": config.audio_width,
            "audio_in_channels": config.audio_channels,
            "audio_num_attention_heads": config.num_heads,
            "audio_out_channels": config.audio_channels,
            "audio_positional_embedding_max_pos": [20],
            "av_ca_timestep_scale_multiplier": 1000.0,
            "av_cross_ada_norm": True,
            "caption_channels": config.text_hidden,
            "caption_proj_before_connector": True,
            "caption_proj_input_norm": False,
            "caption_projection_first_linear": False,
            "caption_projection_second_linear": False,
            "causal_temporal_positioning": True,
            "connector_apply_gated_attention": True,
            "connector_attention_head_dim": config.head_dim,
            "connector_norm_output": True,
            "connector_num_attention_heads": config.num_heads,
            "connector_num_layers": config.connector_layers,
            "connector_num_learnable_registers": NUM_REGISTERS,
            "connector_positional_embedding_max_pos": [4096],
            "cross_attention_adaln": True,
            "cross_attention_dim": config.width,
            "cross_attention_norm": True,
            "double_self_attention": False,
            "dropout": 0.0,
            "frequencies_precision": "float64",
            "in_channels": config.latent_channels,
            "norm_elementwise_affine": False,
            "norm_eps": 1e-06,
            "num_attention_heads": config.num_heads,
            "num_embeds_ada_norm": 1000,
            "num_layers": config.num_layers,
            "only_cross_attention": False,
            "out_channels": config.latent_channels,
            "positional_embedding_max_pos": [20, 2048, 2048],
            "positional_embedding_theta": 10000.0,
            "positional_embedding_type": "rope",
            "qk_norm": "rms_norm",
            "rope_type": "split",
            "share_ff": False,
            "standardization_norm": "rms_norm",
            "text_encoder_norm_type": "per_token_rms",
            "timestep_scale_multiplier": 1000,
            "upcast_attention": False,
            "use_audio_video_cross_attention": True,
            "use_embeddings_connector": True,
            "use_middle_indices_grid": True,
        },
        "vae": vae.metadata(),
        "scheduler": {
            "_class_name": "RectifiedFlowScheduler",
            "num_train_timesteps": 1000,
            "sampler": "LinearQuadratic",
        },
    }


def export_gemma(run: Path, folder: Path) -> None:
    """Write a Hugging Face folder of the text model and its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    gemma = load_gemma(run, torch.device("cpu"))
    tensors = {
        re.sub("^model\\.", "language_model.model.", name): _to_bf16(tensor)
        for name, tensor in gemma.state_dict().items()
        if name.startswith("model.")
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "eos_token_id": [text.EOS],
        "model_type": "gemma3",
        "text_config": text.TEXT_CONFIG,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for path in (run / TOKENIZER_FOLDER).iterdir():
        shutil.copyfile(path, folder / path.name)


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of train.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="the seed of train.py")
    options = parser.parse_args()
    export(options.run, options.out, options.seed)


if __name__ == "__main__":
    main()
