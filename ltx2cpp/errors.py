"""Typed errors of ltx2cpp.

Every failure that a user can cause or cure is raised as one of these, with one sentence that says
where it happened, what was expected, what was found and, where known, the cure. The C++ core raises
the same classes.
"""

from __future__ import annotations

import re

from ltx2cpp.printable import without_controls

_SPACE = re.compile(r"[\n\t\u00a0\u3000]")
# Packages quote what they stumble over, be it half a file; a path has 4096 characters at most.
_MAX_CHARACTERS = 2000


def _sentence(text: str) -> str:
    """Return a text as one printable line: breaks are spaces, other control characters escaped.

    Names out of files may hold any. What is too long loses its middle.
    """
    if len(text) > _MAX_CHARACTERS:
        half = _MAX_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return without_controls(_SPACE.sub(" ", text))


class Error(Exception):
    """Base of all ltx2cpp errors; ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __init__(self, *arguments: object) -> None:
        super().__init__(
            *(_sentence(each) if isinstance(each, str) else each for each in arguments)
        )


class CheckpointError(Error, ValueError):
    """A model file is malformed, truncated, or not of a format that is read here."""

    exit_code = 3


class WeightError(Error, ValueError):
    """Tensor names or shapes in the files do not fit the model's configuration."""

    exit_code = 3


class ConfigError(Error, ValueError):
    """Model metadata is missing, contradictory, or out of range."""

    exit_code = 3


class UnsupportedError(Error, NotImplementedError):
    """A known value, type or feature that is not implemented."""

    exit_code = 3


class HubError(Error, RuntimeError):
    """A model cannot be found by its name, or not be fetched; what was fetched so far is kept."""

    exit_code = 3


class NonFiniteError(Error, ArithmeticError):
    """A network gave numbers that are not finite: its file is damaged, or a type is too narrow."""

    exit_code = 3


class ArgumentError(Error, ValueError):
    """An argument of a call or an option of the command line is wrong."""

    exit_code = 2


class ShapeError(ArgumentError):
    """An array given by the caller has the wrong shape or dtype."""


class OutputError(Error, OSError):
    """An output file cannot be written; nothing is left behind under its name."""

    exit_code = 2


class DeviceMemoryError(Error, MemoryError):
    """A plan or an allocation does not fit into the memory of the device."""

    exit_code = 4


class BackendError(Error, RuntimeError):
    """A compute device failed."""


class RowsFailed(Error):
    """Some rows of a batch gave no clip; the others did."""

    exit_code = 5


class Cancelled(Error):
    """The caller asked to stop."""

    exit_code = 130
