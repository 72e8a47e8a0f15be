"""What the chat needs of a language model, and a scripted one for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from prompts.formats import PromptFormat, choose_format
from prompts.types import ControlToken, Prompt
from rag.types import Sampling, Usage


class ChatModel(Protocol):
    """A model that is given token ids and answers in pieces of text.

    ``usage`` and ``finished`` describe the last ``stream``, from its first piece on: ``finished`` is True when
    the model ended its answer by itself, False when the token limit did.
    """

    name: str
    format: PromptFormat
    context_window: int
    usage: Usage
    finished: bool

    def count_tokens(self, text: str) -> int:
        """Tokens of plain text, no control tokens added or parsed."""

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        """The answer as it is made. Closing the generator stops the model within one token."""


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
