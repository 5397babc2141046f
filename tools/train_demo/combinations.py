"""What a clip may show, and which of it the generator never sees in training. Numpy only."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (225, 40, 35),
    "green": (40, 190, 60),
    "blue": (45, 80, 230),
    "yellow": (240, 220, 40),
    "white": (245, 245, 245),
    "purple": (165, 50, 200),
}
BACKGROUNDS = {
    "black": (10, 10, 10),
    "gray": (120, 120, 120),
    "blue": (25, 45, 120),
    "green": (20, 95, 40),
}
MOTIONS = ("left", "right", "up", "down", "still", "grows", "shrinks")


@dataclass(frozen=True, slots=True, order=True)
class Combination:
    """What a clip shows, in words: one of SHAPES, COLOURS, MOTIONS and BACKGROUNDS each."""

    shape: str
    colour: str
    motion: str
    background: str


def all_combinations() -> tuple[Combination, ...]:
    """List every combination whose shape can be told from its background: 462."""
    return tuple(
        Combination(*words)
        for words in itertools.product(SHAPES, COLOURS, MOTIONS, BACKGROUNDS)
        if words[1] != words[3]
    )


def split_combinations(
    num_held_out: int = 60, seed: int = 20
) -> tuple[tuple[Combination, ...], tuple[Combination, ...]]:
    """Split the combinations into those the generator is trained on and those it never sees.

    Args:
        num_held_out: How many to hold out.
        seed: Which ones.

    Returns:
        The combinations for training and the held-out ones.
    """
    combinations = all_combinations()
    order = np.random.default_rng(seed).permutation(len(combinations))
    held_out = sorted(combinations[index] for index in order[:num_held_out])
    training = sorted(combinations[index] for index in order[num_held_out:])
    return tuple(training), tuple(held_out)


TRAIN_COMBINATIONS, HELD_OUT_COMBINATIONS = split_combinations()

# What the tests ask for, 40 of the 60: the list is sorted, and any other cut would end before the
# triangles.
ASKED_COMBINATIONS = tuple(one for index, one in enumerate(HELD_OUT_COMBINATIONS) if index % 3 != 2)


_MOTION_PHRASES = {"still": "stays still", "grows": "grows", "shrinks": "shrinks"}


def say(asked: Combination) -> str:
    """Say it as the package's own prompts do."""
    motion = _MOTION_PHRASES.get(asked.motion, f"moves {asked.motion}")
    return f"a {asked.colour} {asked.shape} {motion} on a {asked.background} background"
