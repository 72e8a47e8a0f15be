"""A GGUF model in this process: the one door to llama-cpp-python.

The model is given token ids, never a string, so nothing in a text can become a control token. llama.cpp keeps the
longest common prefix of consecutive prompts; what was really evaluated is counted at the engine's own ``eval``.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from prompts.formats import choose_format
from prompts.types import ControlToken, Prompt
from rag.errors import ModelError
from rag.types import Sampling, Usage


class LlamaModel:
    """A :class:`~rag.model.ChatModel` on llama.cpp. Loading takes the weights' size in memory."""

    def __init__(
        self,
        file: Path,
        *,
        context_window: int = 4096,
        threads: int = 0,
        gpu_layers: int = -1,
        prompt_format: str = "auto",
        vocabulary_only: bool = False,
    ) -> None:
        """``context_window`` in tokens, at most what the model was trained for; ``threads`` 0: one a core.

        With ``vocabulary_only`` prompts can be built and counted, but nothing can be generated.
        Raises :class:`ModelError` when llama.cpp cannot load the file.
        """
        self.name = file.name
        self.usage = Usage()
        self.finished = True
        self._evaluated = 0
        self._llama = self._load(file, context_window, threads or os.cpu_count() or 1, gpu_layers, vocabulary_only)
        trained = int(self._llama.metadata.get(f"{self._architecture()}.context_length", context_window))
        if trained < context_window:
            raise ModelError(
                f"{file.name} was trained for a context of {trained} tokens, not {context_window}: "
                f"pass --context-window {trained}"
            )
        self.context_window = context_window
        self.trained_window = trained
        name = f"{file.name} {self._llama.metadata.get('general.name', '')}"
        self.format = choose_format(
            prompt_format,
            model_name=name.strip(),
            chat_template=self._llama.metadata.get("tokenizer.chat_template"),
            tokenizer=self._llama,
            control_tokens=_control_tokens(self._llama),
            add_bos=_adds_bos(self._llama),
        )

    def _load(self, file: Path, window: int, threads: int, gpu_layers: int, vocabulary_only: bool) -> Any:
        import llama_cpp

        errors = _captured_log()
        model = self

        class CountingLlama(llama_cpp.Llama):  # type: ignore[misc]
            def eval(self, tokens: Sequence[int]) -> None:
                model._evaluated += len(tokens)
                super().eval(tokens)

        try:
            return CountingLlama(
                model_path=str(file),
                n_ctx=window,
                n_batch=512,
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=gpu_layers,
                vocab_only=vocabulary_only,
                verbose=False,
            )
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            reason = " ".join((errors or [str(error)])[0].split())[:200]
            raise ModelError(
                f"llama.cpp cannot load {file} ({reason}): the file is damaged, of a kind this build does not "
                "know, or too large for the memory"
            ) from error

    def _architecture(self) -> str:
        return str(self._llama.metadata.get("general.architecture", "llama"))

    def count_tokens(self, text: str) -> int:
        return len(self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=False))

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        """See :meth:`ChatModel.stream`. Greedy at temperature 0, so the same prompt gives the same answer."""
        import llama_cpp

        vocabulary = llama_cpp.llama_model_get_vocab(self._llama._model.model)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        given = list(prompt.token_ids)
        if len(given) + sampling.max_tokens > self.context_window:
            raise ModelError(
                f"{len(given)} prompt tokens and {sampling.max_tokens} for the answer exceed the context window "
                f"of {self.context_window}: raise --context-window or lower --max-answer-tokens"
            )
        self._evaluated = made = 0
        self.finished = False
        self.usage = Usage(prompt_tokens=len(given))
        self._llama.set_seed(sampling.seed)
        tokens = self._llama.generate(given, temp=sampling.temperature, top_k=40, top_p=0.95, min_p=0.05)
        try:
            for token in tokens:
                if made == 0:
                    reused = len(given) - self._evaluated
                    self.usage = Usage(prompt_tokens=len(given), reused_tokens=reused)
                if llama_cpp.llama_vocab_is_eog(vocabulary, token):
                    self.finished = True
                    break
                made += 1
                self.usage = Usage(prompt_tokens=len(given), reused_tokens=reused, answer_tokens=made)
                piece = decoder.decode(self._llama.detokenize([token], prev_tokens=given))
                if piece:
                    yield piece
                if made >= sampling.max_tokens:
                    break
        except RuntimeError as error:
            raise ModelError(f"llama.cpp failed while answering ({error}): try a smaller window") from error
        finally:
            tokens.close()
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest

    def close(self) -> None:
        """Free the weights."""
        self._llama.close()


_GGML_LOG_ERROR = 4
"""GGML_LOG_LEVEL_ERROR of ggml.h; the Python package has no name for it."""
_log_callback: Any = None
"""Kept for as long as llama.cpp may call it."""


def _captured_log() -> list[str]:
    """From now on llama.cpp's errors are collected in this list, and nothing is printed on stderr."""
    global _log_callback
    import llama_cpp

    errors: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def collect(level: int, text: bytes, _: object) -> None:
        if level == _GGML_LOG_ERROR:
            errors.append(text.decode("utf-8", "replace"))

    llama_cpp.llama_log_set(collect, None)
    _log_callback = collect
    return errors


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can offload layers to a GPU."""
    import llama_cpp

    return bool(llama_cpp.llama_supports_gpu_offload())


def _adds_bos(llama: Any) -> bool:
    import llama_cpp

    return bool(llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(llama._model.model)))


def _control_tokens(llama: Any) -> tuple[ControlToken, ...]:
    """Every token of the vocabulary that llama.cpp reads as something other than plain text."""
    import llama_cpp as low

    vocabulary = low.llama_model_get_vocab(llama._model.model)
    special = low.LLAMA_TOKEN_ATTR_CONTROL | low.LLAMA_TOKEN_ATTR_UNKNOWN | low.LLAMA_TOKEN_ATTR_USER_DEFINED
    found = []
    for id_ in range(low.llama_vocab_n_tokens(vocabulary)):
        attributes = low.llama_vocab_get_attr(vocabulary, id_)
        if attributes & special:
            token = ControlToken(
                text=low.llama_vocab_get_text(vocabulary, id_).decode("utf-8", "replace"),
                id=id_,
                lstrip=bool(attributes & low.LLAMA_TOKEN_ATTR_LSTRIP),
                rstrip=bool(attributes & low.LLAMA_TOKEN_ATTR_RSTRIP),
                user_defined=bool(attributes & low.LLAMA_TOKEN_ATTR_USER_DEFINED),
            )
            found.append(token)
    return tuple(found)
