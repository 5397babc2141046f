"""Defaults per model version and variant: the only table of such values.

Source: Lightricks LTX-2, pipeline constants of release 1.2.0. The negative prompt is our own text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ltx2cpp.errors import ConfigError
from ltx2cpp.media import HdrCurve
from ltx2cpp.options import Guidance, ModalityGuidance

VARIANTS = ("dev", "distilled")

NEGATIVE_PROMPT = (
    "out of focus, smeared, pixelated, noisy picture, banding, flicker, jerky motion, still frame, "
    "warped anatomy, extra limbs, deformed hands, distorted faces, washed-out colours, burnt "
    "highlights, on-screen text, captions, logos, watermarks, black borders, muffled sound, "
    "crackling, echo, clipped speech, lips out of step with the voice"
)


@dataclass(frozen=True)
class Preset:
    """Values used where a call leaves them unset.

    Attributes:
        name: version and variant, "2.3-distilled".
        seed: seed of what is drawn beside noise that is given.
        width, height: pixels.
        num_frames: pixel frames.
        frame_rate: frames per second.
        num_inference_steps: denoising steps.
        distilled: True uses the fixed noise levels, False the LTX2 scheduler.
        guidance: strengths of both streams.
        negative_prompt: what guided models avoid.
        sampler: name of the sampler.
        image_crf: compression of pictures that a clip starts from, 0 to 51; 0 is none.
        audio: whether clips have sound.
        hdr_curve: what the values of its clips stand for in high dynamic range; None where it has
            none.
    """

    name: str
    seed: int
    width: int
    height: int
    num_frames: int
    frame_rate: float
    num_inference_steps: int
    distilled: bool
    guidance: Guidance
    negative_prompt: str
    sampler: str = "euler"
    image_crf: int = 33
    audio: bool = True
    hdr_curve: HdrCurve | None = None


def _dev(version: str, steps: int, stg_block: int, image_crf: int = 33) -> Preset:
    strengths = ModalityGuidance(cfg=3.0, stg=1.0, modality=3.0, rescale=0.7)
    return Preset(
        name=f"{version}-dev",
        seed=10,
        width=768,
        height=512,
        num_frames=121,
        frame_rate=24.0,
        num_inference_steps=steps,
        distilled=False,
        guidance=Guidance(strengths, replace(strengths, cfg=7.0), stg_blocks=(stg_block,)),
        negative_prompt=NEGATIVE_PROMPT,
        image_crf=image_crf,
    )


def _distilled(base: Preset) -> Preset:
    return replace(
        base,
        name=base.name.replace("-dev", "-distilled"),
        num_inference_steps=8,
        distilled=True,
        guidance=Guidance(),
        negative_prompt="",
        sampler="euler_ancestral" if base.name.startswith("2.5") else "euler",
    )


_DEV = {
    "2.0": _dev("2.0", steps=40, stg_block=29),
    "2.3": replace(_dev("2.3", steps=30, stg_block=28), hdr_curve=HdrCurve.LOGC3),
    "2.5": replace(_dev("2.5", steps=30, stg_block=28, image_crf=18), hdr_curve=HdrCurve.ACESCCT),
}
PRESETS = {
    (version, variant): preset if variant == "dev" else _distilled(preset)
    for version, preset in _DEV.items()
    for variant in VARIANTS
}


def find_preset(version: str, variant: str, num_layers: int) -> Preset:
    """Return the defaults of a model.

    Args:
        version: "2.0", "2.3" or "2.5".
        variant: "dev" or "distilled".
        num_layers: transformer blocks of the model; where the listed STG block is past the end,
            as in models smaller than the released ones, the last but one block takes its place.

    Raises:
        ConfigError: no defaults are known for the pair.
    """
    preset = PRESETS.get((version, variant))
    if preset is None:
        known = ", ".join(sorted({name for name, _ in PRESETS}))
        raise ConfigError(
            f"no defaults for version {version!r}, variant {variant!r}; known versions: {known}, "
            f"variants: {', '.join(VARIANTS)}"
        )
    if any(block >= num_layers for block in preset.guidance.stg_blocks):
        block = max(num_layers - 2, 0)
        preset = replace(preset, guidance=replace(preset.guidance, stg_blocks=(block,)))
    return preset
