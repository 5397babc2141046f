"""Typed, range-checked access to configuration values of unknown origin."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ltx2cpp.checkpoint.safetensors import parse_json, show
from ltx2cpp.errors import CheckpointError, ConfigError, UnsupportedError

logger = logging.getLogger("ltx2cpp")

Shapes = Mapping[str, tuple[int, ...]]
T = TypeVar("T")

MAX_LAYERS = 1000
MAX_WIDTH = 1 << 20
_MAX_CONFIG_CHARACTERS = 16 << 20


def parse_config(value: object, where: str) -> dict[str, Any]:
    """Parse the JSON object that a file keeps as a metadata string.

    Args:
        value: the metadata entry; None gives an empty object.
        where: file and key, for messages.

    Raises:
        ConfigError: not a string, not JSON, not an object.
    """
    if value is None:
        return {}
    if not isinstance(value, str) or len(value) > _MAX_CONFIG_CHARACTERS:
        raise ConfigError(f"{where} is not a JSON text")
    try:
        parsed = parse_json(value, where)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"{where} is not a JSON object")
    return parsed


class Fields:
    """One object of a configuration; every getter names the key in its errors.

    Args:
        values: the parsed object, or the metadata of a GGUF file.
        where: file and object, for messages ("FILE: config.transformer").
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def __bool__(self) -> bool:
        return bool(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def raw(self, key: str) -> Any:
        """Return a value unchecked; None when absent."""
        return self._values.get(key)

    def nested(self, key: str) -> Fields:
        """Return the nested object under `key`, empty when absent.

        Raises:
            ConfigError: the value is no object.
        """
        value = self._values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Fields(value, f"{self.where}.{key}")

    def integer(self, key: str, default: int, *, low: int = 1, high: int = MAX_WIDTH) -> int:
        """Return a whole number from `low` to `high`, which may be written as 2.0.

        Raises:
            ConfigError: the value is no such number.
        """
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            raise self._wrong(key, "an integer")
        if not low <= int(value) <= high:
            raise self._wrong(key, f"{low} to {high}")
        return int(value)

    def number(
        self,
        key: str,
        default: float,
        *,
        low: float = 0.0,
        high: float = 1e12,
        open_low: bool = True,
    ) -> float:
        """Return a finite number above `low` (or from it on, without `open_low`) up to `high`.

        Raises:
            ConfigError: the value is no such number.
        """
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
            raise self._wrong(key, "a number")
        if isinstance(value, int) and abs(value) > 1e15:
            raise self._wrong(key, f"{low:g} to {high:g}")
        result = float(value)
        if not (low < result <= high or (result == low and not open_low)):
            raise self._wrong(key, f"{low:g} to {high:g}")
        return result

    def flag(self, key: str, default: bool) -> bool:
        """Return a switch.

        Raises:
            ConfigError: the value is neither true nor false.
        """
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, (bool, np.bool_)):
            raise self._wrong(key, "true or false")
        return bool(value)

    def choice(self, key: str, default: str, allowed: Iterable[str]) -> str:
        """Return a word of a list.

        Raises:
            UnsupportedError: the word is not in `allowed`, so not implemented.
        """
        value = self._values.get(key)
        if value is None:
            return default
        options = tuple(allowed)
        if not isinstance(value, str) or value not in options:
            raise UnsupportedError(
                f"{self.where}: {key} is {show(value)}, which is not implemented "
                f"(implemented: {', '.join(options)})"
            )
        return value

    def integers(
        self,
        key: str,
        default: tuple[int, ...],
        *,
        low: int = 1,
        high: int = MAX_WIDTH,
        length: int | None = None,
        longest: int = 64,
    ) -> tuple[int, ...]:
        """Return whole numbers from `low` to `high`: `length` of them, or up to `longest`.

        Raises:
            ConfigError: the value is no such list.
        """
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, list) or len(value) > longest:
            raise self._wrong(key, "a list of integers")
        if length is not None and len(value) != length:
            raise self._wrong(key, f"{length} integers")
        entries = Fields({f"{key}[{i}]": entry for i, entry in enumerate(value)}, self.where)
        nulls = [name for name in entries if name not in entries]
        if nulls:
            raise self._wrong(key, "a list of integers")
        return tuple(entries.integer(name, 0, low=low, high=high) for name in entries)

    def require(self, expected: Mapping[str, object]) -> None:
        """Refuse every value that the code does not implement, by the name of its key."""
        for key, requirement in expected.items():
            value = self._values.get(key)
            if value is None:
                continue
            if type(value) is bool or type(requirement) is bool:
                same = value is requirement
            else:
                # A GGUF may hold an array under any key, which compares element by element.
                same = not isinstance(value, np.ndarray) and bool(value == requirement)
            if not same:
                raise UnsupportedError(
                    f"{self.where}: {key} is {show(value)}; only {show(requirement)} is implemented"
                )

    def agree(self, key: str, config_value: T, tensor_value: T | None) -> T:
        """Let the tensors decide where they show the value, and say so when they differ."""
        if tensor_value is None or tensor_value == config_value:
            return config_value
        if key in self:
            logger.warning(
                "%s: %s is %s, but the tensors say %s; using the tensors",
                self.where,
                key,
                config_value,
                tensor_value,
            )
        return tensor_value

    def error(self, message: str) -> ConfigError:
        """Return an error that says where these fields are from."""
        return ConfigError(f"{self.where}: {message}")

    def _wrong(self, key: str, expected: str) -> ConfigError:
        return ConfigError(
            f"{self.where}: {key} is {show(self._values.get(key))}; expected {expected}"
        )


def dim(shapes: Shapes, name: str, axis: int) -> int | None:
    """Return one extent of a tensor, or None when it is absent or has too few dimensions."""
    shape = shapes.get(name)
    if shape is None or axis >= len(shape):
        return None
    return shape[axis]


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """Return the highest number that follows `prefix` in a name, plus one; 0 when none does."""
    highest = -1
    for name in names:
        if name.startswith(prefix):
            digits = name[len(prefix) :].partition(".")[0]
            # isdigit alone accepts characters that int refuses; ten digits are beyond any model.
            if digits.isascii() and digits.isdigit() and len(digits) <= 10:
                highest = max(highest, int(digits))
    return highest + 1
