"""Read the low-rank pairs of a LoRA file, in any of the spellings of its keys.

Source: key forms of the official trainer, ComfyUI, diffusers and peft, DiffSynth, and kohya's
scripts; peft's rules for alpha.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltx2cpp.checkpoint import CheckpointFile, DType, TensorInfo, open_checkpoint, read_array
from ltx2cpp.checkpoint.files import read_json_file
from ltx2cpp.checkpoint.safetensors import parse_json, show
from ltx2cpp.errors import CheckpointError, UnsupportedError

# lora_A, lora_down and lora.down are one thing, with or without the name of an adapter.
_FACTOR = re.compile(
    r"(?P<module>.+?)\.lora[_.](?P<half>A|B|down|up)(?:\.(?!weight$|bias$)[\w-]+)?(?:\.weight)?"
)
_DOWN = frozenset(("A", "down"))
_ALPHA = ".alpha"

# Part of a key -> what such files are. Their pairs mean something else, or not all of it.
_REFUSED = (
    (re.compile(r"\.(dora_scale|lora_magnitude_vector)\b"), "a DoRA"),
    (re.compile(r"\.lokr_w?\w+"), "a LoKr"),
    (re.compile(r"\.hada_\w+"), "a LoHa"),
    (re.compile(r"\.(oft|boft)_\w+"), "an OFT adapter"),
    (re.compile(r"\.lora_mid\b"), "a LoRA with a middle factor (Tucker form)"),
    (
        re.compile(r"\.(weight_scale(_2)?|scale_weight|comfy_quant)$|^scaled_fp8$"),
        "a LoRA in scaled fp8",
    ),
)

_METADATA_KEY = "lora_adapter_metadata"
_CONFIG_NAME = "adapter_config.json"
_PEFT_FILE = "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."
_PLAIN_MODULE = re.compile(r"[\w.-]+")
_MAX_FACTOR = 64


@dataclass(frozen=True, slots=True)
class StoredPair:
    """The two factors of one module.

    Attributes:
        module: its stored name, prefix included.
        down: (rank, in).
        up: (out, rank).
        factor: alpha / rank where an alpha is known, else 1.
    """

    module: str
    down: TensorInfo
    up: TensorInfo
    factor: float


@dataclass(frozen=True)
class LoraFile:
    """An opened LoRA; no factor has been read yet.

    Attributes:
        file: the file.
        pairs: the factors of each module, in the order of the file.
        strangers: keys that are no part of a low-rank pair, such as whole differences of biases.
        reference_downscale_factor: how much smaller an IC-LoRA wants its reference video.
        reference_temporal_scale_factor: how much slower it wants it.
    """

    file: CheckpointFile
    pairs: tuple[StoredPair, ...]
    strangers: tuple[str, ...]
    reference_downscale_factor: int
    reference_temporal_scale_factor: int


@dataclass(frozen=True)
class _Alphas:
    """alpha as the adapter's configuration states it."""

    alpha: float | None = None
    by_module: Mapping[str, float] = field(default_factory=dict)
    square_root: bool = False

    def factor(self, module: str, rank: int) -> float:
        alpha = self.alpha
        for name, value in self.by_module.items():
            if module == name or module.endswith(f".{name}"):
                alpha = value
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.square_root else rank)


def open_lora_file(path: Path) -> LoraFile:
    """Open a LoRA and sort its keys.

    Raises:
        CheckpointError: not a model file, not a LoRA, half of a pair missing, or a bad alpha.
        UnsupportedError: DoRA, LoKr, LoHa and other adapters that are more than low-rank pairs.
    """
    file = open_checkpoint(path)
    for name in file.tensors:
        for pattern, what in _REFUSED:
            if pattern.search(name):
                raise UnsupportedError(
                    f"{path}: this is {what} ({show(name)}), which is not implemented; only plain "
                    "LoRA is"
                )
    halves: dict[str, dict[str, TensorInfo]] = {}
    alphas: dict[str, TensorInfo] = {}
    strangers = []
    for name, info in file.tensors.items():
        if (match := _FACTOR.fullmatch(name)) is not None:
            half = "down" if match["half"] in _DOWN else "up"
            pair = halves.setdefault(match["module"], {})
            if half in pair:
                raise CheckpointError(
                    f"{path}: {show(pair[half].name)} and {show(name)} are the same factor of one "
                    "module; files with several adapters are not read"
                )
            pair[half] = info
        elif name.endswith(_ALPHA):
            alphas[name.removesuffix(_ALPHA)] = info
        else:
            strangers.append(name)
    if not halves:
        raise CheckpointError(
            f"{path}: is not a LoRA: none of its {len(file.tensors)} tensors is a low-rank factor "
            "(lora_A, lora_B, lora_down or lora_up)"
        )
    strangers += [f"{module}{_ALPHA}" for module in alphas if module not in halves]
    configured = _configured_alphas(file, path)
    return LoraFile(
        file,
        tuple(_pair(path, *entry, alphas, configured) for entry in halves.items()),
        tuple(strangers),
        _reference_factor(file, "reference_downscale_factor"),
        _reference_factor(file, "reference_temporal_scale_factor"),
    )


def _pair(
    path: Path,
    module: str,
    halves: Mapping[str, TensorInfo],
    alphas: Mapping[str, TensorInfo],
    configured: Mapping[str, _Alphas],
) -> StoredPair:
    where = f"{path}: the LoRA of {show(module)}"
    if len(halves) != 2:
        half = next(iter(halves))
        raise CheckpointError(
            f"{where} has only its {half} factor ({show(halves[half].name)}); the file is "
            "incomplete"
        )
    down, up = (_as_matrix(halves[half], where) for half in ("down", "up"))
    rank = down.shape[0]
    if up.shape[1] != rank:
        raise CheckpointError(
            f"{where} has factors of ranks {rank} and {up.shape[1]}, shapes {list(down.shape)} and "
            f"{list(up.shape)}; they do not belong together"
        )
    if module in alphas:
        factor = _alpha(alphas[module], where) / rank
    else:
        prefix, _, inner = module.removeprefix(_PEFT_PREFIX).partition(".")
        config = configured.get(prefix)
        if config is None:
            config, inner = configured.get("", _Alphas()), module
        factor = config.factor(inner, rank)
    return StoredPair(module, down, up, factor)


def _as_matrix(info: TensorInfo, where: str) -> TensorInfo:
    """Drop the trailing ones of factors that were stored as 1x1 convolutions."""
    shape = info.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 2:
        raise CheckpointError(
            f"{where} has a factor {show(info.name)} of shape {list(info.shape)}; a matrix is "
            "expected"
        )
    if not (info.dtype.is_float or info.dtype.is_quantized):
        raise UnsupportedError(
            f"{where} is stored as {info.dtype}, which is not implemented; use a bf16, f16 or f32 "
            "file"
        )
    if shape == info.shape:
        return info
    return TensorInfo(info.name, info.dtype, shape, info.path, info.offset, info.size_bytes)


def _alpha(info: TensorInfo, where: str) -> float:
    if info.num_elements != 1 or info.dtype.is_quantized or info.dtype is DType.BOOL:
        raise CheckpointError(
            f"{where} has an alpha of {info.dtype} {list(info.shape)}; one number is expected"
        )
    value = float(np.asarray(read_array(info), dtype=np.float64).reshape(()))
    return _checked_alpha(value, where)


def _checked_alpha(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"{where} has the alpha {show(value)}; a number is expected")
    if not 0 < value < 1e6:
        raise CheckpointError(f"{where} has the alpha {value}; a positive number is expected")
    return float(value)


def _configured_alphas(file: CheckpointFile, path: Path) -> dict[str, _Alphas]:
    """Read alpha by the first part of a module's name, "" for any; empty when nothing states it."""
    text = file.metadata.get(_METADATA_KEY)
    if text is not None:
        where = f"{path}: {_METADATA_KEY}"
        parsed = parse_json(text, where) if isinstance(text, str) else None
        if not isinstance(parsed, dict):
            raise CheckpointError(f"{where} is not a JSON object")
        configs: dict[str, dict[str, Any]] = {}
        for key, value in parsed.items():
            prefix, _, name = key.rpartition(".")
            configs.setdefault(prefix, {})[name] = value
        return {prefix: _read_alphas(config, where) for prefix, config in configs.items()}
    # A peft folder has the configuration in a file of its own.
    folder = path if path.is_dir() else path.parent
    beside = folder / _CONFIG_NAME
    if (path.is_dir() or path.name == _PEFT_FILE) and beside.is_file():
        parsed = read_json_file(beside)
        if not isinstance(parsed, dict):
            raise CheckpointError(f"{beside}: is not a JSON object")
        return {"": _read_alphas(parsed, str(beside))}
    return {}


def _read_alphas(config: Mapping[str, Any], where: str) -> _Alphas:
    if config.get("use_dora"):
        raise UnsupportedError(f"{where}: this is a DoRA, which is not implemented")
    alpha = config.get("lora_alpha")
    by_module = config.get("alpha_pattern") or {}
    if not isinstance(by_module, dict):
        raise CheckpointError(f"{where}: alpha_pattern is not a JSON object")
    for name in by_module:
        # peft takes patterns; files that were saved by it hold plain names.
        if not _PLAIN_MODULE.fullmatch(name):
            raise UnsupportedError(
                f"{where}: alpha_pattern has the pattern {show(name)}; only names are implemented"
            )
    return _Alphas(
        None if alpha is None else _checked_alpha(alpha, where),
        {name: _checked_alpha(value, where) for name, value in by_module.items()},
        bool(config.get("use_rslora")),
    )


def _reference_factor(file: CheckpointFile, key: str) -> int:
    value = file.metadata.get(key)
    if value is None:
        return 1
    match = re.fullmatch(r"(\d{1,3})(\.0*)?", str(value).strip())
    if match is None or not 1 <= int(match[1]) <= _MAX_FACTOR:
        raise CheckpointError(
            f"{file.path}: {key} is {show(value)}; a whole number from 1 to {_MAX_FACTOR} is "
            "expected"
        )
    return int(match[1])
