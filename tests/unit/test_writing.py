"""How the next token is chosen, and a question and its answer as tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ltx2cpp.errors import UnsupportedError
from ltx2cpp.text.chat import Chat
from ltx2cpp.text.choosing import TokenChoice, TokenChooser
from ltx2cpp.text.enhancing import instructions, wish
from ltx2cpp.text.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizer"
FILES = ("tokenizer.model", "tokenizer.json")
PROMPTS = json.loads((GOLDEN / "prompts.json").read_text())["prompts"]
LOGITS = np.log(np.asarray([0.1, 0.4, 0.3, 0.2], np.float32))


def drawn(choice: TokenChoice, count: int = 1000) -> np.ndarray:
    """Return the share of each of four tokens."""
    chooser = TokenChooser(choice, seed=1)
    tokens = [chooser.choose(LOGITS, []) for _ in range(count)]
    return np.bincount(tokens, minlength=4) / count


# Shares stray by about 0.016 in 1000 draws.
@pytest.mark.parametrize(
    ("choice", "shares"),
    [
        (TokenChoice(), [0, 1, 0, 0]),
        (TokenChoice(1.0), [0.1, 0.4, 0.3, 0.2]),
        (TokenChoice(0.5), [1 / 30, 16 / 30, 9 / 30, 4 / 30]),
        (TokenChoice(1.0, top_k=2), [0, 4 / 7, 3 / 7, 0]),
        (TokenChoice(1.0, top_k=9), [0.1, 0.4, 0.3, 0.2]),
        (TokenChoice(1.0, top_p=0.5), [0, 4 / 7, 3 / 7, 0]),
        (TokenChoice(1.0, top_p=0.3), [0, 1, 0, 0]),
        (TokenChoice(1.0, top_k=3, top_p=0.7), [0, 4 / 7, 3 / 7, 0]),
    ],
)
def test_shares_of_tokens(choice: TokenChoice, shares: list[float]) -> None:
    np.testing.assert_allclose(drawn(choice), shares, atol=0.06)


def test_a_seed_draws_the_same_again() -> None:
    def tokens(seed: int) -> list[int]:
        chooser = TokenChooser(TokenChoice(1.0), seed)
        return [chooser.choose(LOGITS, []) for _ in range(40)]

    assert tokens(2**64 - 1) == tokens(2**64 - 1) != tokens(0)


def test_no_sequence_is_written_twice() -> None:
    chooser = TokenChooser(TokenChoice(no_repeat=3))
    assert chooser.choose(LOGITS, [3, 1, 1]) == 1
    # 3 1 stands there already, followed by 1 and later by 2.
    assert chooser.choose(LOGITS, [3, 1, 1, 3, 1]) == 2
    assert chooser.choose(LOGITS, [3, 1, 1, 3, 1, 2, 3, 1]) == 3
    assert chooser.choose(LOGITS, [3, 1]) == 1


@pytest.mark.parametrize("name", FILES)
def test_ids_become_the_text_again(name: str) -> None:
    tokenizer = Tokenizer.from_file(GOLDEN / name)
    for prompt in PROMPTS:
        text = prompt["text"].strip()
        if "<" not in text and len(prompt["ids"]) < 1024:
            # The sign of a space is one.
            assert tokenizer.decode(prompt["ids"]) == text.replace("\u2581", " ")
    # Marks, ids past the vocabulary, and a letter that is cut.
    assert tokenizer.decode([2, 1, 10**6]) == ""
    assert tokenizer.decode(tokenizer.text_ids("a\U00020000")[:-1]) == "a\ufffd"


@pytest.mark.parametrize("name", FILES)
def test_a_question_to_gemma_3(name: str) -> None:
    tokenizer = Tokenizer.from_file(GOLDEN / name)
    chat = Chat(tokenizer, "gemma3", name)
    start, end = tokenizer.id_of("<start_of_turn>"), tokenizer.id_of("<end_of_turn>")
    line = tokenizer.text_ids("\n")
    assert chat.question("be brief ", "a cat") == [
        2,
        start,
        *tokenizer.text_ids("user\nbe brief \n\na cat"),
        end,
        *line,
        start,
        *tokenizer.text_ids("model\n"),
    ]
    assert chat.stops == {1, end}
    written = tokenizer.text_ids("** \u201cA cat\u201d \u2014 it\u2019s\u00a0grey.\n")
    assert chat.answer(written) == "A cat\" - it's grey."
    assert chat.answer(tokenizer.text_ids(" 12 ...")) == ""
    assert chat.answer(tokenizer.text_ids("A\x1b[2J cat\nsits.")) == "A[2J cat\nsits."


def test_marks_that_a_vocabulary_lacks() -> None:
    tokenizer = Tokenizer.from_file(GOLDEN / FILES[0])
    with pytest.raises(UnsupportedError, match=r"F: cannot write prompts, its vocab.*<\|turn>"):
        Chat(tokenizer, "gemma4", "F")


def test_a_question_to_gemma_4() -> None:
    stored = json.loads((GOLDEN / FILES[1]).read_text())
    for index, mark in enumerate(("<|turn>", "<turn|>", "<channel|>")):
        entry = next(
            each for each in stored["added_tokens"] if each["content"] == f"<unused{index}>"
        )
        entry["content"] = mark
        vocabulary = stored["model"]["vocab"]
        vocabulary[mark] = vocabulary.pop(f"<unused{index}>")
    tokenizer = Tokenizer.from_json(json.dumps(stored).encode(), "F")
    chat = Chat(tokenizer, "gemma4", "F")
    assert chat.question("be brief", "a cat") == tokenizer.text_ids(
        "<bos><|turn>system\nbe brief<turn|>\n<|turn>user\na cat<turn|>\n<|turn>model\n"
    )
    thought = tokenizer.text_ids("what to say<channel|>A cat sits.<turn|>")
    assert chat.answer(thought) == "A cat sits."


def test_what_is_asked_for() -> None:
    assert wish("a cat", shows_pictures=False) == "user prompt: a cat"
    assert wish("a cat", shows_pictures=True) == "User Raw Input Prompt: a cat."
    assert "Where the wish is vague" in instructions(shows_pictures=False)
    assert "Where the wish is vague" not in instructions(shows_pictures=True)
