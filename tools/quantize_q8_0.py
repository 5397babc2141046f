"""Quantise a model file to Q8_0: a script over `ltx2cpp.convert.convert`.

Example:
    python tools/quantize_q8_0.py ltx-2.3-22b-distilled.safetensors ltx-2.3-22b-distilled-q8_0.gguf
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from ltx2cpp.convert import convert, describe_types
from ltx2cpp.errors import Error

_LINE_INTERVAL_S = 1.0


class _Lines:
    """Progress as a line that is rewritten once a second."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic()

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= _LINE_INTERVAL_S:
            self._shown_s = now_s
            share = 100 * done_bytes / total_bytes
            print(f"\r{share:5.1f} % of {total_bytes / 1e9:.2f} GB", end="", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="IN", help="safetensors file, folder or GGUF")
    parser.add_argument("destination", metavar="OUT.gguf")
    parser.add_argument("--threads", type=int, default=None, help="default: the physical cores")
    options = parser.parse_args(arguments)
    try:
        report = convert(
            options.source, options.destination, "q8_0", _Lines(), threads=options.threads
        )
    except Error as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return 130
    print(
        f"\r{report.path}: {report.num_tensors} tensors, {report.source_bytes / 1e9:.2f} GB to "
        f"{report.size_bytes / 1e9:.2f} GB in {report.seconds:.1f} s "
        f"({describe_types(report.dtypes)})"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
