"""Other processes that share the passes of guidance in each step.

Each has the transformer open, on the CPU with the weights in the pages of the same files, and
answers calls over a pipe. The process that denoises computes a share itself.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ltx2cpp.errors import BackendError, Cancelled
from ltx2cpp.machine.room import starting_thread
from ltx2cpp.options import LoraMode, Offload

if TYPE_CHECKING:
    from ltx2cpp.model.model_set import ModelSet
    from ltx2cpp.networks.backend import Backend
    from ltx2cpp.sampling.guidance import Call
    from ltx2cpp.values import Velocity

_POLL_S = 0.1
_END_S = 2.0
# The paths of this process, since the package may have been found by one that no other has.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from ltx2cpp.networks.pass_process import main; main()"
)


@dataclass(frozen=True)
class Setup:
    """What a process is to open.

    Attributes:
        device, threads, weight_type, lora_mode, offload: as of its `Backend`.
        models: the transformer, and nothing else.
        streams: those that run, "video" and "audio".
    """

    device: str
    threads: int
    weight_type: str
    lora_mode: LoraMode
    offload: Offload
    models: ModelSet
    streams: frozenset[str]


class _Process:
    """One process.

    Args:
        setup: what it opens, while this process goes on.

    Raises:
        BackendError: it cannot be started.
    """

    def __init__(self, setup: Setup) -> None:
        self._device = setup.device
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except OSError as error:
            raise BackendError(
                f"guidance: a process on {setup.device} cannot be started: {error}"
            ) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        # One that ended already says so when it is asked.
        with contextlib.suppress(OSError):
            self._send(setup)

    def compute(self, calls: Sequence[Call]) -> list[Velocity]:
        """Return its answers.

        Raises:
            Error: what the network raised there.
            BackendError: it ended.
        """
        try:
            self._send(list(calls))
            answer: Any = pickle.load(self._answers)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise BackendError(
                f"guidance: the process on {self._device} that computes passes ended "
                f"({self._how_it_ended()})"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        velocities: list[Velocity] = answer
        return velocities

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return "its pipe was closed"
        return f"code {code}" if code >= 0 else f"signal {-code}"

    def _send(self, message: object) -> None:
        pickle.dump(message, self._questions, pickle.HIGHEST_PROTOCOL)
        self._questions.flush()

    def kill(self) -> None:
        """End it; who waits for its answer hears that it ended."""
        self._process.kill()

    def close(self) -> None:
        """End it and wait for that."""
        self.kill()
        self._process.wait()
        # What was not sent yet cannot be.
        with contextlib.suppress(OSError):
            self._questions.close()
        self._answers.close()


class PassProcesses:
    """The processes beside this one.

    Args:
        backend: where this one denoises, and the devices of the others.
        models: whose transformer it is.
        streams: those that run, "video" and "audio".

    Raises:
        BackendError: one cannot be started.
    """

    def __init__(self, backend: Backend, models: ModelSet, streams: frozenset[str]) -> None:
        self._device = backend.device
        self._processes: list[_Process] = []
        unused: dict[str, Any] = dict.fromkeys(models.components())
        bare = replace(models, **{**unused, "transformer": models.transformer})
        for name in backend.guidance:
            setup = Setup(
                name,
                backend.device.threads,
                backend.weight_type,
                backend.lora_mode,
                backend.offload,
                bare,
                streams,
            )
            try:
                self._processes.append(_Process(setup))
            except BackendError:
                self.close()
                raise

    def compute(self, calls: Sequence[Call], own: Callable[[Call], Velocity]) -> list[Velocity]:
        """Return what the network gives for each call.

        Args:
            calls: of one step.
            own: computes one here.

        Raises:
            Error: what the network raised, here or there; all processes are ended then.
            BackendError: one has ended.
            Cancelled: the device was told to stop.
        """
        count = 1 + len(self._processes)
        shares = [calls[index::count] for index in range(count)]
        asked: list[Future[list[Velocity]]] = []
        with ThreadPoolExecutor(len(self._processes)) as pool:
            try:
                with starting_thread("guidance"):
                    for process, share in zip(self._processes, shares[1:], strict=True):
                        if share:
                            asked.append(pool.submit(process.compute, share))
                answers = [[own(call) for call in shares[0]]]
                answers += [self._awaited(each) for each in asked]
            except BaseException:
                # The threads of the pool wait for them.
                for process in self._processes:
                    process.kill()
                raise
        velocities: list[Velocity | None] = [None] * len(calls)
        for index, share_answers in enumerate(answers):
            velocities[index::count] = share_answers
        return [each for each in velocities if each is not None]

    def _awaited(self, answer: Future[list[Velocity]]) -> list[Velocity]:
        while not wait([answer], _POLL_S).done:
            if self._device.is_stopping:
                raise Cancelled("interrupted")
        return answer.result()

    def close(self) -> None:
        """End all of them."""
        for process in self._processes:
            process.close()
