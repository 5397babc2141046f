"""The audio-video diffusion transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ltx2cpp import _core
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.networks.backend import Backend, config_dict
from ltx2cpp.networks.pass_processes import PassProcesses
from ltx2cpp.networks.probes import matching_probes
from ltx2cpp.sampling.guidance import Call
from ltx2cpp.values import FloatArray, Modality, PromptEmbedding, Velocity

if TYPE_CHECKING:
    from ltx2cpp.model.model_set import ModelSet

StreamShape = _core.StreamShape


class Transformer:
    """The transformer, of which only the streams that run are loaded."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._streams: frozenset[str] = frozenset()
        self._processes: PassProcesses | None = None
        self._network = backend.lazy(
            "transformer", ["transformer"], lambda: self._claim(self._models, self._streams)
        )

    @property
    def config(self) -> Any:
        return self._models.require("transformer").config

    def use(self, models: ModelSet) -> None:
        """Take the weights from another model set of the same configuration."""
        if models.transformer is not self._models.transformer:
            self.release()
        self._models = models

    def open(self, *, video: bool = True, audio: bool = True) -> None:
        """Load the weights of these streams now instead of at the first call."""
        self._add(_names(video=video, audio=audio))
        self._network.open()

    def velocity(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: Sequence[int] = (),
        isolate: bool = False,
        probes: Sequence[str] = (),
    ) -> Velocity:
        """Run the network once; see `Networks.velocity`."""
        if video is None and audio is None:
            raise ArgumentError("velocity: expected video, audio or both, found neither")
        blocks = self._checked_blocks(stg_blocks)
        # All that can be refused is refused before the weights are read.
        for kind, modality in (("video", video), ("audio", audio)):
            if modality is not None:
                self._check_modality(kind, modality)
        self._add(_names(video=video is not None, audio=audio is not None))
        names = matching_probes(probes, self._network.draft().probe_names) if probes else []
        with self._network.computing() as network:
            result = network.velocity(video, audio, blocks, bool(isolate), names)
        for stream in ("video", "audio"):
            if result[stream] is not None:
                component = self._models.require("transformer")
                self._backend.finite(result[stream], "transformer", component)
        return Velocity(
            video=result["video"] if video is not None else None,
            audio=result["audio"] if audio is not None else None,
            probes=result["probes"],
        )

    def open_processes(self) -> None:
        """Start the processes that share the passes of a step, where there are to be any."""
        backend = self._backend
        if backend.guidance and not self._processes:
            self._processes = PassProcesses(backend, self._models, self._streams)

    def velocities(self, calls: Sequence[Call]) -> list[Velocity]:
        """Run the network for each pass of a step; see `Networks.velocity`.

        Other processes take their share of several passes, where devices for them were given.

        Raises:
            BackendError: one of them ended.
        """
        if len(calls) > 1:
            first = calls[0]
            self._add(_names(video=first.video is not None, audio=first.audio is not None))
            self.open_processes()
            if self._processes is not None:
                try:
                    return self._processes.compute(calls, self.velocity_of)
                except BaseException:
                    self._end_processes()
                    raise
        return [self.velocity_of(call) for call in calls]

    def velocity_of(self, call: Call) -> Velocity:
        """Run the network for one pass, here."""
        return self.velocity(
            call.video, call.audio, stg_blocks=call.stg_blocks, isolate=call.isolate
        )

    def _end_processes(self) -> None:
        if self._processes is not None:
            self._processes.close()
            self._processes = None

    def release(self) -> None:
        self._end_processes()
        self._network.release()
        self._streams = frozenset()

    def measure(
        self, models: ModelSet, video: StreamShape | None, audio: StreamShape | None
    ) -> NetworkNeeds:
        """Return what one call takes, whatever is loaded now; that stays as it is.

        Args:
            models: the components whose weights it would use.
            video, audio: sizes of the streams; an absent one is None.
        """
        streams = _names(video=video is not None, audio=audio is not None)
        same = models.transformer is self._models.transformer
        if same and (streams <= self._streams or not self._network.is_loaded):
            self._add(streams)
            network = self._network.draft()
        else:
            network = self._claim(models, streams)
        return NetworkNeeds(**network.measure(video, audio))

    def check_blocks(self, blocks: Sequence[int]) -> None:
        """Raise unless every number names a transformer block."""
        self._checked_blocks(blocks)

    def check_context(self, prompt: PromptEmbedding, *, video: bool, audio: bool) -> None:
        """Raise unless the contexts of these streams have the widths that they take."""
        if video:
            self._check_context("video", prompt.video)
        if audio:
            self._check_context("audio", prompt.audio)

    def _add(self, streams: frozenset[str]) -> None:
        """Let go of a network that lacks one of these streams."""
        if not streams <= self._streams:
            streams |= self._streams
            self.release()
            self._streams = streams

    def _claim(self, models: ModelSet, streams: frozenset[str]) -> _core.Transformer:
        component = models.require("transformer")
        network = _core.Transformer(
            self._backend.table(component),
            config_dict(component),
            self._backend.device,
            video="video" in streams,
            audio="audio" in streams,
        )
        return self._backend.stream_if_asked(network)

    def _check_modality(self, kind: str, modality: Modality) -> None:
        """Raise unless the arrays of a stream are those of this transformer."""
        config = self.config
        channels = config.in_channels if kind == "video" else config.audio_in_channels
        if modality.latent.shape[1] != channels:
            raise ShapeError(
                f"{kind} latent: expected (tokens, {channels}), found {modality.latent.shape}; is "
                "it another model's?"
            )
        axes = 3 if kind == "video" else 1
        if modality.positions.shape[0] != axes:
            raise ShapeError(
                f"{kind} positions: expected ({axes}, tokens, 2), found {modality.positions.shape}"
            )
        self._check_context(kind, modality.context)

    def _check_context(self, kind: str, context: FloatArray) -> None:
        width = self.config.context_widths[kind]
        if context.shape[1] != width or context.shape[0] == 0:
            raise ShapeError(
                f"{kind} context: expected (rows, {width}), found {context.shape}; is the prompt "
                "embedding another model's?"
            )

    def _checked_blocks(self, blocks: Sequence[int]) -> list[int]:
        layers = self.config.num_layers
        for block in blocks:
            if not 0 <= block < layers:
                raise ArgumentError(
                    f"stg_blocks: expected 0 to {layers - 1}, the transformer's blocks, "
                    f"found {block}"
                )
        return sorted({int(block) for block in blocks})


def _names(*, video: bool, audio: bool) -> frozenset[str]:
    """Return the streams that run, by name."""
    return frozenset(name for name, runs in (("video", video), ("audio", audio)) if runs)
