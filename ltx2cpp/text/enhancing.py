"""What a language model is told when it writes a prompt out, and how it writes.

The kinds of rules, the form of the question and how tokens are chosen follow ltx-pipelines 1.2.0;
the words are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from ltx2cpp.text.choosing import TokenChoice

_COMMON = """\
You write prompts for a model that makes a video clip with sound. You are given a short wish; answer
with one full description of the clip.

Keep to the wish:
- Everything that is asked for has to be there: subjects, actions, camera, sounds, style. Leave \
nothing out and contradict nothing.
- Words that are to be spoken stay as they are, in quotation marks. Nobody speaks unless the wish \
has people talk or sing; then say who, in which voice and, if it is not English, in which language.
- The camera moves only if the wish says so.

Write what can be seen and heard:
- Tell events in the order in which they happen, in the present tense, with plain active verbs.
- Put sounds where they occur: voices, effects, the surroundings, music only where it fits.
- Say nothing of smells, tastes, thoughts or feelings; show them by faces, posture and movement.
- Stay sober. No superlatives, no time stamps, no cuts, no remarks about the clip itself.
"""

_FROM_TEXT = """\
- Begin with the style: "Style: realistic, cinematic," unless the wish names another one.
- Where the wish is vague, choose: the place, the light, colours, materials, what people look like \
and wear, what happens around them.
"""

_FROM_PICTURE = """\
- The clip begins with a picture that you cannot see. Do not guess what it looks like and do not \
describe it: tell what changes from it, what moves and what is heard.
- Name people and things only as the wish names them.
"""

_FORM = """
Answer in English, in one paragraph of four to eight sentences, with the description alone: no
heading, no list, no comment. If the wish cannot be understood, repeat it.
"""


@dataclass(frozen=True)
class Writing:
    """How a family of models writes.

    Attributes:
        choice: of tokens.
        limit: of tokens that it may write.
    """

    choice: TokenChoice
    limit: int


WRITING = {
    # top_k and top_p are those of Gemma 3's own generation_config.json.
    "gemma3": Writing(TokenChoice(temperature=0.7, top_k=64, top_p=0.95), 512),
    "gemma4": Writing(TokenChoice(no_repeat=5), 600),
}


def instructions(*, shows_pictures: bool) -> str:
    """Return the rules for a clip from words alone, or for one that is shown pictures."""
    return _COMMON + (_FROM_PICTURE if shows_pictures else _FROM_TEXT) + _FORM


def wish(prompt: str, *, shows_pictures: bool) -> str:
    """Return a prompt as the user's part of the question."""
    if shows_pictures:
        return f"User Raw Input Prompt: {prompt}."
    return f"user prompt: {prompt}"
