"""``ltx2cpp-cli devices``."""

from __future__ import annotations

import argparse
import json

from ltx2cpp.cli.text import spell_bytes

DESCRIPTION = "List the devices that can compute, with their memory and the features in use."

EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the traceback of a bug")


def run(arguments: argparse.Namespace) -> None:
    """Print one line per device."""
    from ltx2cpp import _core

    devices = _core.devices()
    if arguments.json:
        print(json.dumps(devices, indent=2))
        return
    for device in devices:
        print(
            f"{device['name']}: {device['description']}, {spell_bytes(device['total_bytes'])} "
            f"({spell_bytes(device['free_bytes'])} free)"
        )
        if device["features"]:
            print(f"    {' '.join(device['features'])}")
