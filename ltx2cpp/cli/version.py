"""What is installed here: version, build and machine."""

from __future__ import annotations

import platform

import ltx2cpp


def print_version() -> None:
    """Print the version, and what a report of a fault has to name besides."""
    print(f"ltx2cpp {ltx2cpp.__version__}")
    for name, value in build_in_words().items():
        print(f"{name}: {value}")


def build_in_words() -> dict[str, str]:
    """Return what the core was built from and by, and what it computes on."""
    from ltx2cpp import _core

    facts = _core.build_facts()
    cpu = next(device for device in _core.devices() if device["name"] == "cpu")
    target = "the CPU that built it" if facts["native"] else "any CPU"
    return {
        "commit": facts["commit"] or "not known to the build",
        "compiler": f"{facts['compiler']}, {facts['build_type']}, for {target}",
        "backends": ", ".join(facts["backends"]),
        "CPU": f"{cpu['description']}: {' '.join(cpu['features'])}",
        "ggml": facts["ggml"],
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }
