"""The models that requests may name, opened in the processes that use them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.describe import package_version
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.identity import weights_identity
from ltx2cpp.observing import Observer
from ltx2cpp.options import LoraSpec
from ltx2cpp.pipeline import LTX2Pipeline

# A component that changes no clip.
_PREVIEWS = "preview_decoder"


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A model that clips may be asked of.

    Attributes:
        name: what requests call it.
        files: its files, with absolute paths; None for the demo model.
        options: those of `LTX2Pipeline`, without an observer; paths are absolute.
        offered: LoRAs that requests may name, beside those of the options.
    """

    name: str
    files: ModelFiles | None
    options: Mapping[str, Any] = field(default_factory=dict)
    offered: Mapping[str, Path] = field(default_factory=dict)


def open_model(model: NamedModel, observer: Observer) -> LTX2Pipeline:
    """Return the pipeline of a model.

    Raises:
        Error: its files cannot be used.
    """
    options: dict[str, Any] = {**model.options, "observer": observer}
    if model.files is None:
        return LTX2Pipeline.demo(**options)
    return LTX2Pipeline(model.files, **options)


def use_loras(model: NamedModel, pipe: LTX2Pipeline, chosen: str | None) -> None:
    """Have a pipeline use the LoRAs that a request names, and no others of those offered.

    Args:
        model: whose pipeline it is.
        pipe: changed; the transformer is loaded anew only where the LoRAs are others.
        chosen: NAME[:STRENGTH], separated by commas; None for none.

    Raises:
        ArgumentError: there is no such LoRA.
        Error: its file cannot be used.
    """
    loras = list(model.options.get("loras", ()))
    for each in chosen.split(",") if chosen else ():
        name, _, strength = each.partition(":")
        if name not in model.offered:
            known = f"there are {', '.join(model.offered)}" if model.offered else "it has none"
            raise ArgumentError(f"loras: {model.name} has no {name!r:.80}; {known}")
        loras.append(LoraSpec(model.offered[name], float(strength or 1.0)))
    pipe.set_loras(loras)


def model_identity(pipe: LTX2Pipeline) -> str:
    """Return what tells a model from others: its weights and LoRAs, and the types it computes in.

    Devices differ in the last bits of their numbers, and are not in it: the clips of one batch or
    server may be made on several kinds of them.
    """
    backend = pipe.networks.backend
    parts = {name: each for name, each in pipe.models.components().items() if name != _PREVIEWS}
    return weights_identity(
        parts,
        ltx2cpp=package_version(),
        weight_type=backend.weight_type,
        lora_mode=backend.lora_mode,
    ).hex()


def offer_identity(model: NamedModel, pipe: LTX2Pipeline) -> str:
    """Return what tells what requests may ask of a model from other offers: LoRAs by name too.

    Args:
        model: it.
        pipe: its pipeline, which is left with no LoRA that a request would have to name.

    Raises:
        Error: a LoRA cannot be used.
    """
    use_loras(model, pipe, None)
    digest = hashlib.sha256(model_identity(pipe).encode())
    for name in sorted(model.offered):
        use_loras(model, pipe, name)
        digest.update(f"\n{name} {model_identity(pipe)}".encode())
    use_loras(model, pipe, None)
    return digest.hexdigest()
