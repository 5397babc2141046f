"""Where the C++ core lies, which a checkout does not have beside its Python files."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = "ltx2cpp"
_CORE = f"{_PACKAGE}._core"


def find_core(places: list[str]) -> list[str]:
    """Return where the package's modules are looked for, with the core among them.

    Python started in a checkout takes the package from there, and the core that `pip install` built
    is found in the installed package then.

    Args:
        places: where they are looked for now.

    Raises:
        ImportError: there is no core for this Python.
    """
    if find_spec(_CORE) is not None:
        return places
    for folder in sys.path:
        place = str(Path(folder, _PACKAGE))
        if PathFinder.find_spec(_CORE, [place]) is not None:
            return [*places, place]
    raise ImportError(
        f"{places[0]}: holds no C++ core for Python {sys.version_info.major}."
        f"{sys.version_info.minor}, and none is installed; run `pip install .` in the checkout, "
        "with this Python, or leave its folder if ltx2cpp is installed elsewhere"
    )
