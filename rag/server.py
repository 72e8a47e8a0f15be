"""A model on a server that speaks OpenAI's API, such as llama-server, vLLM, Ollama or a hosted one.

With a tokenizer at hand the server is given our exact prompt; without one it is given messages and writes the prompt
by its own template. Nothing but this server is contacted. The key, where one is needed, is ``RAG_API_KEY``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from pathlib import Path

from prompts.formats import PromptFormat
from prompts.types import Prompt
from rag.errors import ModelError
from rag.llama import LlamaModel
from rag.server_dialect import Dialect
from rag.server_errors import ServerError
from rag.server_facts import ServerFacts, learn_facts
from rag.server_format import MESSAGE_TOKENS, MessagesFormat, estimate_tokens
from rag.server_http import Address, Connection, Timeouts
from rag.server_reply import Reply, open_reply
from rag.types import Sampling, Usage

__all__ = ["ServerError", "ServerModel", "Timeouts"]

_LEADING_TAG = re.compile(r"<[^<>]{1,64}>")
_SAMPLE = "In 2024, roughly 1,375 harbourmasters re-read Größe and naïveté; antidisestablishmentarianism isn't 東京."


class ServerModel:
    """A :class:`~rag.model.ChatModel` on a server. Not safe for use by two threads at once."""

    def __init__(
        self,
        url: str,
        *,
        context_window: int = 4096,
        tokenizer: Path | None = None,
        prompt_format: str = "auto",
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``url``: ``http://host:port[/v1][#model]``. ``context_window`` in tokens, at most what the server has.
        ``tokenizer``: a GGUF file with the vocabulary of the server's model; only that is read of it.
        ``sleep`` waits so many seconds between tries.

        Raises :class:`ModelError` when the server is not there or does not go with these settings.
        """
        if tokenizer is None and prompt_format != "auto":
            raise ModelError(
                f"--prompt-format {prompt_format} is not for a server that writes the prompt itself: pass --tokenizer "
                "with a GGUF file of its model, or leave it out"
            )
        address = Address.parse(url)
        self._connection = Connection(address, timeouts=timeouts or Timeouts(), sleep=sleep)
        self._facts = learn_facts(self._connection)
        self.name = _name(self._facts.model)
        self.usage = Usage()
        self.finished = True
        self.on_wait: Callable[[int, float], None] | None = None
        self.context_window = _window(self.name, context_window, self._facts)
        self._dialect = Dialect(self._facts)
        self._vocabulary: LlamaModel | None = None
        if tokenizer is not None:
            self._vocabulary = self._load(tokenizer, prompt_format)
        self.format: PromptFormat = self._vocabulary.format if self._vocabulary else self._messages_format()

    def count_tokens(self, text: str) -> int:
        """See :class:`~rag.model.ChatModel`; rather too many when the server has no tokeniser to ask."""
        if self._vocabulary is not None:
            return self._vocabulary.count_tokens(text)
        if self._facts.token_ids is not None:
            return len(self._facts.token_ids(text)) if text else 0
        return estimate_tokens(text)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        """See :class:`~rag.model.ChatModel`. Closing it closes the connection.

        Until the first piece a request is tried again where that may help. ``usage`` is as the server reports it;
        what it does not report is counted here. Raises :class:`ModelError`, also when the answer breaks off.
        """
        counted = self._counted(prompt, sampling)
        self.finished = False
        self.usage = Usage(prompt_tokens=counted)
        reply = self._open(prompt, sampling)
        try:
            for piece in reply.pieces():
                self.usage = reply.usage(counted)
                yield piece
            self.finished = reply.finish != "length"
        finally:
            reply.close()
            self.usage = reply.usage(counted)
        if self._vocabulary is not None and self.usage.prompt_tokens != counted:
            raise self._misread(self.usage.prompt_tokens, counted)

    def close(self) -> None:
        """Close the connection and free the vocabulary."""
        self._connection.close()
        if self._vocabulary is not None:
            self._vocabulary.close()

    def _load(self, file: Path, prompt_format: str) -> LlamaModel:
        """The vocabulary of a GGUF file. Raises :class:`ModelError` when the server's model has another one."""
        vocabulary = LlamaModel(
            file, context_window=self.context_window, prompt_format=prompt_format, vocabulary_only=True
        )
        if self._facts.token_ids is not None:
            here, there = vocabulary.count_tokens(_SAMPLE), len(self._facts.token_ids(_SAMPLE))
            if there not in (here, here + 1, here + 2):  # the server's may count BOS and EOS
                raise ModelError(
                    f"{file.name} is not the vocabulary of {self.name} (a sentence is {here} tokens here and {there} "
                    "there): pass --tokenizer with a GGUF file of the same model"
                )
        return vocabulary

    def _messages_format(self) -> MessagesFormat:
        how = "estimated from their letters" if self._facts.token_ids is None else "counted by the server's tokeniser"
        return MessagesFormat(self.count_tokens, f"tokens are {how}, and {MESSAGE_TOKENS} a message for the template")

    def _counted(self, prompt: Prompt, sampling: Sampling) -> int:
        """Tokens of the prompt, when it is fit to be sent."""
        if self._vocabulary is not None:
            counted = len(prompt.token_ids)
        else:
            counted = len(self.format.build(prompt.messages).token_starts)
        if counted + sampling.max_tokens > self.context_window:
            raise ModelError(
                f"{counted} prompt tokens and {sampling.max_tokens} for the answer exceed the context window "
                f"of {self.context_window}: raise --context-window or lower --max-answer-tokens"
            )
        return counted

    def _open(self, prompt: Prompt, sampling: Sampling) -> Reply:
        while True:
            try:
                return self._ask(prompt, sampling)
            except ServerError as error:
                if not self._dialect.learn(error):
                    raise

    def _ask(self, prompt: Prompt, sampling: Sampling) -> Reply:
        base = self._connection.address.base
        if self._vocabulary is None:
            return open_reply(
                self._connection, f"{base}/chat/completions", self._dialect.chat(prompt.messages, sampling)
            )
        exact = prompt.token_ids if self._dialect.takes_ids else self._as_text(prompt)
        return open_reply(self._connection, f"{base}/completions", self._dialect.completion(exact, sampling))

    def _as_text(self, prompt: Prompt) -> str:
        """The text that the server reads as exactly these ids: with the shown BOS, or without it where the server
        adds it. Raises :class:`ModelError` when there is none, or when the server has no tokeniser to ask."""
        read = 0
        if self._facts.token_ids is not None:
            for text in dict.fromkeys((prompt.text, _LEADING_TAG.sub("", prompt.text, count=1))):
                ids = self._facts.token_ids(text)
                if ids == prompt.token_ids:
                    return text
                read = read or len(ids)
        raise self._misread(read, len(prompt.token_ids))

    def _misread(self, read: int, given: int) -> ModelError:
        what = f"reads the prompt as {read} tokens, not {given}" if read else "takes no token ids, only text"
        return ModelError(
            f"{self._connection.address.base} {what}, so it would not get the prompt that is meant: use a server that "
            "takes token ids (llama-server, vLLM), or leave out --tokenizer"
        )


def _name(model: str) -> str:
    """For people: of a path only the file, and nothing that moves a terminal's cursor."""
    name = model.rpartition("/")[2] if model.endswith(".gguf") else model
    return "".join(character if character.isprintable() else "?" for character in name)


def _window(name: str, asked: int, facts: ServerFacts) -> int:
    if facts.window is not None and facts.window < asked:
        raise ModelError(
            f"{name} has a context of {facts.window} tokens on this server, not {asked}: "
            f"pass --context-window {facts.window}"
        )
    return asked
