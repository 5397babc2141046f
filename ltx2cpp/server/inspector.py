"""The process that checks requests before they are queued.

It opens headers of models and given media, neither of which can then harm the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from ltx2cpp.errors import ArgumentError, DeviceMemoryError, Error
from ltx2cpp.generation.unheard import unheard
from ltx2cpp.media import read_parameters
from ltx2cpp.observing import Observer
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.requests.calls import INPUTS, arguments_of, settled
from ltx2cpp.requests.fields import CLIP, FieldError
from ltx2cpp.requests.models import NamedModel, offer_identity, open_model, use_loras
from ltx2cpp.server.link import Message, answer, receive, spell_error
from ltx2cpp.server.models import describe_model
from ltx2cpp.server.options import GIB


def inspect(connection: Connection, models: Sequence[NamedModel], makes_clips: bool) -> None:
    """Answer questions until the server is gone; the main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inspector = Inspector(models, makes_clips)
    with contextlib.suppress(EOFError, OSError):
        while True:
            method, values = receive(connection)
            try:
                result: Message = getattr(inspector, method)(**values)
            except Error as error:
                result = spell_error(error)
            answer(connection, result)


class Inspector:
    """The questions that the process answers, a method each.

    Args:
        models: what requests may name.
        makes_clips: whether clips are made on this machine too, and have to fit into its memory.
    """

    def __init__(self, models: Sequence[NamedModel], makes_clips: bool) -> None:
        self._models = {model.name: model for model in models}
        self._makes_clips = makes_clips
        self._pipes: dict[str, LTX2Pipeline] = {}
        self._rooms: dict[str, dict[str, int]] = {}

    def describe(self) -> Message:
        """Return what there is to know of all models.

        Raises:
            Error: a model cannot be used, or a LoRA that it offers.
        """
        for name, model in self._models.items():
            for lora in model.offered:
                use_loras(model, self._pipe(name), lora)
        return {
            "models": [
                describe_model(model, self._pipe(name)) for name, model in self._models.items()
            ]
        }

    def identify(self) -> Message:
        """Return what tells each model from others.

        Raises:
            Error: a file cannot be read.
        """
        offers = self._models.items()
        return {"models": {name: offer_identity(each, self._pipe(name)) for name, each in offers}}

    def check(self, request: dict[str, Any], folder: str) -> Message:
        """Return a request settled, and what making it would take.

        Args:
            request: see `ltx2cpp.server.requests`.
            folder: of the job, with its inputs.

        Raises:
            ArgumentError: it cannot be made like that.
            DeviceMemoryError: it does not fit into memory.
        """
        os.chdir(folder)
        pipe = self._pipe(request["model"])
        use_loras(self._models[request["model"]], pipe, request.get("loras"))
        with unheard():
            request = settled(pipe, request)
            plan = pipe.memory_plan(request["prompt"], **arguments_of(request))
        if plan.problem is not None:
            raise DeviceMemoryError(plan.problem)
        rooms = self._rooms[request["model"]]
        for phase in plan.phases:
            room = rooms[phase.device] if self._makes_clips else 0
            if 0 < room < phase.peak_bytes:
                raise DeviceMemoryError(
                    f"'{phase.name}' needs {phase.peak_bytes / GIB:.2f} GiB and this machine has "
                    f"{room / GIB:.2f} GiB free; ask for a smaller or shorter clip"
                )
        return {"request": request, "seconds": plan.seconds, "peak_bytes": plan.peak_bytes}

    def settings(self, folder: str, file: str) -> Message:
        """Return what a clip was made of, as far as requests have fields for it.

        Raises:
            ArgumentError: it does not tell.
        """
        os.chdir(folder)
        told = read_parameters(f"{INPUTS}/{file}")
        kinds = {"prompt": str, "negative_prompt": str, "seed": int, "num_inference_steps": int}
        kinds |= {"num_frames": int, "width": int, "height": int}
        settings = {
            name: told[name] for name, kind in kinds.items() if type(told.get(name)) is kind
        }
        if "prompt" not in settings:
            raise ArgumentError(f"{file}: its parameters have no prompt")
        width, height = settings.pop("width", None), settings.pop("height", None)
        if width and height:
            settings["size"] = f"{width}x{height}"
        if isinstance(cache := told.get("step_cache"), dict):
            spelled = f"{cache.get('mode')}:{cache.get('threshold')}"
            with contextlib.suppress(FieldError):
                settings["step_cache"] = CLIP["step_cache"].read("step_cache", spelled)
        return settings

    def _pipe(self, name: str) -> LTX2Pipeline:
        if name not in self._models:
            raise ArgumentError(f"model: there is no {name!r}")
        if name not in self._pipes:
            pipe = open_model(self._models[name], Observer())
            # Before a worker takes any of it.
            tells = pipe.networks.backend.free_bytes_by_device()
            self._rooms[name] = {device: tell() for device, tell in tells.items()}
            self._pipes[name] = pipe
        return self._pipes[name]
