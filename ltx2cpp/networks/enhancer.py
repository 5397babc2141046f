"""The network that writes prompts out before they are encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ltx2cpp import _core
from ltx2cpp.errors import UnsupportedError
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks.backend import Backend, config_dict
from ltx2cpp.networks.text import PromptEncoder
from ltx2cpp.networks.writer import TextWriter
from ltx2cpp.text.chat import Chat
from ltx2cpp.text.choosing import TokenChooser
from ltx2cpp.text.enhancing import WRITING, Writing, instructions, wish

if TYPE_CHECKING:
    from ltx2cpp.model.model_set import ModelSet


class PromptEnhancer:
    """A short prompt to a full one, by the text encoder or by a language model of its own.

    Args:
        models: the weights; `prompt_enhancer` goes before the text encoder.
        backend: the device, and what all networks share.
        encoder: the text encoder, whose weights it shares.
    """

    def __init__(self, models: ModelSet, backend: Backend, encoder: PromptEncoder) -> None:
        self._models, self._encoder = models, encoder
        self._own = backend.lazy("prompt enhancer", ["prompt_enhancer"], self._claim)
        self._own_writer = TextWriter(self._own, lambda: self.model, backend)
        self._backend = backend
        self._chat: Chat | None = None

    def use(self, models: ModelSet) -> None:
        """Take the weights from another model set."""
        self._models = models

    @property
    def is_own(self) -> bool:
        """Whether it is a model of its own."""
        return self._models.prompt_enhancer is not None

    @property
    def model(self) -> Component:
        """The model that writes.

        Raises:
            CheckpointError: there is none, nor a text encoder.
        """
        return self._models.prompt_enhancer or self._models.require("text_encoder")

    def check(self) -> None:
        """Raise where the model cannot write prompts.

        Raises:
            CheckpointError: there is none, or it has no tokenizer.
            UnsupportedError: it was trained for something else.
        """
        config = self.model.config
        if config.family == "gemma4" and (config.gemma_version or config.named_ltx):
            raise UnsupportedError(
                f"{self.model.source}: the text encoder of LTX-2.5 was trained to encode and "
                "cannot write prompts; give a Gemma 3 or 4 that follows instructions, such as "
                "gemma-3-12b, as prompt_enhancer= (--prompt-enhancer)"
            )
        self._open_chat()

    @property
    def writing(self) -> Writing:
        """How the model writes."""
        return WRITING[self.model.config.family]

    def question(self, prompt: str, *, shows_pictures: bool) -> list[int]:
        """Return the ids of the rules and a prompt, up to where the answer begins.

        Args:
            prompt: as the user wrote it.
            shows_pictures: whether the clip is also made from pictures, which the model does not
                see.
        """
        rules = instructions(shows_pictures=shows_pictures)
        return self._open_chat().question(rules, wish(prompt, shows_pictures=shows_pictures))

    def write(self, question: list[int], seed: int, on_token: Callable[[int], None]) -> str:
        """Return the full prompt; "" where the model wrote no words.

        Args:
            question: from `question`.
            seed: of the tokens that are drawn.
            on_token: receives how many tokens are written.
        """
        chat, writing, ids = self._open_chat(), self.writing, list[int]()
        chooser = TokenChooser(writing.choice, seed)
        for token in self._writer.write(question, chooser, writing.limit, chat.stops):
            ids.append(token)
            on_token(len(ids))
        return chat.answer(ids)

    def measure(self, num_tokens: int) -> NetworkNeeds:
        """Return what answering a question of so many ids takes."""
        return self._writer.measure(num_tokens, self.writing.limit)

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        if self.is_own:
            self._own.open()
        else:
            self._encoder.open()

    def release(self) -> None:
        """Free the weights of a model of its own."""
        self._own.release()

    @property
    def _writer(self) -> TextWriter:
        return self._own_writer if self.is_own else self._encoder.writer

    def _open_chat(self) -> Chat:
        if self._chat is None:
            own = self._models.open_enhancer_tokenizer() if self.is_own else None
            tokenizer = own or self._encoder.tokenizer
            self._chat = Chat(tokenizer, self.model.config.family, self.model.source)
        return self._chat

    def _claim(self) -> _core.TextEncoder:
        backend, model = self._backend, self.model
        network = _core.TextEncoder(
            backend.table(model), config_dict(model), None, None, backend.device
        )
        return backend.stream_if_asked(network)
