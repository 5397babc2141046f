"""What a wheel is compiled with where the system's glibc is newer than the wheel may ask for.

zig brings clang, LLVM's C++ library and the symbols of every glibc, and is a package on PyPI. What
it compiles needs the glibc that was asked for and no C++ library, as zig's is linked in.
"""

from __future__ import annotations

import platform
import shlex
from pathlib import Path

BUILDER = "ziglang==0.17.1"
# zig takes undefined behaviour for a reason to stop unless it is told otherwise, keeps frame
# pointers and facts for debuggers, and makes -O2 of -O3.
_OPTIONS = "-fno-sanitize=undefined -g0 -fomit-frame-pointer -Xclang -O3"


def is_needed(glibc: str) -> bool:
    """Return whether this system compiles for a newer glibc than the one given; empty: any."""
    library, version = platform.libc_ver()
    return bool(glibc) and library == "glibc" and _number(version) > _number(glibc)


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _options(glibc: str) -> str:
    return f"-target x86_64-linux-gnu.{glibc} {_OPTIONS}"


def settings(program: Path, folder: Path, glibc: str) -> dict[str, str]:
    """Return the settings of a build by zig, and write the commands that they name.

    Args:
        program: zig.
        folder: receives the commands, and what zig keeps for the next run.
        glibc: the oldest that the result runs with, such as "2.28".
    """
    folder.mkdir(parents=True, exist_ok=True)
    commands = {}
    for name in ("cc", "c++", "ar", "ranlib"):
        options = f" {_options(glibc)}" if name.startswith("c") else ""
        command = commands[name] = folder / f"zig-{name}"
        text = (
            "#!/bin/sh\n"
            f"export ZIG_GLOBAL_CACHE_DIR={shlex.quote(str(folder / 'cache'))}\n"
            'export ZIG_LOCAL_CACHE_DIR="$ZIG_GLOBAL_CACHE_DIR"\n'
            f'exec {shlex.quote(str(program))} {name}{options} "$@"\n'
        )
        # Caches of compiled files know a compiler by the time at which it was written.
        if not command.exists() or command.read_text() != text:
            command.write_text(text)
            command.chmod(0o755)
    return {
        "CMAKE_C_COMPILER": str(commands["cc"]),
        "CMAKE_CXX_COMPILER": str(commands["c++"]),
        "CMAKE_AR": str(commands["ar"]),
        "CMAKE_RANLIB": str(commands["ranlib"]),
    }
