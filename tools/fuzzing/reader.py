"""What a reader is to the fuzzer: how its files are made and read, and what they may cost."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Rng = random.Random


@dataclass(frozen=True)
class Ceiling:
    """What reading a file may take: a constant, and so much for each of its bytes.

    Attributes:
        seconds: processor time that any file may take.
        seconds_per_byte: processor time for each byte.
        memory: bytes that any file may take.
        memory_per_byte: bytes for each byte.
    """

    seconds: float
    seconds_per_byte: float
    memory: int
    memory_per_byte: int

    def max_seconds(self, file_bytes: int) -> float:
        """Return the processor time that a file may take."""
        return self.seconds + self.seconds_per_byte * file_bytes

    def max_memory(self, file_bytes: int) -> int:
        """Return the bytes that reading a file may take."""
        return self.memory + self.memory_per_byte * file_bytes


@dataclass(frozen=True)
class Reader:
    """One way into the package.

    Attributes:
        name: for options and reports.
        share: how many of its cases a round has; a slow reader has few.
        ceiling: what a file may cost.
        make: writes a case into an empty folder and returns the path to open.
        read: reads it; raises whatever the package raises.
        reads_all: whether all of a file is read, not its header alone, so that holes count.
    """

    name: str
    share: int
    ceiling: Ceiling
    make: Callable[[Rng, Path], Path]
    read: Callable[[Path], object]
    reads_all: bool = False


# The constants are some ten times what files take here: a busy machine is slower. A header is a few
# thousand bytes; what it costs beyond them is Python objects per byte.
HEADER_CEILING = Ceiling(0.2, 5e-6, 24 << 20, 200)
# Names are matched with those of a network, of which a file may claim some thousand.
MODEL_CEILING = Ceiling(0.5, 10e-6, 32 << 20, 400)
VOCABULARY_CEILING = Ceiling(0.3, 10e-6, 32 << 20, 400)
# A picture has 16 million pixels or 10,000 per byte, which become up to 26 bytes each on the way
# (three frames of a WebP), and a fifth more where the heap of a long-lived process is in pieces.
PICTURE_CEILING = Ceiling(2.0, 4e-4, 496 << 20, 160_000)
CLIP_CEILING = Ceiling(1.0, 2e-4, 128 << 20, 20000)
# The graph of a network has room for 65536 nodes, whatever the file.
CORE_CEILING = Ceiling(1.0, 1e-5, 192 << 20, 64)
