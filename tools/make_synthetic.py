"""Write a checkpoint of random weights at the dimensions of a released model.

For measuring and for comparing with references where real weights are out of reach: the names,
shapes and metadata are those of the released single file, the number of transformer blocks is free.
Values depend on the seed and on each tensor's name alone (tools/synthetic/checkpoints.py).

Example:
    python tools/make_synthetic.py --blocks 2 --components transformer,connectors out.safetensors
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from released.configs import released_config
from released.layouts import VERSIONS
from synthetic.checkpoints import (
    COMPONENTS,
    GEMMA_CONFIG,
    choose_tensors,
    write_checkpoint,
    write_sparse_gguf,
)

from ltx2cpp.errors import Error
from ltx2cpp.options import spell_type


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--version", choices=VERSIONS, default="2.3")
    parser.add_argument("--blocks", type=int, default=2, help="transformer blocks (default: 2)")
    parser.add_argument(
        "--components",
        default="transformer",
        help=f"comma-separated, of {', '.join(COMPONENTS)} (default: transformer)",
    )
    parser.add_argument("--vocab", type=int, default=262208, help="rows of Gemma's embedding")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sparse",
        metavar="TYPE",
        type=spell_type,
        help="write zeros of this weight type, as GGUF, in a file that takes no room on the disk",
    )
    options = parser.parse_args(arguments)
    components = options.components.split(",")
    unknown = sorted(set(components) - set(COMPONENTS))
    if unknown:
        parser.error(f"--components: unknown {', '.join(unknown)}")
    if options.blocks < 1 or options.vocab < 1 or options.seed < 0:
        parser.error("--blocks and --vocab have to be at least 1, --seed at least 0")
    tensors = choose_tensors(options.version, options.blocks, components, options.vocab)
    metadata = {
        "config": json.dumps(released_config(options.version, options.blocks)),
        "model_version": f"{options.version}.0",
        "license": "random values, no licence needed",
    }
    if "gemma" in components:
        metadata["gemma_config"] = json.dumps(GEMMA_CONFIG)
    try:
        if options.sparse is not None:
            size_bytes = write_sparse_gguf(options.out, tensors, metadata, options.sparse)
        else:
            size_bytes = write_checkpoint(options.out, tensors, metadata, options.seed)
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{options.out}: {len(tensors)} tensors, {size_bytes / 1e9:.3f} GB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
