"""``ltx2cpp-cli doctor``."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ltx2cpp
from ltx2cpp.cli.options.common import add_output_options
from ltx2cpp.cli.text import spell_bytes, spell_seconds
from ltx2cpp.cli.version import build_in_words
from ltx2cpp.errors import BackendError
from ltx2cpp.printable import without_controls

if TYPE_CHECKING:
    from ltx2cpp.cli.checkup import Verdict


DESCRIPTION = """\
Show what is installed and what this machine has, make the demo clip on each device, and compare it
with the CPU's.

Devices round differently; a clip that differs by more than that ends in exit code 1. The CPU's own
clip has to show what its prompt says."""

EPILOG = ""

_PACKAGES = (
    *("numpy", "gguf", "safetensors", "sentencepiece", "tokenizers", "pillow", "av", "rich"),
    "huggingface_hub",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print what is there and how the devices did.

    Raises:
        BackendError: a device's clip is not what it should be; all has been printed then.
    """
    from ltx2cpp.cli.checkup import CPU, check_devices, demo_clip
    from ltx2cpp.cli.display import Display

    facts = _facts()
    if not arguments.json:
        for line in _facts_in_words(facts):
            print(without_controls(line))
    names = sorted((device["name"] for device in facts["devices"]), key=lambda name: name != CPU)
    display = Display(quiet=arguments.quiet)
    verdicts = display.run(
        lambda: check_devices(names, lambda name: demo_clip(name, display)),
        verbose=arguments.verbose,
    )
    if arguments.json:
        print(json.dumps({**facts, "clips": [each.to_dict() for each in verdicts]}, indent=2))
    else:
        for verdict in verdicts:
            print(without_controls(f"demo clip on {verdict.device}: {_in_words(verdict)}"))
    problems = [f"{each.device}: {each.problem}" for each in verdicts if each.problem]
    if problems:
        raise BackendError("; ".join(problems))


def _facts() -> dict[str, Any]:
    """Return what is installed and what the machine has, as plain JSON types."""
    from ltx2cpp import _core
    from ltx2cpp.machine.process_memory import available_bytes

    return {
        "version": ltx2cpp.__version__,
        "build": build_in_words(),
        "packages": {name: _version_of(name) for name in _PACKAGES},
        "available_memory_bytes": available_bytes(),
        "free_disk_bytes": {what: _free_bytes(folder) for what, folder in _folders().items()},
        "devices": _core.devices(),
    }


def _folders() -> dict[str, Path]:
    """Return where files are kept, by what they are."""
    from ltx2cpp.cli.options.cache import prompt_folder
    from ltx2cpp.errors import HubError
    from ltx2cpp.hub import Hub

    folders = {"this folder": Path()}
    # The hub's client knows; where it is not installed, the list of packages says so.
    with contextlib.suppress(HubError):
        folders["models by name"] = Hub(offline=True).cache.folder
    if (prompts := prompt_folder()) is not None:
        folders["encoded prompts"] = prompts
    return folders


def _free_bytes(folder: Path) -> int:
    """Return the room on the disk of a folder, or of the one that it will be made in."""
    existing = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    return shutil.disk_usage(existing).free


def _facts_in_words(facts: dict[str, Any]) -> list[str]:
    packages = ", ".join(
        f"{name} {found or '(not installed)'}" for name, found in facts["packages"].items()
    )
    lines = [f"ltx2cpp {facts['version'] or '(not installed)'}"]
    lines += [f"{name}: {value}" for name, value in facts["build"].items()]
    available = facts["available_memory_bytes"]
    lines += [
        f"packages: {packages}",
        f"memory: {spell_bytes(available) + ' free' if available else 'unknown'}",
    ]
    for what, free in facts["free_disk_bytes"].items():
        lines.append(f"disk of {what}: {spell_bytes(free)} free")
    for device in facts["devices"]:
        total, free = spell_bytes(device["total_bytes"]), spell_bytes(device["free_bytes"])
        lines.append(f"device {device['name']}: {device['description']}, {total} ({free} free)")
    return lines


def _in_words(verdict: Verdict) -> str:
    if verdict.problem is not None:
        return verdict.problem
    assert verdict.seconds is not None
    how = "shows what its prompt says"
    if verdict.latent_error is not None:
        how = (
            f"as the CPU's; latents differ by {verdict.latent_error:.2g} of their size, pictures "
            f"by {verdict.picture_error:.2g} of 255 levels"
        )
    return f"{how}, {spell_seconds(verdict.seconds)}"


def _version_of(package: str) -> str | None:
    """Return the version of an installed package, None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
