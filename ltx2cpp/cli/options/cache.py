"""Where the command line keeps encoded prompts, and the option that switches that off."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add --no-prompt-cache."""
    parser.add_argument(
        "--no-prompt-cache",
        action="store_true",
        help="encode the prompt even if an earlier run has, and do not keep it for later ones "
        f"(kept in {prompt_folder()})".replace("%", "%%"),
    )


def prompt_folder() -> Path:
    """Return the folder of encoded prompts, where the platform keeps what may be deleted."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "ltx2cpp" / "prompts"
