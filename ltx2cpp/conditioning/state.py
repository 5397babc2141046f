"""State of one modality during denoising: what is generated and what is held.

Source: Lightricks LTX-2, ltx_core latent state and conditioning items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ltx2cpp.errors import ShapeError
from ltx2cpp.values import FloatArray


@dataclass(frozen=True, eq=False)
class LatentState:
    """Tokens of one modality.

    Attributes:
        latent: (tokens, channels), the current noisy latent.
        clean: (tokens, channels), target of held tokens; 0 where nothing is given.
        mask: (tokens,), 1 generates a token, 0 holds it, between is a partial strength.
        positions: (axes, tokens, 2), see `Modality`.
        generated: number of leading tokens that belong to the clip; the rest are appended
            conditions, dropped at the end.
        attention: (tokens, tokens) in 0..1, how much tokens look at each other, or None for fully.
        keyframes: (tokens,), 1 for tokens that stand for one pixel frame, which LTX-2.5 tells from
            others; None where there are none.
        slots: first and end token of the keyframes that are generated beside the clip, or None.
    """

    latent: FloatArray
    clean: FloatArray
    mask: FloatArray
    positions: FloatArray
    generated: int
    attention: FloatArray | None = None
    keyframes: FloatArray | None = None
    slots: tuple[int, int] | None = None

    @classmethod
    def empty(
        cls, tokens: int, channels: int, positions: FloatArray, first_frame: int = 0
    ) -> LatentState:
        """Return a state in which everything is generated and the latent is zero.

        Args:
            tokens, channels: extents of the latent.
            positions: (axes, tokens, 2).
            first_frame: tokens of the first latent frame, which stands for one pixel frame, held
                or not.
        """
        zero = np.zeros((tokens, channels), np.float32)
        keyframes = None
        if first_frame:
            keyframes = np.zeros(tokens, np.float32)
            keyframes[:first_frame] = 1.0
        mask = np.ones(tokens, np.float32)
        return cls(zero, zero, mask, positions, tokens, keyframes=keyframes)

    def timesteps(self, sigma: float) -> FloatArray:
        """Return each token's noise level at the global level ``sigma``, (tokens,)."""
        result: FloatArray = self.mask * np.float32(sigma)
        return result

    def blend(self, estimate: FloatArray) -> FloatArray:
        """Return ``estimate`` with held tokens replaced by their target, by the mask's share."""
        mask = self.mask[:, None]
        result: FloatArray = mask * estimate + (np.float32(1) - mask) * self.clean
        return result

    def noised(self, noise: FloatArray, noise_scale: float = 1.0) -> LatentState:
        """Return the starting state: the latent mixed with noise, held tokens put back.

        Args:
            noise: (tokens, channels), appended tokens included.
            noise_scale: share of noise, 0..1: 1 starts from pure noise.
        """
        if noise.shape != self.latent.shape:
            raise ShapeError(
                f"noise: expected {self.latent.shape} in token layout, found {noise.shape}"
            )
        scale = np.float32(noise_scale)
        mixed = (np.float32(1) - scale) * self.latent + scale * noise
        return replace(self, latent=self.blend(mixed))

    def hold_frames(self, tokens: FloatArray, first: int, strength: float = 1.0) -> LatentState:
        """Return a state that holds ``tokens`` from token number ``first`` on.

        Args:
            tokens: (n, channels), the encoded pictures in token layout.
            first: index of the first token that is given.
            strength: 1 holds exactly, 0 ignores the pictures.
        """
        end = first + tokens.shape[0]
        if end > self.generated or tokens.shape[1] != self.clean.shape[1]:
            raise ShapeError(
                f"conditioning: {tokens.shape} tokens from token {first} do not fit into "
                f"{(self.generated, self.clean.shape[1])}"
            )
        clean, mask = self.clean.copy(), self.mask.copy()
        clean[first:end] = tokens
        mask[first:end] = np.float32(1.0 - strength)
        return replace(self, clean=clean, mask=mask)

    def append(
        self, tokens: FloatArray, positions: FloatArray, strength: float = 1.0
    ) -> LatentState:
        """Return a state with tokens beside the clip, which the network sees and the end drops.

        Args:
            tokens: (n, channels), the encoded condition in token layout.
            positions: (axes, n, 2).
            strength: 1 holds exactly, 0 is pure noise.
        """
        # Given pictures and references are not marked, their first frames neither.
        return self._joined(np.zeros_like(tokens), tokens, positions, 1.0 - strength, mark=0.0)

    def append_slots(self, tokens: FloatArray, positions: FloatArray) -> LatentState:
        """Return a state with keyframes that are generated beside the clip; they are marked.

        Args:
            tokens: (n, channels), what they start from; zeros for nothing.
            positions: (3, n, 2).
        """
        if self.slots is not None:
            raise ShapeError("conditioning: keyframes are generated beside the clip already")
        first = len(self.mask)
        state = self._joined(tokens, np.zeros_like(tokens), positions, 1.0, mark=1.0)
        return replace(state, slots=(first, first + len(tokens)))

    def _joined(
        self,
        latent: FloatArray,
        clean: FloatArray,
        positions: FloatArray,
        mask: float,
        *,
        mark: float,
    ) -> LatentState:
        count, channels = clean.shape
        if channels != self.clean.shape[1] or positions.shape[1] != count:
            raise ShapeError(
                f"conditioning: {clean.shape} tokens with positions {positions.shape} do not go "
                f"with a clip of {self.clean.shape}"
            )
        keyframes = self.keyframes
        if keyframes is None and mark:
            keyframes = np.zeros_like(self.mask)
        if keyframes is not None:
            keyframes = np.concatenate([keyframes, np.full(count, mark, np.float32)])
        return replace(
            self,
            latent=np.concatenate([self.latent, latent]),
            clean=np.concatenate([self.clean, clean]),
            mask=np.concatenate([self.mask, np.full(count, mask, np.float32)]),
            positions=np.concatenate([self.positions, positions], axis=1),
            keyframes=keyframes,
        )
