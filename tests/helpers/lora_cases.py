"""LoRA files of every key form, and models with the tensors of released ones to apply them to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from released.configs import released_config
from released.layouts import released_tensors

from helpers.checkpoint_writers import write_safetensors
from ltx2cpp import LoraSpec, ModelFiles
from ltx2cpp.model.lora import AdaptedModels, Lora
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve

RANK = 4
# Canonical module -> (out, in) in LTX-2.3.
MODULES = {
    "transformer_blocks.0.attn1.to_k": (4096, 4096),
    "transformer_blocks.1.audio_to_video_attn.to_out.0": (4096, 2048),
    "transformer_blocks.1.audio_ff.net.0.proj": (8192, 2048),
    "patchify_proj": (4096, 128),
    "audio_prompt_adaln_single.emb.timestep_embedder.linear_1": (2048, 256),
    "av_ca_a2v_gate_adaln_single.linear": (4096, 4096),
}
DIFFUSERS = {
    "patchify_proj": "proj_in",
    "audio_prompt_adaln_single.emb.timestep_embedder.linear_1": (
        "audio_prompt_adaln.emb.timestep_embedder.linear_1"
    ),
    "av_ca_a2v_gate_adaln_single.linear": "av_cross_attn_video_a2v_gate.linear",
}
FORMS = {
    "official": (
        "diffusion_model.{module}.lora_A.weight",
        "diffusion_model.{module}.lora_B.weight",
    ),
    "with model": (
        "model.diffusion_model.{module}.lora_down.weight",
        "model.diffusion_model.{module}.lora_up.weight",
    ),
    "diffusers": ("transformer.{diffusers}.lora_A.weight", "transformer.{diffusers}.lora_B.weight"),
    "old diffusers": (
        "transformer.{diffusers}.lora.down.weight",
        "transformer.{diffusers}.lora.up.weight",
    ),
    "peft": (
        "base_model.model.{diffusers}.lora_A.weight",
        "base_model.model.{diffusers}.lora_B.weight",
    ),
    "diffsynth": ("{module}.lora_A.default.weight", "{module}.lora_B.default.weight"),
    "kohya": ("lora_unet_{flat}.lora_down.weight", "lora_unet_{flat}.lora_up.weight"),
    "kohya with model": (
        "lora_unet_model_{flat}.lora_down.weight",
        "lora_unet_model_{flat}.lora_up.weight",
    ),
    "kohya of diffusers": (
        "lora_unet_{flat_diffusers}.lora_down.weight",
        "lora_unet_{flat_diffusers}.lora_up.weight",
    ),
}
ATTENTION = {"transformer_blocks.0.attn1.to_k": (4096, 4096)}

Tensors = dict[str, tuple[str, Sequence[int]]]


def spell(form: str, module: str) -> str:
    """Return the key of a module; ``form`` is one half of an entry of FORMS."""
    diffusers = DIFFUSERS.get(module, module)
    return form.format(
        module=module,
        diffusers=diffusers,
        flat=module.replace(".", "_"),
        flat_diffusers=diffusers.replace(".", "_"),
    )


def factors(form: str, modules: Mapping[str, tuple[int, int]], rank: int = RANK) -> Tensors:
    """Return types and shapes of the factors of each module, by their keys in this form."""
    down, up = FORMS[form]
    tensors: Tensors = {}
    for module, (out, columns) in modules.items():
        tensors[spell(down, module)] = ("BF16", (rank, columns))
        tensors[spell(up, module)] = ("BF16", (out, rank))
    return tensors


def make_model(folder: Path, version: str) -> ModelSet:
    """Return a model with the tensors of a released one, two blocks deep, and no values."""
    path = folder / f"ltx-{version}-distilled.safetensors"
    write_safetensors(
        path, released_tensors(version, 2), {"config": json.dumps(released_config(version, 2))}
    )
    return resolve(ModelFiles(path))


def apply_loras(model: ModelSet, specs: Sequence[LoraSpec]) -> tuple[ModelSet, tuple[Lora, ...]]:
    """Return a model with LoRAs and their descriptions."""
    adapted = AdaptedModels(model)
    loras = adapted.match(specs)
    return adapted.with_loras(tuple(specs)), loras


def apply(
    model: ModelSet,
    folder: Path,
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    metadata: Mapping[str, str] | None = None,
    *,
    strength: float = 1.0,
    name: str = "adapter.safetensors",
    data: Mapping[str, bytes] | None = None,
) -> tuple[ModelSet, Lora]:
    """Write a LoRA file and return the model with it and its description."""
    write_safetensors(folder / name, dict(tensors), metadata, data)
    changed, loras = apply_loras(model, [LoraSpec(folder / name, strength)])
    return changed, loras[0]
