"""Print what the released LTX-2.5 holds and takes, as the tables of docs/ltx-2.5.md.

The files are holes of the released sizes, so nothing is downloaded or loaded: networks claim every
tensor of their component, or say what is missing, misshaped or left over, and memory plans measure
their graphs.

Example:
    python tools/plan_ltx25.py
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from released.claims import claim_all
from released.files25 import Described, describe_files, write_files
from synthetic.checkpoints import write_sparse_gguf

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.demo import demo_files
from ltx2cpp.memory.plan import GIB
from ltx2cpp.model.components import Component
from ltx2cpp.model.lora_file import open_lora_file
from ltx2cpp.model.resolve import resolve

_SIZES = ((768, 512, 121), (1920, 1088, 121))
_LIMITS = (8, 16, 24)
_WEIGHTS = ("bf16", "q4_k_m")
_DECODERS = ("conv", "diffusion")


def main() -> None:
    """Write the files, claim every component and plan."""
    with tempfile.TemporaryDirectory() as folder:
        described = describe_files()
        files = write_files(Path(folder), described)
        conv_vae, lora = files.pop("conv_vae"), files.pop("distilled_lora")
        print("| component | tensors | parameters | stored |\n| --- | --- | --- | --- |")
        for name, component in _components(files, conv_vae):
            print(_row(name, component))
        count, size = len(open_lora_file(lora).changes), lora.stat().st_size / 1e9
        print(f"| distilled LoRA | {2 * count}, of {count} modules | | {size:.2f} GB |\n")
        print("| clip | weights | decoder |" + "".join(f" {limit} GiB |" for limit in _LIMITS))
        print("| --- " * (len(_LIMITS) + 3) + "|")
        model = files | {"video_vae": conv_vae, "tokenizer": demo_files().text_encoder}
        model["video_decoder"] = files["video_vae"]
        for weights, decoder, size in itertools.product(_WEIGHTS, _DECODERS, _SIZES):
            if weights != "bf16":
                model |= _converted(Path(folder), described, weights)
            clip = "x".join(map(str, size))
            print(f"| {clip} | {weights} | {decoder} | {_plans(model, decoder, size)} |")


def _converted(folder: Path, described: Described, weights: str) -> dict[str, Path]:
    """Write transformer and text encoder as `convert` does."""
    files = {}
    for role in ("transformer", "text_encoder"):
        name, tensors, metadata = described[role]
        files[role] = folder / f"{name}-{weights}.gguf"
        write_sparse_gguf(files[role], tensors, metadata, weights)
    return files


def _components(files: dict[str, Path], conv_vae: Path) -> Iterator[tuple[str, Component]]:
    models = resolve(ModelFiles(**files))
    if models.unclaimed:
        raise SystemExit(f"left over: {models.unclaimed}")
    yield from claim_all(models)
    # Its encoder is the same.
    conv = dict(claim_all(resolve(ModelFiles(video_vae=conv_vae))))
    yield "video_decoder", conv["video_decoder"]


def _row(name: str, component: Component) -> str:
    parameters = sum(weight.info.num_elements for weight in component.tensors.values())
    size = component.size_bytes / 1e9
    return (
        f"| {name.replace('_', ' ')} | {len(component.tensors)} | {parameters:,} | {size:.2f} GB |"
    )


def _plans(files: dict[str, Path], decoder: str, size: tuple[int, int, int]) -> str:
    """Return the highest phase of the plan under each limit."""
    cells = []
    width, height, frames = size
    for limit in _LIMITS:
        with LTX2Pipeline(ModelFiles(**files), device="cpu", max_memory=limit) as pipe:
            plan = pipe.memory_plan(
                "a", width=width, height=height, num_frames=frames, decoder=decoder
            )
        highest = f"{plan.peak_bytes / GIB:.1f} GiB, {plan.largest.name}"
        cells.append(f"{highest} ({plan.offload})" if plan.fits else f"does not fit: {highest}")
    return " | ".join(cells)


if __name__ == "__main__":
    main()
