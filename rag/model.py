"""What the chat needs of a language model, and a scripted one for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, runtime_checkable

from prompts.formats import PromptFormat, choose_format
from prompts.types import ControlToken, Prompt
from rag.types import Likelihood, Sampling, Usage


class ChatModel(Protocol):
    """A model that is given token ids and answers in pieces of text.

    ``usage`` and ``finished`` describe the last ``stream``, from its first piece on: ``finished`` is True when
    the model ended its answer by itself, False when the token limit did. ``on_wait`` can be set: it is called, before
    a long prompt is read, with its tokens still to be read and the seconds that this will take (an estimate made on
    the first of them); models that cannot tell never call it.
    """

    name: str
    format: PromptFormat
    context_window: int
    usage: Usage
    finished: bool
    on_wait: Callable[[int, float], None] | None

    def count_tokens(self, text: str) -> int:
        """Tokens of plain text, no control tokens added or parsed."""

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        """The answer as it is made. Closing the generator stops the model within one token."""


@runtime_checkable
class LikelihoodModel(Protocol):
    """A model that tells how likely its words were: of the last ``stream``, from its first piece on, if its
    ``sampling`` had a rival; else None."""

    likelihood: Likelihood | None


class StopText:
    """Cuts a streamed text at the first of some stop texts; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = False
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take a piece; returns what can be shown of it and of what was held back."""
        text = self._held + piece
        if ends := [at for stop in self._stops if (at := text.find(stop)) >= 0]:
            self.found, self._held = True, ""
            return text[: min(ends)]
        hold = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def finish(self, piece: str = "") -> str:
        """The last piece came; returns the rest."""
        if self.found:
            return ""
        shown = self.feed(piece)
        rest, self._held = self._held, ""
        return shown + rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ByteTokenizer:
    """One token a byte; ids from 256 on are the control tokens."""

    controls = (ControlToken(text="<|im_start|>", id=256), ControlToken(text="<|im_end|>", id=257))

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        del add_bos, special
        return list(text)

    def detokenize(self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False) -> bytes:
        del prev_tokens
        names = {control.id: control.text.encode() for control in self.controls} if special else {}
        return b"".join(bytes([token]) if token < 256 else names.get(token, b"") for token in tokens)

    def token_bos(self) -> int:
        return -1

    def token_eos(self) -> int:
        return 257


class ScriptedModel:
    """Answers with given texts in turn, word by word, and keeps the prompts it was given.

    Tokens are bytes, the format is ChatML; a script that runs out starts again. With
    ``sampling.max_tokens`` an answer is cut like a real model's.
    """

    def __init__(self, answers: Sequence[str], *, context_window: int = 8192) -> None:
        self.name = "scripted"
        self.answers = tuple(answers)
        self.context_window = context_window
        self.prompts: list[Prompt] = []
        self.usage = Usage()
        self.finished = True
        self.on_wait: Callable[[int, float], None] | None = None
        self.format = choose_format(
            "template",
            model_name=self.name,
            chat_template=CHATML,
            tokenizer=ByteTokenizer(),
            control_tokens=ByteTokenizer.controls,
            add_bos=False,
        )

    def count_tokens(self, text: str) -> int:
        return len(text.encode())

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        answer = self.answers[len(self.prompts) % len(self.answers)]
        self.prompts.append(prompt)
        whole = answer.encode()
        shown = whole[: sampling.max_tokens].decode(errors="ignore")
        self.finished = len(whole) <= sampling.max_tokens
        self.usage = Usage(prompt_tokens=len(prompt.token_ids), answer_tokens=len(shown.encode()))
        for position, word in enumerate(shown.split(" ")):
            yield f" {word}" if position else word
