"""Convert a model file to GGUF, quantised or not, with bounded memory."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf

from ltx2cpp.atomic import atomic_file, final_file
from ltx2cpp.checkpoint import DType, WeightRef, open_checkpoint
from ltx2cpp.checkpoint.gguf import ORIGINAL_SHAPE_KEY
from ltx2cpp.checkpoint.gguf_writer import GgufWriter, OutputTensor
from ltx2cpp.config import is_gemma4
from ltx2cpp.convert import gemma4_gguf, gemma_gguf
from ltx2cpp.convert.encoding import Item, Reader, encode_all
from ltx2cpp.errors import ArgumentError, CheckpointError, OutputError, UnsupportedError
from ltx2cpp.machine.processors import default_threads
from ltx2cpp.model.adapter_keys import adapter_kind
from ltx2cpp.model.detect import find_variant
from ltx2cpp.model.folders import models_in_folder
from ltx2cpp.model.llama_cpp import gguf_name
from ltx2cpp.model.names import Group
from ltx2cpp.model.overwriting import files_of_model, is_among
from ltx2cpp.model.quantization import Recipe, parse_recipe, target_dtype
from ltx2cpp.model.source import Source
from ltx2cpp.paths import is_folder

logger = logging.getLogger("ltx2cpp")

ProgressCallback = Callable[[int, int], None]

ARCHITECTURE = "ltxv"
SUFFIX = ".gguf"

_MAX_THREADS = 1024
# Room for the header when the space on the disk is checked.
_HEADER_MARGIN_BYTES = 32 << 20

# The transformer goes without prefix, as all readers of its GGUF files expect; the parts that other
# tools keep in files of their own get the prefix they have in the whole checkpoint, which leaves no
# doubt what a bare "decoder." would be.
_PREFIXES: dict[Group, str] = {
    "transformer": "",
    "video_connector": "video_embeddings_connector.",
    "audio_connector": "audio_embeddings_connector.",
    "text_projection": "text_embedding_projection.",
    "video_vae": "vae.",
    "audio_vae": "audio_vae.",
    "vocoder": "vocoder.",
    "upsampler": "",
    "duration_head": "duration_head.",
    "preview_decoder": "",
}
_FILE_TYPES = {
    Recipe.F32: gguf.LlamaFileType.ALL_F32,
    Recipe.F16: gguf.LlamaFileType.MOSTLY_F16,
    Recipe.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Recipe.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    Recipe.Q6_K: gguf.LlamaFileType.MOSTLY_Q6_K,
    Recipe.Q5_K_M: gguf.LlamaFileType.MOSTLY_Q5_K_M,
    Recipe.Q4_K_M: gguf.LlamaFileType.MOSTLY_Q4_K_M,
    # llama.cpp has no number for it, and this one for files whose types say all.
    Recipe.INT8_CONVROT: gguf.LlamaFileType.GUESSED,
}
# Keys that are written anew, or that are true of the source only.
_REPLACED_KEYS = frozenset(
    (
        "general.architecture",
        "general.alignment",
        "general.file_type",
        "general.quantization_version",
        "format",
        "_quantization_metadata",
    )
)
_REPLACED_PREFIXES = (ORIGINAL_SHAPE_KEY, "split.", "GGUF.")


@dataclass(frozen=True)
class ConversionReport:
    """What one conversion did.

    Attributes:
        path: the file written.
        recipe: policy that chose the types.
        architecture: value of `general.architecture`.
        num_tensors: tensors written.
        source_bytes: stored bytes of these tensors in the source.
        size_bytes: size of the file written.
        dtypes: type -> bytes of the tensors that have it.
        dropped: source names that were not taken along (scales, vision tower, tied output head).
        requantized: whether weights were quantised in the source already.
        seconds: wall time.
    """

    path: Path
    recipe: Recipe
    architecture: str
    num_tensors: int
    source_bytes: int
    size_bytes: int
    dtypes: dict[DType, int]
    dropped: tuple[str, ...]
    requantized: bool
    seconds: float


@dataclass
class _Plan:
    architecture: str
    metadata: dict[str, Any]
    items: list[Item] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(self, name: str, weight: WeightRef, recipe: Recipe, offset: float = 0.0) -> None:
        info = weight.info
        dtype = target_dtype(name, info.shape, weight.dtype, recipe) or info.dtype
        item = Item(OutputTensor(name, dtype, info.shape), weight, offset)
        for output in item.outputs:
            if output.name in self.names:
                raise CheckpointError(f"{info.path}: two tensors would become '{output.name}'")
            self.names.add(output.name)
        self.items.append(item)


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    type: str | Recipe = "q8_0",
    on_progress: ProgressCallback | None = None,
    *,
    threads: int | None = None,
) -> ConversionReport:
    """Write a model as GGUF.

    Configuration and model version go along, so the result is accepted wherever the source is. A
    Gemma text encoder is written in llama.cpp's form, with its tokenizer. Memory does not depend on
    the size of the file.

    Args:
        source: safetensors file, folder with an index, or GGUF; also one that is quantised already.
        destination: file to write, ending in ".gguf"; appears only when it is complete.
        type: f32, f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m or int8_convrot; norms, tables and other
            tensors that would suffer keep a wider type (see `ltx2cpp.model.quantization`).
        on_progress: called with (source bytes done, source bytes in all) many times a second; an
            exception it raises ends the conversion and leaves no file.
        threads: how many threads quantise; None takes the cores that this process may use.

    Returns:
        what was written.

    Raises:
        ArgumentError: unknown type, wrong ending, or the destination is part of the source.
        CheckpointError: the source is malformed, no model, or holds values that are not finite.
        UnsupportedError: a LoRA, an unknown packing, or values beyond the range of f16.
        OutputError: the destination cannot be written, or the disk is too small.

    Example:
        >>> convert("ltx-2.3-22b-distilled.safetensors", "ltx-2.3-22b-distilled-q8_0.gguf", "q8_0")
    """
    started_s = time.perf_counter()
    recipe = parse_recipe(type)
    if Path(destination).suffix.lower() != SUFFIX:
        raise ArgumentError(f"{destination}: expected a name that ends in {SUFFIX}")
    if threads is not None and not 1 <= threads <= _MAX_THREADS:
        raise ArgumentError(f"threads: expected 1 to {_MAX_THREADS} or None, found {threads}")
    if is_among(destination, files_of_model(source)):
        raise ArgumentError(f"{destination}: is the source itself; choose another name")
    model = _open(Path(source))
    plan = _make_plan(model, recipe)
    # Files are read front to back, whatever order their headers list the tensors in.
    items = sorted(plan.items, key=lambda item: (item.weight.info.path, item.weight.info.offset))
    requantized = _warn_about_requantizing(items, recipe, model.path)
    threads = threads or default_threads()
    source_bytes = sum(item.weight.info.size_bytes for item in items)
    done_bytes = 0
    outputs = [output for item in items for output in item.outputs]
    _check_space(final_file(destination), outputs)
    with (
        atomic_file(destination) as temporary,
        Reader() as reader,
        GgufWriter(temporary, plan.architecture, plan.metadata, outputs) as writer,
        closing(encode_all(items, reader, threads)) as pieces,
    ):
        for piece, taken_bytes in pieces:
            writer.write(piece)
            done_bytes += taken_bytes
            if on_progress is not None:
                on_progress(done_bytes, source_bytes)
        size_bytes = writer.finish()
    dtypes: Counter[DType] = Counter()
    for output in outputs:
        dtypes[output.dtype] += output.size_bytes
    names = {name for item in items for name in item.sources}
    return ConversionReport(
        path=Path(destination),
        recipe=recipe,
        architecture=plan.architecture,
        num_tensors=len(outputs),
        source_bytes=source_bytes,
        size_bytes=size_bytes,
        dtypes=dict(dtypes),
        dropped=tuple(name for name in model.file.tensors if name not in names),
        requantized=requantized,
        seconds=time.perf_counter() - started_s,
    )


# -- what goes into the file ----------------------------------------------------------------------


def _open(path: Path) -> Source:
    try:
        file = open_checkpoint(path)
    except CheckpointError as error:
        models = models_in_folder(path) if is_folder(path) else []
        if len(models) < 2:
            raise
        raise ArgumentError(
            f"{path}: holds {len(models)} model files, and each becomes a GGUF of its own; name "
            f"one, such as {models[0]}"
        ) from error
    kind = adapter_kind(file.tensors)
    if kind is not None:
        raise UnsupportedError(
            f"{path}: this is a {kind}, which changes a model but is none; convert the model itself"
        )
    source = Source("checkpoint", file)
    if not source.tensors.groups:
        raise CheckpointError(f"{path}: no tensor of LTX-2 or Gemma is in this file")
    return source


def _make_plan(source: Source, recipe: Recipe) -> _Plan:
    groups = source.tensors.groups
    where = str(source.path)
    text_only = "text_encoder" in groups and set(groups) <= {
        "text_encoder",
        "text_projection",
        "tokenizer",
    }
    metadata = _carried_metadata(source)
    metadata["general.file_type"] = int(_FILE_TYPES[recipe])
    metadata["general.quantization_version"] = int(gguf.GGML_QUANT_VERSION)
    is_newer = is_gemma4(groups.get("text_encoder", {}))
    gemma = gemma4_gguf.ARCHITECTURE if is_newer else gemma_gguf.ARCHITECTURE
    plan = _Plan(gemma if text_only else ARCHITECTURE, metadata)
    for group, tensors in groups.items():
        if group == "text_encoder":
            _plan_gemma(plan, source, recipe)
        elif group == "tokenizer":
            # Gemma 3 has its vocabulary in the metadata; elsewhere the bytes go along.
            if "text_encoder" not in groups or is_newer:
                for name, info in tensors.items():
                    plan.add(name, WeightRef(info), recipe)
        else:
            for name, weight in source.weights(tensors).items():
                plan.add(_PREFIXES[group] + name, weight, recipe)
    unknown = {name: source.file.tensors[name] for name in source.tensors.unclaimed}
    if unknown:
        logger.warning(
            "%s: %d tensors belong to no known component and are taken along (%s)",
            where,
            len(unknown),
            next(iter(unknown)),
        )
    for name, weight in source.weights(unknown).items():
        plan.add(name, weight, recipe)
    return plan


def _plan_gemma(plan: _Plan, source: Source, recipe: Recipe) -> None:
    config = gemma_gguf.read_config(source)
    # The keys of a GGUF have been carried along.
    if source.tensors.layouts.get("text_encoder") != "llama.cpp":
        plan.metadata.update(gemma_gguf.gemma_metadata(source, config))
    weights = source.weights(source.group("text_encoder"))
    for name, weight in weights.items():
        offset = gemma_gguf.norm_offset(name, config)
        plan.add(gguf_name(name), weight, recipe, offset)


def _carried_metadata(source: Source) -> dict[str, Any]:
    """Return the metadata of the source that stays true, and what the source's name tells."""
    carried: dict[str, Any] = {}
    carried["general.name"] = source.path.name if source.path.is_dir() else source.path.stem
    if source.group("transformer"):
        # Released files are told apart as dev and distilled by their names alone.
        variant, told_by = find_variant(source.file)
        if told_by != "default":
            carried["variant"] = variant
    for key, value in source.file.metadata.items():
        if key in _REPLACED_KEYS or key.startswith(_REPLACED_PREFIXES):
            continue
        if isinstance(value, list) and not all(isinstance(entry, str) for entry in value):
            logger.warning("%s: metadata '%s' is nested and not taken along", source.path, key)
            continue
        carried[key] = value
    return carried


# -- checks before the first byte -----------------------------------------------------------------


def _warn_about_requantizing(items: list[Item], recipe: Recipe, path: Path) -> bool:
    quantized = {item.weight.info.dtype for item in items if item.weight.info.dtype.is_quantized}
    rounded = (item for item in items if item.output.dtype.is_quantized or item.rotation)
    if quantized and not all(item.as_stored for item in rounded):
        logger.warning(
            "%s: is quantised already (%s); %s made from the original file would be closer to it",
            path,
            ", ".join(sorted(map(str, quantized))),
            recipe,
        )
    return bool(quantized)


def _check_space(destination: Path, outputs: Sequence[OutputTensor]) -> None:
    output_bytes = sum(output.size_bytes for output in outputs) + _HEADER_MARGIN_BYTES
    free = shutil.disk_usage(destination.parent).free
    if output_bytes > free:
        raise OutputError(
            f"{destination}: needs {output_bytes / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are "
            f"free in {str(destination.parent)!r}"
        )


def describe_types(dtypes: Mapping[DType, int]) -> str:
    """Return types with their share of the bytes: "q8_0 91 %, bf16 8 %, f32 1 %"."""
    total = sum(dtypes.values()) or 1
    ordered = sorted(dtypes.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{dtype} {100 * size / total:.0f} %" for dtype, size in ordered)
