"""A GGUF model in this process.

The model is given token ids, never a string, so nothing in a text can become a control token. llama.cpp keeps the
longest common prefix of consecutive prompts; what was really evaluated is counted at the engine's own ``eval``.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prompts.formats import choose_format
from prompts.types import Prompt
from rag import engine
from rag.engine import OnWait
from rag.errors import ModelError
from rag.model import StopText
from rag.types import Likelihood, Sampling, Usage

READ = 32
"""Tokens of an answer whose likelihood is read: whether to answer is decided about there."""


class LlamaModel:
    """A :class:`~rag.model.ChatModel` on llama.cpp. Loading takes the weights' size in memory."""

    def __init__(
        self,
        file: Path,
        *,
        context_window: int = 4096,
        threads: int = 0,
        gpu_layers: int = -1,
        batch_tokens: int = 0,
        flash_attention: str = "auto",
        prompt_format: str = "auto",
        vocabulary_only: bool = False,
    ) -> None:
        """``context_window`` in tokens, at most what the model was trained for; ``threads`` 0: one a core;
        ``batch_tokens`` 0: what suits the processor; ``flash_attention`` "auto": on a GPU only.

        With ``vocabulary_only`` prompts can be built and counted, but nothing can be generated.
        Raises :class:`ModelError` when llama.cpp cannot load the file.
        """
        self.name = file.name
        self.usage = Usage()
        self.finished = True
        self.likelihood: Likelihood | None = None
        self._file = file
        self._llama = engine.load(
            file,
            window=context_window,
            threads=threads or os.cpu_count() or 1,
            gpu_layers=gpu_layers,
            batch=batch_tokens,
            flash_attention=flash_attention,
            vocabulary_only=vocabulary_only,
        )
        metadata: dict[str, str] = self._llama.metadata
        trained = int(metadata.get(f"{metadata.get('general.architecture', 'llama')}.context_length", context_window))
        if trained < context_window:
            raise ModelError(
                f"{file.name} was trained for a context of {trained} tokens, not {context_window}: "
                f"pass --context-window {trained}"
            )
        self.context_window = context_window
        self.format = choose_format(
            prompt_format,
            model_name=f"{file.name} {metadata.get('general.name', '')}".strip(),
            chat_template=metadata.get("tokenizer.chat_template"),
            tokenizer=self._llama,
            control_tokens=engine.control_tokens(self._llama),
            add_bos=engine.adds_bos(self._llama),
        )

    @property
    def on_wait(self) -> OnWait | None:
        """See :class:`~rag.model.ChatModel`."""
        found: OnWait | None = self._llama.on_wait
        return found

    @on_wait.setter
    def on_wait(self, told: OnWait | None) -> None:
        self._llama.on_wait = told

    def count_tokens(self, text: str) -> int:
        """See :class:`~rag.model.ChatModel`."""
        return len(self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=False))

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        """See :class:`~rag.model.ChatModel`. Greedy at temperature 0, so the same prompt gives the same answer.

        While a prompt is read, closing takes effect after at most ``batch_tokens``.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        stops = StopText(sampling.stop)
        given = list(prompt.token_ids)
        if len(given) + sampling.max_tokens > self.context_window:
            raise ModelError(
                f"{len(given)} prompt tokens and {sampling.max_tokens} for the answer exceed the context window "
                f"of {self.context_window}: raise --context-window or lower --max-answer-tokens"
            )
        tokens = self._tokens(given, sampling)
        made = reused = 0
        watch = _Watch(self._llama, sampling.rival) if sampling.rival else None
        try:
            for token in tokens:
                if made == 0:
                    reused = len(given) - self._llama.evaluated
                    self.usage = Usage(prompt_tokens=len(given), reused_tokens=reused)
                if watch and watch.reads:
                    self.likelihood = watch.saw(token)
                if engine.is_end(self._llama, token):
                    self.finished = True
                    break
                made += 1
                self.usage = Usage(prompt_tokens=len(given), reused_tokens=reused, answer_tokens=made)
                if piece := stops.feed(decoder.decode(self._llama.detokenize([token], prev_tokens=given))):
                    yield piece
                if stops.found or made >= sampling.max_tokens:
                    break
        except RuntimeError as error:
            raise ModelError(f"llama.cpp failed while answering ({error}): try a smaller window") from error
        finally:
            tokens.close()
        self.finished |= stops.found
        if rest := stops.finish(decoder.decode(b"", final=True)):
            yield rest

    def choose(self, token_ids: Sequence[int], choices: Sequence[Sequence[str]], keep: int | None) -> tuple[float, ...]:
        """Log-probability (natural, at most 0) that the answer to a prompt begins with each choice, as far as the model
        keeps to the choices: their probabilities add up to 1.

        A choice is the ways to write one word; its first tokens count. ``keep``: see :func:`rag.engine.next_logits`.
        Raises :class:`ModelError` when the prompt exceeds the window, or two choices begin with the same token.
        """
        if len(token_ids) >= self.context_window:
            raise ModelError(f"{len(token_ids)} prompt tokens exceed the context window of {self.context_window}")
        firsts = [
            {self._llama.tokenize(text.encode(), add_bos=False, special=False)[0] for text in texts}
            for texts in choices
        ]
        if len(set().union(*firsts)) < sum(map(len, firsts)):
            raise ModelError(f"{self.name} begins the words {choices} with the same token: use another model as judge")
        try:
            scores = engine.next_logits(self._llama, token_ids, keep)
        except RuntimeError as error:
            raise ModelError(f"llama.cpp failed while judging ({error}): try a smaller model") from error
        totals = [float(np.logaddexp.reduce(scores[sorted(first)].astype(np.float64))) for first in firsts]
        whole = float(np.logaddexp.reduce(totals))
        return tuple(total - whole for total in totals)

    def _tokens(self, given: list[int], sampling: Sampling) -> Any:
        self._llama.evaluated = 0
        self.finished = False
        self.likelihood = None
        self.usage = Usage(prompt_tokens=len(given))
        self._llama.set_seed(sampling.seed)
        return self._llama.generate(
            given,
            temp=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            repeat_penalty=sampling.repeat_penalty,
            grammar=engine.grammar(self._llama, sampling.schema) if sampling.schema is not None else None,
        )

    def forget(self) -> None:
        """Read the next prompt from its beginning, whatever was read before."""
        self._llama.reset()

    def save_state(self, folder: Path, name: str) -> int:
        """Keep what has been read in a file of this folder, for :meth:`load_state`; returns its size in bytes.

        Raises OSError when it cannot be written.
        """
        return engine.save_state(self._llama, self._state_file(folder, name))

    def load_state(self, folder: Path, name: str) -> int:
        """Tokens that need not be read again; 0 when there is no state of that name for this very model."""
        file = self._state_file(folder, name)
        return engine.load_state(self._llama, file) if file.is_file() else 0

    def _state_file(self, folder: Path, name: str) -> Path:
        return folder / f"{name}.{engine.state_key(self._file)}.state"

    def close(self) -> None:
        """Free the weights."""
        self._llama.close()


class _Watch:
    """How likely the tokens of an answer were, and a rival in their place."""

    def __init__(self, llama: Any, rival: str) -> None:
        self._llama = llama
        self._rival = llama.tokenize(rival.encode("utf-8", "replace"), add_bos=False, special=False)
        self._first = self._beside = 0.0
        self._own: list[float] = []
        self._blind = False

    @property
    def reads(self) -> bool:
        """Whether the next token counts: the first :data:`READ` do, so that a long answer costs no more."""
        return len(self._own) < READ and not self._blind

    def saw(self, token: int) -> Likelihood | None:
        """Take the token that was just drawn, before it is evaluated; None from a model that cannot read ahead.

        With the first one the rival is evaluated in its place, at the cost of one small batch.
        """
        scores = engine.log_probabilities(self._llama)
        if not self._own:
            behind = engine.aside(self._llama, self._rival[:-1])
            if behind is None:
                self._blind = True
                return None
            steps = [float(row[id_]) for row, id_ in zip((scores, *behind), self._rival, strict=False)]
            self._first, self._beside = float(scores.max()), sum(steps) / len(steps)
        self._own.append(float(scores[token]))
        return Likelihood(rival=self._beside, first=self._first, own=sum(self._own) / len(self._own))
