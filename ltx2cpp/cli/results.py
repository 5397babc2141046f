"""What a generation gave, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.text import count_noun, spell_bytes

if TYPE_CHECKING:
    from ltx2cpp.media import SavedMedia
    from ltx2cpp.observing import PhaseRecord
    from ltx2cpp.output import GenerationOutput, GenerationStream


@dataclass(frozen=True, slots=True)
class Result:
    """What one clip gave.

    Attributes:
        saved: the output.
        latents: the file of latents beside it, if any.
        content: what the output holds, in words: "17 frames of 256 x 256, 24 fps".
        info: every value that was used.
        seconds: wall time; of the first clip with all that came before it.
        phases: its phases.
    """

    saved: SavedMedia
    latents: SavedMedia | None
    content: str
    info: dict[str, Any]
    seconds: float
    phases: Sequence[PhaseRecord]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            **self.saved.to_dict(),
            "latents": str(self.latents.path) if self.latents else None,
            "parameters": self.info,
            "seconds": round(self.seconds, 3),
            "phases": [
                {"name": p.name, "seconds": round(p.seconds, 4), "peak_bytes": p.peak_bytes}
                for p in self.phases
            ],
        }


def latents_in_words(output: GenerationOutput) -> str:
    """Return what a file of latents holds."""
    parts = []
    if (video := output.video_latent) is not None:
        _, frames, height, width = video.shape
        parts.append(f"{count_noun(frames, 'latent frame')} of {width} x {height}")
    if (sound := output.audio_latent) is not None:
        parts.append(f"{count_noun(sound.shape[1], 'latent frame')} of sound")
    if (keyframes := output.keyframe_latents) is not None:
        parts.append(count_noun(keyframes.shape[1], "keyframe"))
    return "latents: " + ", ".join(parts)


def clip_in_words(saved: SavedMedia, stream: GenerationStream) -> str:
    """Return what a clip or sound holds."""
    if saved.format.is_sound:
        return f"sound of {round(saved.length_s or 0.0, 3):g} s"
    frames = count_noun(saved.num_frames, "frame")
    return f"{frames} of {stream.width} x {stream.height}, {stream.frame_rate:g} fps"


def print_results(results: Sequence[Result], *, as_json: bool, as_list: bool) -> None:
    """Print what was made: a line for each file, or JSON.

    Args:
        results: finished clips; without any nothing is printed.
        as_json: print JSON.
        as_list: print a list of JSON objects, else the one there is.
    """
    if as_json and results:
        reports = [result.to_dict() for result in results]
        print(json.dumps(reports if as_list else reports[0], indent=2))
        return
    for result in results:
        saved = result.saved
        size, seed = spell_bytes(saved.size_bytes), result.info["seed"]
        print(f"{saved.path}: {result.content}, {size}, seed {seed}")
        if saved.exr_folder:
            print(f"{saved.exr_folder}: {count_noun(saved.num_frames, 'EXR file')}")
        if result.latents:
            print(f"{result.latents.path}: latents")
