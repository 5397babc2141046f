"""Options for a sound that the pictures follow, and for pictures that get a sound."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp import AudioCondition, Foley


def add_sound_options(group: argparse._ArgumentGroup) -> None:
    """Add the sound and where in it the clip begins."""
    group.add_argument(
        "--audio-only", action="store_true", help="make the sound only, as .wav or .m4a"
    )
    group.add_argument(
        "--audio-in",
        type=Path,
        metavar="FILE",
        help="sound to make the pictures to; the clip carries it unchanged, silent past its end",
    )
    group.add_argument(
        "--audio-start",
        type=float,
        metavar="S",
        help="where in --audio-in the clip begins, in seconds (default: 0)",
    )
    group.add_argument(
        "--video-in",
        type=Path,
        metavar="FILE",
        help="clip that gets a sound, with --audio-out; its pictures stay, compressed once more",
    )
    group.add_argument(
        "--audio-out", action="store_true", help="make the sound of --video-in, and nothing else"
    )


def sound_of(arguments: argparse.Namespace) -> AudioCondition | None:
    """Return the sound given, None when there is none.

    Raises:
        ArgumentError: a value is out of range, or an option lacks or excludes another.
    """
    from ltx2cpp import AudioCondition

    if arguments.audio_in is None:
        if arguments.audio_start is not None:
            raise ArgumentError("--audio-start goes with --audio-in FILE")
        return None
    if arguments.no_audio:
        raise ArgumentError("--audio-in and --no-audio exclude each other")
    return AudioCondition(arguments.audio_in, start_s=arguments.audio_start or 0.0)


def foley_of(arguments: argparse.Namespace) -> Foley | None:
    """Return the pictures that get a sound, None when there are none.

    Raises:
        ArgumentError: an option lacks or excludes another.
    """
    from ltx2cpp import Foley

    if arguments.video_in is None:
        if arguments.audio_out:
            raise ArgumentError("--audio-out goes with --video-in FILE")
        return None
    if not arguments.audio_out:
        raise ArgumentError("--video-in goes with --audio-out")
    for name in ("no_audio", "audio_only", "audio_in"):
        if getattr(arguments, name):
            raise ArgumentError(f"--video-in and --{name.replace('_', '-')} exclude each other")
    return Foley(arguments.video_in)
