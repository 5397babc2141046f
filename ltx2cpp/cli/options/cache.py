"""Where the command line keeps what it may compute again, and the option against it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add --no-prompt-cache."""
    folder = prompt_folder()
    place = (
        "not kept here, where there is no home folder" if folder is None else f"kept in {folder}"
    )
    parser.add_argument(
        "--no-prompt-cache",
        action="store_true",
        help="encode the prompt even if an earlier run has, and do not keep it for later ones "
        f"({place})".replace("%", "%%"),
    )


def prompt_folder() -> Path | None:
    """Return the folder of encoded prompts; None as `cache_folder`."""
    return cache_folder("prompts")


def cache_folder(name: str) -> Path | None:
    """Return a folder of ours, where the platform keeps what may be deleted.

    Returns:
        the folder, or None where the user has no home folder and the environment names no other.
    """
    if sys.platform == "win32":
        base = _named("LOCALAPPDATA") or _in_home("AppData", "Local")
    elif sys.platform == "darwin":
        base = _in_home("Library", "Caches")
    else:
        base = _named("XDG_CACHE_HOME") or _in_home(".cache")
    return None if base is None else base / "ltx2cpp" / name


def _named(variable: str) -> Path | None:
    # A relative name would mean another folder in each working directory, and counts as none.
    folder = Path(os.environ.get(variable, ""))
    return folder if folder.is_absolute() else None


def _in_home(*parts: str) -> Path | None:
    try:
        home = Path.home()
    except (RuntimeError, KeyError):
        # A container may run under a number that no user has.
        return None
    folder = home.joinpath(*parts)
    # Services have homes that do not exist, and containers the root folder.
    taker = folder if os.access(folder, os.F_OK) else home
    return folder if home.is_absolute() and os.access(taker, os.W_OK | os.X_OK) else None
