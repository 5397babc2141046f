"""Convert a model file to GGUF, quantised or not, with bounded memory."""

from __future__ import annotations

import logging
import math
import os
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.atomic import atomic_file, final_file
from ltx2cpp.checkpoint import DType, TensorInfo, WeightRef, open_checkpoint
from ltx2cpp.checkpoint.gguf import ORIGINAL_SHAPE_KEY
from ltx2cpp.checkpoint.gguf_writer import GgufWriter, OutputTensor
from ltx2cpp.checkpoint.tensors import cut_error, reading
from ltx2cpp.config import is_gemma4
from ltx2cpp.convert import gemma4_gguf, gemma_gguf
from ltx2cpp.errors import ArgumentError, CheckpointError, OutputError, UnsupportedError
from ltx2cpp.machine.processors import default_threads
from ltx2cpp.machine.room import starting_thread
from ltx2cpp.model.adapter_keys import adapter_kind
from ltx2cpp.model.detect import find_variant
from ltx2cpp.model.folders import models_in_folder
from ltx2cpp.model.llama_cpp import gguf_name
from ltx2cpp.model.names import Group
from ltx2cpp.model.overwriting import files_of_model, is_among
from ltx2cpp.model.quantization import Recipe, parse_file_recipe, target_dtype
from ltx2cpp.model.source import Source
from ltx2cpp.paths import is_folder

logger = logging.getLogger("ltx2cpp")

ProgressCallback = Callable[[int, int], None]

ARCHITECTURE = "ltxv"
SUFFIX = ".gguf"

# Elements converted at a time: a few megabytes as float32. A multiple of every block, so that
# pieces need not end where rows do.
_PIECE_ELEMENTS = 1 << 20
_F16_MAX = 65504.0
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
}
_FILE_TYPES = {
    Recipe.F32: gguf.LlamaFileType.ALL_F32,
    Recipe.F16: gguf.LlamaFileType.MOSTLY_F16,
    Recipe.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Recipe.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    Recipe.Q6_K: gguf.LlamaFileType.MOSTLY_Q6_K,
    Recipe.Q5_K_M: gguf.LlamaFileType.MOSTLY_Q5_K_M,
    Recipe.Q4_K_M: gguf.LlamaFileType.MOSTLY_Q4_K_M,
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


@dataclass(frozen=True, slots=True)
class _Item:
    """One tensor on its way: the output, where it is from, and what is added to every element."""

    output: OutputTensor
    weight: WeightRef
    offset: float = 0.0

    @property
    def as_stored(self) -> bool:
        return (
            self.output.dtype is self.weight.info.dtype
            and self.weight.is_plain
            and self.offset == 0.0
        )


@dataclass
class _Plan:
    architecture: str
    metadata: dict[str, Any]
    items: dict[str, _Item] = field(default_factory=dict)

    def add(self, name: str, weight: WeightRef, recipe: Recipe, offset: float = 0.0) -> None:
        if name in self.items:
            raise CheckpointError(f"{weight.info.path}: two tensors would become '{name}'")
        info = weight.info
        dtype = target_dtype(name, info.shape, weight.dtype, recipe) or info.dtype
        self.items[name] = _Item(OutputTensor(name, dtype, info.shape), weight, offset)


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
        type: f32, f16, bf16, q8_0, q6_k, q5_k_m or q4_k_m; norms, tables and other tensors that
            would suffer keep a wider type (see `ltx2cpp.model.quantization`).
        on_progress: called with (source bytes done, source bytes in all) many times a second; an
            exception it raises ends the conversion and leaves no file.
        threads: how many threads quantise; None takes the cores that this process may use.

    Returns:
        what was written.

    Raises:
        ArgumentError: unknown type, wrong ending, or the destination is part of the source.
        CheckpointError: the source is malformed, no model, or holds values that are not finite.
        UnsupportedError: a LoRA, an unknown packing, a type that no GGUF file has, or values beyond
            the range of f16.
        OutputError: the destination cannot be written, or the disk is too small.

    Example:
        >>> convert("ltx-2.3-22b-distilled.safetensors", "ltx-2.3-22b-distilled-q8_0.gguf", "q8_0")
    """
    started_s = time.perf_counter()
    recipe = parse_file_recipe(type)
    if Path(destination).suffix.lower() != SUFFIX:
        raise ArgumentError(f"{destination}: expected a name that ends in {SUFFIX}")
    if threads is not None and not 1 <= threads <= _MAX_THREADS:
        raise ArgumentError(f"threads: expected 1 to {_MAX_THREADS} or None, found {threads}")
    if is_among(destination, files_of_model(source)):
        raise ArgumentError(f"{destination}: is the source itself; choose another name")
    model = _open(Path(source))
    plan = _make_plan(model, recipe)
    # Files are read front to back, whatever order their headers list the tensors in.
    items = sorted(
        plan.items.values(), key=lambda item: (item.weight.info.path, item.weight.info.offset)
    )
    requantized = _warn_about_requantizing(items, recipe, model.path)
    _check_space(final_file(destination), items)
    threads = threads or default_threads()
    source_bytes = sum(item.weight.info.size_bytes for item in items)
    done_bytes = 0
    outputs = [item.output for item in items]
    with (
        atomic_file(destination) as temporary,
        _Reader() as reader,
        GgufWriter(temporary, plan.architecture, plan.metadata, outputs) as writer,
        closing(_encode_all(items, reader, threads)) as pieces,
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
    names = {item.weight.info.name for item in items}
    return ConversionReport(
        path=Path(destination),
        recipe=recipe,
        architecture=plan.architecture,
        num_tensors=len(items),
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


def _warn_about_requantizing(items: list[_Item], recipe: Recipe, path: Path) -> bool:
    quantized = {item.weight.info.dtype for item in items if item.weight.info.dtype.is_quantized}
    if any(not item.as_stored and item.output.dtype.is_quantized for item in items) and quantized:
        logger.warning(
            "%s: is quantised already (%s); %s made from the original file would be closer to it",
            path,
            ", ".join(sorted(map(str, quantized))),
            recipe,
        )
    return bool(quantized)


def _check_space(destination: Path, items: list[_Item]) -> None:
    output_bytes = sum(item.output.size_bytes for item in items) + _HEADER_MARGIN_BYTES
    free = shutil.disk_usage(destination.parent).free
    if output_bytes > free:
        raise OutputError(
            f"{destination}: needs {output_bytes / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are "
            f"free in {str(destination.parent)!r}"
        )


# -- the weights ----------------------------------------------------------------------------------


class _Reader:
    """Reads parts of tensors for any thread; keeps the file of the last read open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._path: Path | None = None
        self._stream: FileIO | None = None
        self._scales: tuple[TensorInfo, NDArray[np.uint8]] | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, info: TensorInfo, offset: int, size_bytes: int) -> NDArray[np.uint8]:
        """Read bytes `offset` to `offset + size_bytes` of a tensor."""
        part = np.empty(size_bytes, np.uint8)
        with reading(info.path, f"tensor '{info.name}'"), self._lock:
            stream = self._open(info.path)
            stream.seek(info.offset + offset)
            done = 0
            while done < size_bytes and (count := stream.readinto(part[done:].data)):
                done += count
        if done != size_bytes:
            raise cut_error(info)
        return part

    def read_scales(self, info: TensorInfo) -> NDArray[np.uint8]:
        """Read a whole tensor of scales; that of the weight read last is kept."""
        kept = self._scales
        if kept is None or kept[0] != info:
            kept = self._scales = (info, self.read(info, 0, info.size_bytes))
        return kept[1]

    def _open(self, path: Path) -> FileIO:
        if self._stream is None or path != self._path:
            self._stack.close()
            self._stream = self._stack.enter_context(FileIO(path, "r"))
            self._path = path
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return self._stream


def _encode_all(
    items: Sequence[_Item], reader: _Reader, threads: int
) -> Generator[tuple[memoryview, int], None, None]:
    """Yield the encoded bytes of all tensors, in order, with the source bytes of each piece.

    Whole pieces are shared among threads, and more are begun than there are threads, so that
    reading, encoding and writing go on at the same time.
    """
    pending: deque[Future[tuple[memoryview, int]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ltx2cpp-convert") as pool:
        try:
            for item in items:
                for start in range(0, item.weight.info.num_elements, _PIECE_ELEMENTS):
                    with starting_thread("convert"):
                        pending.append(pool.submit(_encode, item, start, reader))
                    if len(pending) > 2 * threads:
                        yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _encode(item: _Item, start: int, reader: _Reader) -> tuple[memoryview, int]:
    """Encode the piece of a tensor that begins with element `start`."""
    info = item.weight.info
    count = min(_PIECE_ELEMENTS, info.num_elements - start)
    blocks = count // info.dtype.block_elements
    size_bytes = blocks * info.dtype.block_bytes
    offset = start // info.dtype.block_elements * info.dtype.block_bytes
    raw = reader.read(info, offset, size_bytes)
    if item.as_stored:
        return raw.data, size_bytes
    # Blocks never span rows and pieces hold whole blocks, so one long row gives the same bytes.
    values = _core.dequantize(raw, info.dtype.value, 1, count)
    _apply_scales(values, item.weight, start, reader)
    if item.offset != 0.0:
        values += np.float32(item.offset)
    _check_values(values, item)
    return _core.quantize(values, item.output.dtype.value).reshape(-1).data, size_bytes


def _apply_scales(
    values: NDArray[np.float32], weight: WeightRef, start: int, reader: _Reader
) -> None:
    """Make the numbers of a piece, which begins with element `start`, the values of the weight."""
    info, scales = weight.info, weight.scales
    if weight.scale != 1.0:
        values *= np.float32(weight.scale)
    if scales is not None:
        width = info.num_elements // info.shape[0]
        _core.scale_blocks(
            values,
            start,
            width,
            reader.read_scales(scales.info),
            scales.info.dtype.value,
            scales.info.shape,
            scales.rows,
            scales.columns,
            scales.tiled,
            f"{info.path}: '{info.name}'",
        )
    if weight.rotation:
        _core.rotate(values, weight.rotation)


def _check_values(values: NDArray[np.float32], item: _Item) -> None:
    """Refuse what the target would turn into something else without a word."""
    info, target = item.weight.info, item.output.dtype
    if target is DType.F16:
        largest = float(np.max(np.abs(values)))
        if _F16_MAX < largest < math.inf:
            raise UnsupportedError(
                f"{info.path}: tensor '{info.name}' holds values up to {largest:.3g}, beyond the "
                "range of f16; convert to bf16"
            )
    elif target.is_quantized and not np.isfinite(values).all():
        raise CheckpointError(
            f"{info.path}: tensor '{info.name}' holds values that are not finite; the file is "
            "damaged or was saved badly"
        )


def describe_types(dtypes: Mapping[DType, int]) -> str:
    """Return types with their share of the bytes: "q8_0 91 %, bf16 8 %, f32 1 %"."""
    total = sum(dtypes.values()) or 1
    ordered = sorted(dtypes.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{dtype} {100 * size / total:.0f} %" for dtype, size in ordered)
