"""Which weight a module of an adapter means, in any spelling of its path."""

from __future__ import annotations

import re

from ltx2cpp.model.components import Component
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.names import Group, place_module, spell_module

# Component and canonical name of a weight.
Place = tuple[Group, str]

# Components whose weights LoRAs change; also their attributes in a ModelSet.
_COMPONENTS: tuple[Group, ...] = (
    "transformer",
    "video_connector",
    "audio_connector",
    "text_projection",
    "text_encoder",
)
_WEIGHT = ".weight"
# Names in which underscores stand for dots, and what may follow the first part.
_FLAT_PREFIXES = ("lora_unet_", "lycoris_")
_FLAT_ROOTS = ("", "model_", "diffusion_model_", "model_diffusion_model_", "transformer_")

# Layers of a language model, with dots or underscores between the parts: no other network here has
# layers with such projections. The second form is llama.cpp's.
_LANGUAGE_MODULE = re.compile(
    r"(?P<prefix>|.*[._])(layers|blk)[._](?P<layer>\d{1,4})[._]"
    r"((self_attn|mlp)[._](?P<projection>q|k|v|o|gate|up|down|qkv|out|gate_up)_proj"
    r"|(?P<llama_cpp>attn_(q|k|v|output)|ffn_(gate|up|down)))"
)
_LANGUAGE_PREFIX = re.compile(r"lora_te\d?_")
_PARTS = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_LLAMA_CPP_PARTS = {"attn_output": "o"}
# A multimodal text encoder has layers that look at pictures too.
_OTHER_TOWER = re.compile(r"vision|visual|image|audio_tower")


def is_text_encoder_module(module: str) -> bool:
    """Return whether a module that an adapter names, in any spelling, is of a language model."""
    return bool(_LANGUAGE_MODULE.fullmatch(module) or _LANGUAGE_PREFIX.match(module))


def place_language_module(module: str) -> Place | None:
    """Return the weight of the text encoder that a module means, or None.

    Args:
        module: dotted path or with underscores, with whatever prefix (``text_encoder.``,
            ``text_encoders.gemma3.``, ``lora_te_model_``, ``base_model.model.``, ...).
    """
    match = _LANGUAGE_MODULE.fullmatch(module)
    if match is None or _OTHER_TOWER.search(match["prefix"]):
        return None
    short = match["projection"]
    if short is None:
        short = _LLAMA_CPP_PARTS.get(match["llama_cpp"], match["llama_cpp"].rpartition("_")[2])
    part = _PARTS.get(short)
    return (
        None if part is None else ("text_encoder", f"layers.{int(match['layer'])}.{part}{_WEIGHT}")
    )


class ModuleNames:
    """Finds the weight of a model that a module of an adapter means."""

    def __init__(self, models: ModelSet) -> None:
        self.version = models.version
        self._components: dict[Group, Component] = {
            name: getattr(models, name) for name in _COMPONENTS if getattr(models, name) is not None
        }
        self._flat: dict[str, Place] | None = None

    def place(self, module: str) -> Place | None:
        """Return component and canonical name of the weight, whether or not the model has it."""
        if is_text_encoder_module(module):
            return place_language_module(module)
        for prefix in _FLAT_PREFIXES:
            if module.startswith(prefix):
                return self._place_flat(module[len(prefix) :])
        return place_module(module)

    def has_component(self, component: Group) -> bool:
        return component in self._components

    def has(self, place: Place) -> bool:
        component, weight = place
        return component in self._components and weight in self._components[component].tensors

    def shape(self, place: Place) -> tuple[int, ...]:
        component, weight = place
        return self._components[component].tensors[weight].info.shape

    def _place_flat(self, name: str) -> Place | None:
        # Which underscores were dots cannot be seen (audio_to_video_attn, to_out_0): look it up.
        if self._flat is None:
            self._flat = {
                spelling.replace(".", "_"): (group, weight)
                for group, component in self._components.items()
                if group != "text_encoder"
                for weight, ref in component.tensors.items()
                if weight.endswith(_WEIGHT) and len(ref.info.shape) == 2
                for spelling in spell_module(group, weight.removesuffix(_WEIGHT))
            }
        for root in _FLAT_ROOTS:
            if name.startswith(root) and (place := self._flat.get(name[len(root) :])) is not None:
                return place
        return None
