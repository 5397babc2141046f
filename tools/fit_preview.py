"""Fits the colours that previews of the demo model have, and writes them into the package.

    python tools/fit_preview.py --clips 60

Makes clips of the demo's words and learns from each as a pipeline with ``preview_cache`` does; the
table replaces that of the same VAE in ltx2cpp/preview/tables.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from ltx2cpp import LTX2Pipeline
from ltx2cpp.demo import BACKGROUNDS, COLOURS, MOTIONS, SHAPES
from ltx2cpp.preview.tables import SHIPPED, ColourTables

_DIGITS = 5


def main() -> int:
    """Fit the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60, metavar="N", help="default: 60")
    clips = parser.parse_args().clips
    words = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        with LTX2Pipeline.demo("cpu", preview_cache=folder) as pipe:
            for seed in range(clips):
                shape = f"a {words.choice(COLOURS)} {words.choice(SHAPES)} {words.choice(MOTIONS)}"
                clip = pipe(f"{shape} on a {words.choice(BACKGROUNDS)} background", seed=seed)
        assert clip.video_latent is not None
        (learned,) = Path(folder).glob("*.safetensors")
        table = ColourTables(folder).find(learned.stem, len(clip.video_latent))
    assert table is not None
    rows = [[round(float(value), _DIGITS) for value in row] for row in table]
    tables = json.loads(SHIPPED.read_text(encoding="utf-8"))
    tables[learned.stem] = {"model": "demo", "clips": clips, "table": rows}
    # A line for each channel.
    text = json.dumps(tables, indent=1).replace("[\n    ", "[").replace(",\n    ", ", ")
    SHIPPED.write_text(text.replace("\n   ]", "]") + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
