"""What a wheel with Vulkan is built with: headers and the compiler of shaders of a newer system.

Nothing of them runs with the wheel, and none but these need be new: the userland of Debian 13 that
tools/checks/vulkan.sh makes serves on an older system, and "/" where the system is new enough.
"""

from __future__ import annotations

import shlex
from pathlib import Path

_LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
# Of Vulkan and of SPIR-V. Not the whole folder: the C library's headers have to be the compiler's.
_HEADERS = ("vk_video", "vulkan", "spirv")


def settings(userland: Path, folder: Path) -> dict[str, str]:
    """Return the settings of a build with Vulkan.

    Args:
        userland: the root of a system with libvulkan-dev, spirv-headers and glslc.
        folder: receives links to the headers, and a command.
    """
    headers = folder / "include"
    headers.mkdir(parents=True, exist_ok=True)
    for name in _HEADERS:
        link = headers / name
        link.unlink(missing_ok=True)
        link.symlink_to(userland / "usr" / "include" / name)
    # By the loader and with the libraries of its own system.
    libraries = userland / _LIBRARIES
    words = [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries]
    words.append(userland / "usr/bin/glslc")
    command = folder / "glslc"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    command.chmod(0o755)
    return {
        "LTX2CPP_VULKAN": "ON",
        "Vulkan_INCLUDE_DIR": str(headers),
        # Asked for by name alone: the extension opens the machine's when it runs.
        "Vulkan_LIBRARY": str(libraries / "libvulkan.so.1"),
        "Vulkan_GLSLC_EXECUTABLE": str(command),
        "SPIRV-Headers_DIR": str(userland / "usr/share/cmake/SPIRV-Headers"),
    }
