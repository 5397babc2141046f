"""The training loop all stages share: schedule, average of the weights, checkpoints, log.

A run is a list of phases. The learning rate of a phase warms up linearly and falls along a cosine
with the steps done or, where a time limit is given, with the time used, whichever is further, so
that a phase cut short by the clock still ends at rate zero. A checkpoint holds everything that the
next step depends on except the clock.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

logger = logging.getLogger("train_demo")

_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training.

    Attributes:
        name: For the log and the checkpoint.
        steps: Updates, at most.
        batch: Samples in an update.
        rate: Peak learning rate.
        frames: Frames of a clip; the stages without clips ignore it.
        minutes: Time limit; None for none.
    """

    name: str
    steps: int
    batch: int
    rate: float
    frames: int = 0
    minutes: float | None = None
    warm_up: int = 100


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What the loop itself does.

    Attributes:
        weight_decay: On matrices and kernels.
        clip: Largest norm of the gradient.
        average: Decay of the average of the weights.
        log_every: Updates between two lines of the log.
    """

    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.995
    log_every: int = 50


Losses = dict[str, Tensor]
LossFunction = Callable[[Phase, np.random.Generator, torch.Generator], Losses]


def run_phases(
    model: nn.Module,
    phases: Sequence[Phase],
    loss_function: LossFunction,
    path: Path,
    seed: int,
    resume: bool,
    settings: LoopSettings = LoopSettings(),
) -> None:
    """Train through all phases; afterwards the model holds the averaged weights.

    Args:
        model: What is trained, in place.
        phases: In order.
        loss_function: Returns named losses of one batch; "loss" is the one to follow down.
        path: Checkpoint file, written about once a minute and at the end.
        seed: Of the data and of the noise.
        resume: Continue from `path` where it exists.
        settings: Of the loop.
    """
    device = next(model.parameters()).device
    rng = np.random.default_rng(seed)
    noise = torch.Generator(device).manual_seed(seed)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state = {"phase": 0, "step": 0, "seconds": 0.0}
    optimiser = _optimiser(model, settings)
    if resume and path.exists():
        saved = torch.load(path, map_location=device, weights_only=False)
        model.load_state_dict(saved["model"])
        average = saved["average"]
        state = saved["state"]
        if saved["optimiser"] is not None:
            optimiser.load_state_dict(saved["optimiser"])
        rng.bit_generator.state = saved["rng"]
        noise.set_state(saved["noise"].cpu())
        logger.info("resumed %s at phase %d, step %d", path, state["phase"], state["step"])

    def save() -> None:
        content = {
            "model": model.state_dict(),
            "average": average,
            "optimiser": optimiser.state_dict(),
            "state": dict(state),
            "rng": rng.bit_generator.state,
            "noise": noise.get_state(),
            "phases": [asdict(phase) for phase in phases],
            "seed": seed,
        }
        partial = path.with_suffix(".partial")
        torch.save(content, partial)
        partial.replace(path)

    while state["phase"] < len(phases):
        phase = phases[int(state["phase"])]
        logger.info("phase %s: %s", phase.name, asdict(phase))
        for progress in _progress(phase, state):
            if progress is None:
                save()
                continue
            warm = min(1.0, (state["step"] + 1) / phase.warm_up)
            rate = phase.rate * warm * 0.5 * (1.0 + math.cos(math.pi * progress))
            for group in optimiser.param_groups:
                group["lr"] = rate
            losses = loss_function(phase, rng, noise)
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            optimiser.step()
            _update_average(average, model, min(settings.average, (state["step"] + 1) / 100))
            if (state["step"] + 1) % settings.log_every == 0:
                values = " ".join(f"{name} {value.item():.4f}" for name, value in losses.items())
                logger.info(
                    "%s step %d %.0f s rate %.2e norm %.2f %s",
                    phase.name,
                    state["step"] + 1,
                    state["seconds"],
                    rate,
                    float(norm),
                    values,
                )
        # The next phase starts from the average, with fresh moments.
        model.load_state_dict(average)
        optimiser = _optimiser(model, settings)
        state.update(phase=state["phase"] + 1, step=0, seconds=0.0)
        save()
    model.load_state_dict(average)


def _optimiser(model: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    matrices = [value for value in model.parameters() if value.requires_grad and value.ndim >= 2]
    vectors = [value for value in model.parameters() if value.requires_grad and value.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)


def _progress(phase: Phase, state: dict[str, float]) -> Iterator[float | None]:
    """Yield the share done before every step, and None when a checkpoint is due."""
    last = saved = time.monotonic()
    while True:
        share = state["step"] / phase.steps
        if phase.minutes is not None:
            share = max(share, state["seconds"] / (60.0 * phase.minutes))
        if share >= 1.0:
            return
        yield share
        now = time.monotonic()
        state["step"] += 1
        state["seconds"] += now - last
        last = now
        if now - saved > _CHECKPOINT_SECONDS:
            saved = now
            yield None


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move the average towards the weights; early steps count for more."""
    decay = min(decay, 0.9999)
    values = model.state_dict()
    torch._foreach_lerp_(list(average.values()), [values[name] for name in average], 1.0 - decay)
