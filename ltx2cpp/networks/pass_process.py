"""A process that computes passes of guidance for another; see `ltx2cpp.networks.pass_processes`."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import threading
from typing import Any, BinaryIO

from ltx2cpp import _core
from ltx2cpp.errors import Cancelled, Error
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.pass_processes import Setup
from ltx2cpp.networks.transformer import Transformer
from ltx2cpp.observing import Observer


def main() -> None:
    """Answer calls on standard output until standard input ends."""
    # The process that started this one is interrupted, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # It has said all that there is to say of the device and the model.
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "wb")
    # What else is printed here must not get between the answers.
    os.dup2(2, 1)
    questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(os.fdopen(0, "rb"), questions), daemon=True).start()
    if (setup := questions.get()) is None:
        return
    failure: Exception | None = None
    try:
        transformer = _open(setup)
    except (Error, MemoryError) as error:
        failure = error
    while (calls := questions.get()) is not None:
        try:
            answer: Any = failure or [transformer.velocity_of(call) for call in calls]
        except Cancelled:
            return
        except (Error, MemoryError) as error:
            answer = error
        try:
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except OSError:
            return


def _read(stream: BinaryIO, questions: queue.SimpleQueue[Any]) -> None:
    """Hand on what is asked; when the other process is gone, what computes ends too."""
    while True:
        try:
            questions.put(pickle.load(stream))
        except (EOFError, OSError, pickle.UnpicklingError):
            _core.set_stopping(True)
            questions.put(None)
            return


def _open(setup: Setup) -> Transformer:
    """Return the transformer with its weights loaded.

    Raises:
        Error: it cannot be opened here.
    """
    backend = Backend(setup.device, setup.weight_type, setup.threads, Observer(), setup.lora_mode)
    backend.settings.offload = setup.offload
    transformer = Transformer(setup.models, backend)
    transformer.open(video="video" in setup.streams, audio="audio" in setup.streams)
    return transformer
