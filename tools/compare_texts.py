"""Whether greedy texts are those of transformers, in float32.

    python tools/compare_texts.py GEMMA_3_FOLDER [--tokens 24] [--threads 2]

Asks as `--enhance` does, with 20 prompts: the Gemma 3 of the folder, by its own tokenizer and with
all rules; and, without rules, two tiny random Gemma 4 with the ids of that tokenizer. One is dense,
the other has inputs for each layer and shared keys, as E2B has. Both sides always take the
likeliest token, and nothing ends a text. Exits with 1 where a token differs. Needs the extra
`reference`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models import gemma4, gemma4_unified

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.text.chat import Chat
from ltx2cpp.text.choosing import TokenChoice, TokenChooser
from ltx2cpp.text.enhancing import instructions, wish

_PROMPTS = (
    "a red fox in the snow",
    "a boat on a calm lake at dawn",
    "rain on a tin roof",
    "an old man tells a joke",
    "waves break on black rocks, slow motion",
    "a train leaves the station",
    "two children build a sandcastle",
    "a candle is blown out",
    "a drone shot over a forest in autumn",
    'the baker says: "Fresh bread!"',
    "a cat jumps from a table",
    "neon signs in a wet street",
    "a violin solo in an empty hall",
    "clouds over a mountain, time-lapse",
    "a robot waters flowers",
    "ein Hund läuft am Strand",
    "a dancer turns, camera circles her",
    "steam rises from a cup of tea",
    "fireworks",
    "a whale breathes out beside a small boat",
)
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "global_head_dim": 64,
    "sliding_window": 24,
    "final_logit_softcapping": 30.0,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "tie_word_embeddings": True,
}
_DENSE: dict[str, Any] = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_global_key_value_heads": 1,
    "attention_k_eq_v": True,
}
_PER_LAYER: dict[str, Any] = {
    "num_hidden_layers": 6,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 3,
    "use_double_wide_mlp": True,
    "hidden_size_per_layer_input": 32,
}


def random_model(kind: str, rows: int) -> Any:
    """Return a tiny Gemma 4 of random weights that keep activations near one."""
    if kind == "dense":
        config = gemma4_unified.Gemma4UnifiedTextConfig(vocab_size=rows, **_SIZES, **_DENSE)
        model: Any = gemma4_unified.Gemma4UnifiedForCausalLM(config)
    else:
        config = gemma4.Gemma4TextConfig(
            vocab_size=rows, vocab_size_per_layer_input=rows, **_SIZES, **_PER_LAYER
        )
        model = gemma4.Gemma4ForCausalLM(config)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    return model.eval()


def reference_texts(model: Any, questions: list[list[int]], count: int) -> list[list[int]]:
    texts = []
    for question in questions:
        ids = torch.tensor([question])
        with torch.no_grad():
            text = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=count,
                eos_token_id=None,
            )
        texts.append(text[0, len(question) :].tolist())
    return texts


def our_texts(path: Path, questions: list[list[int]], count: int, threads: int) -> list[list[int]]:
    files = ModelFiles(text_encoder=path)
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=threads) as pipe:
        writer = pipe.networks.prompt_encoder.writer
        return [
            list(writer.write(question, TokenChooser(TokenChoice()), count))
            for question in questions
        ]


def questions_to(folder: Path, rules: str) -> tuple[list[list[int]], int]:
    """Return the ids of all questions under some rules, and the rows of the vocabulary."""
    with LTX2Pipeline(ModelFiles(text_encoder=folder), device="cpu") as pipe:
        encoder = pipe.networks.prompt_encoder
        chat = Chat(encoder.tokenizer, "gemma3", str(folder))
        asked = [chat.question(rules, wish(each, shows_pictures=False)) for each in _PROMPTS]
        return asked, pipe.models.require("text_encoder").config.vocab_size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a Gemma 3, with its tokenizer")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    asked, rows = questions_to(options.folder, instructions(shows_pictures=False))
    short, _ = questions_to(options.folder, "")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, float32")
    all_equal = True
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("gemma 3", "dense", "per layer"):
            questions = asked if kind == "gemma 3" else short
            if kind == "gemma 3":
                path = options.folder
                model = transformers.Gemma3ForConditionalGeneration.from_pretrained(
                    path, dtype=torch.float32
                ).eval()
            else:
                path = Path(scratch) / kind
                model = random_model(kind, rows)
                model.save_pretrained(path)
            want = reference_texts(model, questions, options.tokens)
            got = our_texts(path, questions, options.tokens, options.threads)
            equal = sum(a == b for a, b in zip(got, want, strict=True))
            variety = len({token for text in want for token in text})
            all_equal &= equal == len(questions)
            lengths = [len(question) for question in questions]
            print(
                f"{kind:10} {equal} of {len(questions)} texts equal: {options.tokens} tokens after "
                f"{min(lengths)} to {max(lengths)}, {variety} different ones"
            )
    return 0 if all_equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
