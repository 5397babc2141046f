"""Options that name the model's files and the machine, shared by the commands that compute."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.cache import cache_folder, prompt_folder
from ltx2cpp.cli.options.common import devices, lora
from ltx2cpp.cli.options.names import add_hub_options, take_names

if TYPE_CHECKING:
    from ltx2cpp import LoraSpec, LTX2Pipeline, MemoryPlan, ModelFiles
    from ltx2cpp.hub import Download
    from ltx2cpp.observing import Observer
    from ltx2cpp.requests.models import NamedModel

# Attribute of ModelFiles and what its option says.
COMPONENTS = {
    "transformer": "the diffusion transformer",
    "connectors": "the text connectors",
    "text_projection": "the projection of the text encoder's states",
    "video_vae": "the video encoder and decoder",
    "video_decoder": "a second video VAE, of which only the decoder is taken (LTX-2.5)",
    "audio_vae": "the audio encoder and decoder, mostly with the vocoder",
    "vocoder": "the vocoder, where it is a file of its own",
    "spatial_upsampler": "the spatial latent upsampler",
    "temporal_upsampler": "the temporal latent upsampler",
    "tokenizer": "the tokenizer, where the text encoder has none",
    "duration_head": "the duration head",
    "preview_decoder": "a tiny video decoder (taeltx) for previews; the clip stays the same",
    "prompt_enhancer": "a Gemma that writes prompts out for --enhance (default: the text encoder)",
}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the files of the model and the machine it runs on."""
    from ltx2cpp.options import WEIGHT_TYPES, spell_type

    model = parser.add_argument_group(
        "model files", "a file for one component wins over what --model holds"
    )
    model.add_argument(
        "-m",
        "--model",
        type=Path,
        metavar="FILE",
        help="checkpoint, safetensors or GGUF, or the name of a model",
    )
    model.add_argument(
        "--text-encoder",
        type=Path,
        metavar="PATH",
        help="Gemma 3: a folder, a safetensors file or a GGUF",
    )
    model.add_argument(
        "-hf", metavar="OWNER/NAME[:TAG]", help="a repository of the hub, as --model hf:OWNER/NAME"
    )
    for name, what in COMPONENTS.items():
        model.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="FILE", help=what)
    model.add_argument(
        "--variant",
        choices=("dev", "distilled"),
        help="whose defaults to use (default: what metadata or file names say)",
    )
    add_hub_options(parser)
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--device",
        type=devices,
        default="auto",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, vulkan:0 or auto (default: auto); or one for each part, as in "
        "encode=cpu,denoise=cuda:0,decode=cuda:1; several with + between share the passes of "
        "guidance, a process each, as in denoise=cuda:0+cuda:1",
    )
    machine.add_argument(
        "-t", "--threads", type=int, metavar="N", help="CPU threads (default: cores it may use)"
    )
    machine.add_argument(
        "--weight-type",
        default="file",
        type=spell_type,
        choices=WEIGHT_TYPES,
        help="convert the weights on load (default: file, as stored)",
    )


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    """Add how much memory may be used and what is done to keep to it."""
    from ltx2cpp.options import OFFLOADS

    memory = parser.add_argument_group("memory")
    memory.add_argument(
        "--max-memory",
        type=float,
        metavar="GIB",
        help="use at most so much, by keeping less loaded and decoding in smaller pieces; what "
        "cannot is refused before it starts",
    )
    memory.add_argument(
        "--offload",
        default="auto",
        choices=OFFLOADS,
        help="phase: free each network after its phase; stream: also let weights go block by "
        "block, for models larger than memory; disk: the same, out of the system's cache too; "
        "none: keep everything; auto (default): the first that fits",
    )


def add_lora_options(parser: argparse.ArgumentParser) -> None:
    """Add the LoRAs to apply to the model."""
    from ltx2cpp.options import LORA_MODES

    group = parser.add_argument_group("LoRAs")
    group.add_argument(
        "--lora",
        dest="loras",
        type=lora,
        action="append",
        default=[],
        metavar="PATH[:STRENGTH][@STAGE]",
        help="a LoRA: it changes what or how the model shows; strength 1 (default) as trained, "
        "less is weaker, negative pushes away; @1 or @2: in one of two stages only; repeatable, "
        "several add up",
    )
    group.add_argument(
        "--distilled-lora",
        type=Path,
        metavar="FILE",
        help="the LoRA that lets a full model finish in a few steps; the pipelines of two stages "
        "apply it where and as strongly as the official ones do",
    )
    group.add_argument(
        "--lora-mode",
        default="auto",
        choices=LORA_MODES,
        help="merge: add them to the weights on load, no cost per step; runtime: compute them at "
        "every step, beside weights that keep their precision; auto (default): runtime where "
        "weights have less than 8 bits",
    )


# Arguments that hold a path or the name of a model.
NAMED = ("model", "text_encoder", *COMPONENTS, "distilled_lora")


def take_model_names(
    arguments: argparse.Namespace,
    memory: Callable[[argparse.Namespace], MemoryPlan] | None = None,
) -> Download | None:
    """Fetch the models that are named, and put their paths in the place of the names.

    Args:
        arguments: parsed; changed.
        memory: plans the clip from headers alone.

    Returns:
        what names meant; None where there are paths alone.

    Raises:
        HubError: a name means nothing, or cannot be fetched.
        ArgumentError: the user does not want it fetched.
    """
    return take_names(arguments, NAMED, memory)


def model_files(arguments: argparse.Namespace) -> ModelFiles:
    """Collect the files that the options name."""
    from ltx2cpp import ModelFiles

    return ModelFiles(
        checkpoint=arguments.model,
        text_encoder=arguments.text_encoder,
        variant=arguments.variant,
        **{name: getattr(arguments, name) for name in COMPONENTS},
    )


def names_no_model(arguments: argparse.Namespace) -> bool:
    """Return whether no option says anything about model files."""
    names = ("model", "hf", "text_encoder", "variant", *COMPONENTS)
    return all(getattr(arguments, name) is None for name in names)


def open_pipeline(
    arguments: argparse.Namespace,
    observer: Observer,
    loras: Sequence[LoraSpec] = (),
    lora_mode: str = "auto",
    distilled_lora: Path | None = None,
    *,
    demo: bool = False,
) -> LTX2Pipeline:
    """Make the pipeline that the options ask for, or that of the demo model."""
    from ltx2cpp import LTX2Pipeline

    make = LTX2Pipeline.demo if demo else partial(LTX2Pipeline, model_files(arguments))
    memory = {
        name: getattr(arguments, name)
        for name in ("offload", "max_memory")
        if hasattr(arguments, name)
    }
    cached = not getattr(arguments, "no_prompt_cache", True)
    # Finished clips teach the previews of later ones.
    learned = cache_folder("previews") if hasattr(arguments, "preview") else None
    return make(
        device=arguments.device,
        weight_type=arguments.weight_type,
        threads=arguments.threads,
        observer=observer,
        loras=loras,
        lora_mode=lora_mode,
        prompt_cache=prompt_folder() if cached else None,
        preview_cache=learned,
        distilled_lora=distilled_lora,
        **memory,
    )


def named_model(arguments: argparse.Namespace, name: str | None = None) -> NamedModel:
    """Return the model that the options name, for other processes to open.

    Args:
        arguments: parsed; models are paths by now.
        name: what requests call it; default: that of its file.
    """
    from dataclasses import replace

    from ltx2cpp.requests.models import NamedModel

    cached = None if arguments.no_prompt_cache else prompt_folder()
    options = {
        option: getattr(arguments, option)
        for option in ("device", "weight_type", "threads", "lora_mode", "offload", "max_memory")
    }
    distilled = arguments.distilled_lora
    options.update(
        prompt_cache=cached,
        preview_cache=cache_folder("previews"),
        loras=tuple(replace(each, path=Path(each.path).absolute()) for each in arguments.loras),
        distilled_lora=None if distilled is None else distilled.absolute(),
    )
    if names_no_model(arguments):
        return NamedModel(name or "demo", None, options)
    files = model_files(arguments)
    paths: dict[str, Any] = {part: path.absolute() for part, path in files.paths().items()}
    source = arguments.model or arguments.transformer
    usual = Path(source).stem if source is not None else "model"
    return NamedModel(name or usual, replace(files, **paths), options)
