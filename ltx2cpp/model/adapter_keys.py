"""The keys of adapter files: which module a tensor changes, as which part, and what kind it is.

Source: key forms of the official trainer, ComfyUI, diffusers and peft, DiffSynth, kohya's scripts
and LyCORIS.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Family = Literal["LoRA", "LoHa", "LoKr", "weight difference"]

ALPHA = ".alpha"

# The name of an adapter, or ".weight", may follow.
_TAIL = r"(?:\.(?!weight$|bias$)[\w-]+)?(?:\.weight)?"
# lora_A, lora_down and lora.down are one thing.
_FAMILIES: tuple[tuple[Family, re.Pattern[str]], ...] = (
    ("LoRA", re.compile(r"(?P<module>.+?)\.lora[_.](?P<part>A|B|down|up)" + _TAIL)),
    ("LoHa", re.compile(r"(?P<module>.+?)\.hada_(?P<part>w[12]_[ab])" + _TAIL)),
    ("LoKr", re.compile(r"(?P<module>.+?)\.lokr_(?P<part>w[12](?:_[ab])?)" + _TAIL)),
    # ComfyUI's, for what has no low rank.
    ("weight difference", re.compile(r"(?P<module>.+?)\.(?P<part>diff)")),
)
_SAME_PART = {"A": "down", "B": "up"}
_MAGNITUDE = re.compile(r"(?P<module>.+?)\.(dora_scale|lora_magnitude_vector)" + _TAIL)

# What names such keys are of -> words for such files.
_NOT_READ: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), title)
    for pattern, title in (
        (r"\.(boft)_\w+", "a BOFT adapter"),
        (r"\.(oft)_\w+", "an OFT adapter"),
        (r"\.(ia3_l|on_input)\b", "an IA3 adapter"),
        (r"\.vera_lambda_\w+", "a VeRA adapter"),
        (r"\.vblora_\w+", "a VB-LoRA adapter"),
        (r"\.randlora_\w+", "a RandLoRA adapter"),
        (r"\.fourierft_\w+", "a FourierFT adapter"),
        (r"\.c3a_\w+", "a C3A adapter"),
        (r"\.hra_u\b", "an HRA adapter"),
        (r"\.(bone|miss)_\w+", "a MiSS (Bone) adapter"),
        (r"\.(road_theta|road_alpha)\b", "a RoAd adapter"),
        (r"\.lora_(E|ranknum)\b", "an AdaLoRA adapter"),
        (r"\.lora_embedding_[AB]\b", "a LoRA of embeddings"),
        (r"\.set_weight$", "a patch that replaces weights"),
        (
            r"\.(lora_mid|hada_t[12]|lokr_t2)\b",
            "an adapter with a middle factor (Tucker form), which only convolutions have",
        ),
        (
            r"\.(weight_scale(_2)?|scale_weight|comfy_quant)$|^scaled_fp8$",
            "a LoRA in scaled fp8",
        ),
    )
)
# Adapters of language and picture models whose keys a model could have too, were it one of these.
_GLORA_PARTS = (".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight")
# Marks of an adapter that a model's own file cannot have; scales of fp8 it can.
_MODEL_MARKS = frozenset(("a LoRA in scaled fp8",))


@dataclass(frozen=True, slots=True)
class AdapterKey:
    """What a key of an adapter file names.

    Attributes:
        module: stored name of the module that is changed, prefix included.
        family: what the part belongs to; None for magnitudes, which any may have.
        part: "down" or "up" of a LoRA, "w1_a" and the like of others, "diff", or "magnitude".
    """

    module: str
    family: Family | None
    part: str


def read_key(name: str) -> AdapterKey | None:
    """Return what a key names, or None for one that is no part of an adapter that is read."""
    for family, pattern in _FAMILIES:
        if (match := pattern.fullmatch(name)) is not None:
            part = match["part"]
            return AdapterKey(match["module"], family, _SAME_PART.get(part, part))
    if (match := _MAGNITUDE.fullmatch(name)) is not None:
        return AdapterKey(match["module"], None, "magnitude")
    return None


def unread_kind(names: Collection[str]) -> tuple[str, str] | None:
    """Return words for the kind of adapter with such keys that is not read, and one key of it."""
    for name in names:
        if "." not in name and name != "scaled_fp8":
            continue
        for pattern, title in _NOT_READ:
            if pattern.search(name):
                return title, name
        module = name.removesuffix(_GLORA_PARTS[0])
        if module != name and all(module + part in names for part in _GLORA_PARTS):
            return "a GLoRA adapter", name
    return None


def adapter_kind(names: Collection[str]) -> str | None:
    """Return the kind of adapter that has such keys ("LoRA", "OFT adapter"); None for a model."""
    keys = [key for key in map(read_key, names) if key is not None]
    families = dict.fromkeys(key.family for key in keys if key.family is not None)
    if families:
        magnitude = any(key.part == "magnitude" for key in keys)
        return kind_title(next(iter(families)), magnitude=magnitude)
    unread = unread_kind(names)
    if unread is None or unread[0] in _MODEL_MARKS:
        return None
    return unread[0].partition(" ")[2]


def kind_title(family: Family, *, magnitude: bool) -> str:
    """Return the name of a kind: "LoRA", "DoRA" (a LoRA with magnitudes), "LoKr with DoRA"."""
    if not magnitude:
        return family
    return "DoRA" if family == "LoRA" else f"{family} with DoRA"
