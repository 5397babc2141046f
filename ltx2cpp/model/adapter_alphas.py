"""alpha of an adapter: from a tensor, the metadata of diffusers, or peft's configuration.

Source: peft's rules for alpha.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint import CheckpointFile, DType, TensorInfo, read_array
from ltx2cpp.checkpoint.files import read_json_file
from ltx2cpp.checkpoint.safetensors import parse_json, show
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.paths import is_file, is_folder

_METADATA_KEY = "lora_adapter_metadata"
_CONFIG_NAME = "adapter_config.json"
_PEFT_FILE = "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."
_PLAIN_MODULE = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class _Alphas:
    """alpha as the adapter's configuration states it."""

    alpha: float | None = None
    by_module: Mapping[str, float] = field(default_factory=dict)
    square_root: bool = False
    states_dora: bool = False

    def factor(self, module: str, rank: int) -> float:
        alpha = self.alpha
        for name, value in self.by_module.items():
            if module == name or module.endswith(f".{name}"):
                alpha = value
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.square_root else rank)


class AlphaRule:
    """Tells the factor of each module of an adapter.

    Args:
        file: the adapter.
        path: what was given for it, a file or a folder.
        tensors: alphas stored as tensors, by module.

    Raises:
        CheckpointError: a configuration is malformed.
        UnsupportedError: it names modules by patterns.
    """

    def __init__(self, file: CheckpointFile, path: Path, tensors: Mapping[str, TensorInfo]) -> None:
        self._tensors = tensors
        self._configured = _configured_alphas(file, path)

    @property
    def states_dora(self) -> bool:
        """Whether a configuration says that the file has magnitudes."""
        return any(alphas.states_dora for alphas in self._configured.values())

    def factor(self, module: str, rank: int, where: str) -> float:
        """Return alpha / rank where an alpha is known for a module, else 1.

        Raises:
            CheckpointError: alpha is no positive number.
        """
        if module in self._tensors:
            return _alpha(self._tensors[module], where) / rank
        prefix, _, inner = module.removeprefix(_PEFT_PREFIX).partition(".")
        config = self._configured.get(prefix)
        if config is None:
            config, inner = self._configured.get("", _Alphas()), module
        return config.factor(inner, rank)


def _alpha(info: TensorInfo, where: str) -> float:
    if info.num_elements != 1 or info.dtype.is_quantized or info.dtype is DType.BOOL:
        raise CheckpointError(
            f"{where} has an alpha of {info.dtype} {list(info.shape)}; one number is expected"
        )
    value = float(read_array(info).item())
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
    folder = path if is_folder(path) else path.parent
    beside = folder / _CONFIG_NAME
    if (is_folder(path) or path.name == _PEFT_FILE) and is_file(beside):
        parsed = read_json_file(beside)
        if not isinstance(parsed, dict):
            raise CheckpointError(f"{beside}: is not a JSON object")
        return {"": _read_alphas(parsed, str(beside))}
    return {}


def _read_alphas(config: Mapping[str, Any], where: str) -> _Alphas:
    # LoHa and LoKr have their alpha under its plain name.
    alpha = config.get("lora_alpha", config.get("alpha"))
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
        bool(config.get("use_dora")),
    )
