"""The fields of the interface's requests."""

from __future__ import annotations

from collections.abc import Mapping

from ltx2cpp.requests.fields import CLIP, MAX_SEED, PROMPT, SECONDS, Field

_LORA = r"[\w.+-]{1,64}(:-?\d(\.\d{1,3})?)?"
CREATE: Mapping[str, Field] = {
    **CLIP,
    "model": Field("Name of a model; see /v1/models. Left out: the first of them.", most=200),
    "loras": Field(
        "LoRAs that the model offers, NAME[:STRENGTH] separated by commas; see /v1/models.",
        pattern=f"{_LORA}(,{_LORA}){{0,7}}",
    ),
    "priority": Field("Jobs of a higher one are made first.", "integer", -10, 10),
    "user": Field("Kept with the job; has no effect.", most=512),
}
REMIX: Mapping[str, Field] = {
    "prompt": PROMPT,
    "seed": Field("Left out: that of the clip.", "integer", 0, MAX_SEED),
}
EXTENSION: Mapping[str, Field] = {
    "prompt": PROMPT,
    "seconds": SECONDS,
    "model": CREATE["model"],
    "seed": CREATE["seed"],
    "num_inference_steps": CREATE["num_inference_steps"],
    "step_cache": CREATE["step_cache"],
    "guidance_scale": CREATE["guidance_scale"],
    "negative_prompt": CREATE["negative_prompt"],
    "generate_sound": CREATE["generate_sound"],
    "loras": CREATE["loras"],
    "priority": CREATE["priority"],
    "user": CREATE["user"],
}
EDIT: Mapping[str, Field] = {
    **{name: field for name, field in EXTENSION.items() if name != "seconds"},
    "start_s": Field("Second from which it is made anew.", "number", 0, 3600),
    "end_s": Field("Second up to which it is made anew; left out: the end.", "number", 0, 3600),
}
