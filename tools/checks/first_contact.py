"""The first commands of a new user on three machines, and whether they say what they should.

    python tools/checks/first_contact.py [OUT]

A hub on this machine serves the files of the table of names: with the published names and sizes,
for those that are looked into with the headers of the released models, and with holes instead of
weights. The commands of docs/first-contact.md are run as they are installed beside this Python, in
empty home folders; what they print goes to stdout and, a file for each machine, into the folder
OUT. Home folders are written as ~, hashes are left out.

The third machine is not made but asked for, by --max-memory 16, as control groups cannot be made
everywhere; so this one should have more than 16 GiB free. Exit code 1 where an exit code or a line
is not what is expected.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.checkpoint_writers import ARRAY, F32, I32, STRING, U32, gguf_key, write_gguf
from helpers.stub_hub import StubFile, StubHub
from released.configs import released_config
from released.files25 import write_holes
from released.layouts import Layout, released_gemma_tensors, released_tensors
from synthetic.checkpoints import choose_tensors, write_sparse_gguf

from ltx2cpp.errors import DeviceMemoryError, HubError
from ltx2cpp.hub.table import Row, packaged_rows
from ltx2cpp.model.llama_cpp import gguf_name

_VERSION = "2.3"
_LAYERS = 48
_VOCABULARY = 262_144
_MODEL = "ltx-2.3-distilled"
# Weights that the commands look into.
_WEIGHTS = ("q8_0", "q4_k_m")
_GATED = ("google/", "Lightricks/LTX-2.5")
# Sizes that are not known to the byte have one decimal of a gigabyte.
_ROUNDING_BYTES = 50_000_000
# Where the user of another program has the files of a role.
_OTHER_PROGRAM = Path("other-program/models")
_OTHER_FOLDERS = {"text_projection": "text_encoders", "video_vae": "vae", "audio_vae": "vae"}
_PROMPT = "a red fox trots through fresh snow"


@dataclass(frozen=True)
class Command:
    """A command, and what is expected of it.

    Attributes:
        words: behind the program's name.
        lines: regular expressions, each of which some line of what it prints has to match.
        exit_code: how it ends.
        leaves: a file that it writes.
    """

    words: tuple[str, ...]
    lines: tuple[str, ...]
    exit_code: int = 0
    leaves: str = ""


# Where less memory is free, the smaller weights are taken.
_TOTAL = r"to fetch: (34\.4 GB of 34\.4|25\.8 GB of 25\.8) GB; free disk: "
_HERE = r"  {} +\S+ \wB  here: ~/other-program/models/{}/ltx-2\.3-22b-distilled_\w+\.safetensors"

MACHINES = {
    "nothing-there": (
        Command(
            ("generate", "a red circle moves right on a blue background", "-o", "demo.mp4"),
            (
                r"model: the demo that ships with ltx2cpp, moving shapes without sound; --model ",
                r"demo\.mp4: 17 frames of 96 x 64, 24 fps, \S+ kB, seed \d+",
            ),
            leaves="demo.mp4",
        ),
        Command(
            ("models",),
            (
                r"ltx-2\.3-distilled:q8_0 +34\.4 GB +34\.4 GB ",
                r"ltx-2\.3-distilled:q4_k_m +25\.8 GB +25\.8 GB ",
                r"ltx-2\.5-distilled:bf16 +70\.1 GB +70\.1 GB ",
            ),
        ),
        Command(
            ("download", "ltx-2.3-distiled"),
            (
                r"error: ltx-2\.3-distiled: no such file or folder, and no name of a model; "
                r"the nearest names are ltx-2\.3-distilled, ",
            ),
            HubError.exit_code,
        ),
        Command(
            ("download", "ltx-2.5-distilled", "--dry-run"),
            (
                r"error: Lightricks/LTX-2\.5: its publisher wants terms accepted and a token: "
                r"accept them on the page of the repository on the hub, then `hf auth login` or "
                r"set HF_TOKEN",
            ),
            HubError.exit_code,
        ),
        Command(
            ("download", _MODEL, "--dry-run"),
            (
                r"memory: ",
                r"  transformer +\S+ GB  to fetch: unsloth/LTX-2\.3-GGUF/distilled-1\.1/",
                r"  text_encoder +7\.43 GB  to fetch: unsloth/gemma-3-12b-it-qat-GGUF/",
                r"licences: LTX-2 community licence, Gemma terms of use",
                _TOTAL,
            ),
        ),
    ),
    "files-of-another-program": (
        Command(
            ("models", "add", str(_OTHER_PROGRAM)),
            (
                r"~/other-program/models/checkpoints/another-model\.safetensors: no file of the "
                r"table has its name, size and hash",
                r"~/other-program/models/checkpoints/broken\.gguf: the file ends inside its "
                r"version; is the download complete\?",
                *(
                    rf"~/other-program/models/{folder}/\S+: counts for ltx-2\.3-distilled:q8_0, "
                    for folder in dict.fromkeys(_OTHER_FOLDERS.values())
                ),
                r"other-program/models: 5 models looked at",
            ),
        ),
        Command(
            ("download", f"{_MODEL}:q4_k_m", "--dry-run"),
            (
                *(_HERE.format(role, folder) for role, folder in _OTHER_FOLDERS.items()),
                r"  transformer +14\.2 GB  to fetch: ",
                r"to fetch: 21\.7 GB of 25\.8 GB; free disk: ",
            ),
        ),
    ),
    "16-gb-and-no-gpu": (
        Command(
            ("plan", "-m", _MODEL, _PROMPT, "--max-memory", "16"),
            (
                r"memory: ltx-2\.3-distilled:q8_0 \(34\.4 GB\) fits with --offload stream, ",
                r"a smaller one: ltx-2\.3-distilled:q4_k_m \(25\.8 GB\) fits: the clip takes ",
                r"ltx-2\.3-distilled:q4_k_m is taken, as no weights were named; --model ",
                r"all +1\d\.\d GB",
                r"device cpu, offload (phase|none)",
            ),
        ),
        Command(
            ("generate", "-m", _MODEL, _PROMPT, "-o", "fox.mp4", "--max-memory", "2"),
            (
                r"memory: ltx-2\.3-distilled:q8_0 \(34\.4 GB\) does not fit: ",
                r"a smaller one: ltx-2\.3-distilled:q4_k_m \(25\.8 GB\) does not fit: ",
                r"error: .+ max_memory allows 2\.00 GiB",
            ),
            DeviceMemoryError.exit_code,
        ),
    ),
}


def main() -> int:
    """Run the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, help="folder for the transcripts")
    out = parser.parse_args().out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    wrong = []
    with tempfile.TemporaryDirectory() as folder, StubHub() as hub:
        files = _serve(hub, Path(folder))
        for machine, commands in MACHINES.items():
            home = Path(folder, machine)
            home.mkdir()
            if machine == "files-of-another-program":
                _lay_out(home / _OTHER_PROGRAM, files)
            transcript = ""
            for command in commands:
                text, faults = _run(command, home, hub.url)
                transcript += text
                wrong += [f"{machine}: {fault}" for fault in faults]
            print(f"== {machine}\n\n{transcript}", end="", flush=True)
            if out is not None:
                Path(out, f"{machine}.txt").write_text(transcript, "utf-8")
    for fault in wrong:
        print(f"WRONG: {fault}")
    return 1 if wrong else 0


def _run(command: Command, home: Path, hub: str) -> tuple[str, list[str]]:
    """Run a command in a home folder; return its transcript and what is wrong with it."""
    program = Path(sys.executable).with_name("ltx2cpp-cli")
    begin_s = time.monotonic()
    # As in a terminal, both streams go to one place.
    ended = subprocess.run(
        [str(program), *command.words],
        cwd=home,
        env=_environment(home, hub),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.monotonic() - begin_s
    said = re.sub(r" \(sha256 [0-9a-f]+\)", "", ended.stdout.replace(str(home), "~"))
    shown = f"$ ltx2cpp-cli {shlex.join(command.words)}"
    faults = [
        f"{shown}: no line matches {line!r}"
        for line in command.lines
        if not re.search(f"^{line}", said, re.MULTILINE)
    ]
    if ended.returncode != command.exit_code:
        faults.append(f"{shown}: exit code {ended.returncode}, expected {int(command.exit_code)}")
    if command.leaves and not Path(home, command.leaves).is_file():
        faults.append(f"{shown}: leaves no {command.leaves}")
    return f"{shown}\n{said}[exit code {ended.returncode}, {seconds:.1f} s]\n\n", faults


def _environment(home: Path, hub: str) -> dict[str, str]:
    """Return the environment of a user who has set nothing."""
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))
    }
    return settings | {"HOME": str(home), "HF_ENDPOINT": hub}


def _serve(hub: StubHub, folder: Path) -> dict[str, Path]:
    """Serve the files of the table; return those with headers, by role or weights."""
    rows = [row for row in packaged_rows() if not row.when]
    listings: dict[str, dict[str, StubFile | Path | bytes]] = {}
    for row in rows:
        path = {"*": "m.safetensors", "*.safetensors": "m.safetensors"}.get(row.file, row.file)
        stub = StubFile(size_only=row.size_bytes, sha256=row.sha256)
        listings.setdefault(row.repository, {})[path] = stub
    files = {}
    for row in rows:
        weights = [name for name in _WEIGHTS if f"{_MODEL}:{name}" in row.names]
        if not weights:
            continue
        key = weights[0] if row.role == "transformer" else row.role
        files[key] = _write(folder / Path(row.file).name, row, weights[0])
        # Those that another program may have are compared by their hashes; no command waits here.
        compared = row.role in _OTHER_FOLDERS
        sha256 = StubFile(path=files[key]).etag if compared else f"{len(files):064x}"
        listings[row.repository][row.file] = StubFile(path=files[key], sha256=sha256)
    for repository, listing in listings.items():
        hub.add(repository, listing, gated=repository.startswith(_GATED))
    return files


def _write(path: Path, row: Row, weights: str) -> Path:
    """Write the file of a row: its header and its size."""
    if row.role == "transformer":
        tensors = choose_tensors(_VERSION, _LAYERS, ["transformer", "connectors"], _VOCABULARY)
        size = write_sparse_gguf(path, tensors, _metadata("transformer"), weights)
    elif row.role == "text_encoder":
        size = _write_gemma(path).stat().st_size
    else:
        prefixes, drop, parts = {
            "text_projection": (("text_embedding_projection.",), "", ("transformer",)),
            "video_vae": (("vae.",), "vae.", ("vae",)),
            "audio_vae": (("audio_vae.", "vocoder."), "", ("audio_vae", "vocoder")),
        }[row.role]
        tensors = {
            name.removeprefix(drop): tensor
            for name, tensor in released_tensors(_VERSION).items()
            if name.startswith(prefixes)
        }
        write_holes(path, tensors, _metadata(*parts), size_bytes=row.size_bytes)
        size = path.stat().st_size
    if size > row.size_bytes + (0 if row.exact else _ROUNDING_BYTES):
        raise SystemExit(f"{path.name}: has {size} bytes, and {row.size_bytes} are published")
    os.truncate(path, max(size, row.size_bytes))
    return path


def _metadata(*parts: str) -> Mapping[str, str]:
    whole = released_config(_VERSION)
    config = {part: whole[part] for part in parts}
    return {"config": json.dumps(config), "model_version": f"{_VERSION}.0"}


def _write_gemma(path: Path) -> Path:
    """Write Gemma as llama.cpp does, in four bits, its vocabulary made up."""
    tensors: Layout = {}
    for name, (_, shape) in released_gemma_tensors(_LAYERS, _VOCABULARY).items():
        gguf = gguf_name(name.removeprefix("language_model.model."))
        tensors[gguf] = (_gemma_type(gguf) if len(shape) == 2 else "F32", shape)
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "\u2581", *letters]
    tokens += [f"\u2581word{number}" for number in range(_VOCABULARY - len(tokens))]
    types = [3, 3, 3, 2] + [1] * (len(tokens) - 4)
    keys = [
        gguf_key("general.architecture", STRING, "gemma3"),
        gguf_key("gemma3.block_count", U32, _LAYERS),
        gguf_key("gemma3.rope.scaling.type", STRING, "linear"),
        gguf_key("gemma3.rope.scaling.factor", F32, 8.0),
        gguf_key("tokenizer.ggml.model", STRING, "llama"),
        gguf_key("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        gguf_key("tokenizer.ggml.scores", ARRAY, (F32, [-float(at) for at in range(len(tokens))])),
        gguf_key("tokenizer.ggml.token_type", ARRAY, (I32, types)),
        gguf_key("tokenizer.ggml.bos_token_id", U32, 2),
    ]
    return write_gguf(path, tensors, keys)


def _gemma_type(name: str) -> str:
    """Return a type; together they come near to the published size."""
    match = re.fullmatch(r"blk\.(\d+)\.ffn_down\.weight", name)
    early = match is not None and int(match[1]) < _LAYERS // 2
    wide = early or name == "token_embd.weight" or ".attn_v." in name
    return "Q6_K" if wide else "Q4_K"


def _lay_out(folder: Path, files: dict[str, Path]) -> None:
    """Put files where another program has them, beside one of another model and a broken one."""
    for role, name in _OTHER_FOLDERS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.link(files[role], folder / name / files[role].name)
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    write_holes(checkpoints / "another-model.safetensors", {"weight": ("BF16", (1000, 1000))})
    (checkpoints / "broken.gguf").write_bytes(b"GGUF\3")


if __name__ == "__main__":
    sys.exit(main())
