"""llama.cpp itself: loading, its log, its vocabulary, its state. The one door to llama-cpp-python."""

from __future__ import annotations

import ctypes
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prompts.types import ControlToken
from rag.errors import ModelError

OnWait = Callable[[int, float], None]
"""Called with prompt tokens that are still to be read, and the seconds that this will take on this machine."""

CPU_BATCH, GPU_BATCH = 128, 512
"""Prompt tokens read at a time. On a CPU larger batches are no faster, and nothing can be stopped inside of one."""
_LOG_ERROR = 4
"""GGML_LOG_LEVEL_ERROR of ggml.h; the Python package has no name for it."""
_LONGEST_GRAMMAR = 50_000
"""Characters; llama.cpp reads nested parts by recursion and overflows its stack at some 150,000."""
_log_callback: Any = None
"""Kept for as long as llama.cpp may call it."""


def load(
    file: Path, *, window: int, threads: int, gpu_layers: int, batch: int, flash_attention: str, vocabulary_only: bool
) -> Any:
    """A ``llama_cpp.Llama`` that counts what it evaluates (see :class:`Reading`).

    Raises :class:`ModelError` when llama.cpp cannot load the file, or has no GPU to put the wanted layers on.
    """
    import llama_cpp

    gpu = supports_gpu()
    if gpu_layers > 0 and not gpu:
        raise ModelError(
            f"--gpu-layers is {gpu_layers}, but this llama.cpp was built without GPU support: reinstall "
            "llama-cpp-python with CMAKE_ARGS=-DGGML_CUDA=on (on macOS Metal is on by default), or pass --gpu-layers 0"
        )
    offloads = gpu and gpu_layers != 0
    errors = _captured_log()
    try:
        return _counting_class()(
            model_path=str(file),
            n_ctx=window,
            n_batch=batch or (GPU_BATCH if offloads else CPU_BATCH),
            n_threads=threads,
            n_threads_batch=threads,
            n_gpu_layers=gpu_layers,
            flash_attn=offloads if flash_attention == "auto" else flash_attention == "on",
            vocab_only=vocabulary_only,
            verbose=False,
        )
    except (ValueError, RuntimeError, OSError, AssertionError) as error:
        reason = " ".join((errors or [str(error)])[0].split())[:200]
        raise ModelError(
            f"llama.cpp {llama_cpp.__version__} cannot load {file} ({reason}): the file is damaged, of a kind this "
            "build does not know, or too large for the memory"
        ) from error


def _counting_class() -> Any:
    import llama_cpp

    class CountingLlama(llama_cpp.Llama):  # type: ignore[misc]
        """Counts evaluated tokens, and tells after the first batch of a long prompt how long the rest will take."""

        evaluated = 0
        on_wait: OnWait | None = None

        def eval(self, tokens: Sequence[int]) -> None:
            self.evaluated += len(tokens)
            if self.on_wait is None or len(tokens) <= self.n_batch:
                super().eval(tokens)
                return
            began = time.perf_counter()
            super().eval(tokens[: self.n_batch])
            rest = len(tokens) - self.n_batch
            self.on_wait(rest, rest * (time.perf_counter() - began) / self.n_batch)
            super().eval(tokens[self.n_batch :])

    return CountingLlama


def _captured_log() -> list[str]:
    """From now on llama.cpp's errors are collected in this list, and nothing is printed on stderr."""
    global _log_callback
    import llama_cpp

    errors: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def collect(level: int, text: bytes, _: object) -> None:
        if level == _LOG_ERROR:
            errors.append(text.decode("utf-8", "replace"))

    llama_cpp.llama_log_set(collect, None)
    _log_callback = collect
    return errors


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can offload layers to a GPU."""
    import llama_cpp

    return bool(llama_cpp.llama_supports_gpu_offload())


def grammar(llama: Any, schema: Mapping[str, Any]) -> Any:
    """llama.cpp's grammar for a JSON schema. Raises :class:`ModelError` for one that it cannot follow."""
    import llama_cpp

    refused = "llama.cpp cannot follow this JSON schema ({}): use a simpler one"
    try:
        made = llama_cpp.LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
    except Exception as error:  # the converter fails on unknown parts of a schema in many ways
        raise ModelError(refused.format(error)) from error
    if len(made._grammar) > _LONGEST_GRAMMAR:
        raise ModelError(refused.format("its grammar is too long"))
    # A grammar that llama.cpp cannot read becomes a null pointer, which it would follow while sampling.
    probe = llama_cpp.llama_sampler_init_grammar(_vocabulary(llama), made._grammar.encode(), b"root")
    if not probe:
        raise ModelError(refused.format("its grammar is not accepted"))
    llama_cpp.llama_sampler_free(probe)
    return made


def next_logits(llama: Any, tokens: Sequence[int], keep: int | None) -> Any:
    """float32 (vocabulary,): the scores of each token to come behind ``tokens``. Of what was read before at most the
    first ``keep`` tokens are reused (None: as many as are the same).
    """
    import llama_cpp
    import numpy as np

    if keep is not None:
        llama.n_tokens = min(llama.n_tokens, keep)
    reading = llama.generate(list(tokens), temp=0.0)
    next(reading)
    reading.close()
    scores = llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1)
    return np.ctypeslib.as_array(scores, shape=(llama.n_vocab(),)).copy()


def log_probabilities(llama: Any, row: int = -1) -> Any:
    """float64 (vocabulary,): natural logarithms of the probabilities of the next token, behind the token of this row of
    the last batch."""
    import llama_cpp
    import numpy as np

    scores = llama_cpp.llama_get_logits_ith(llama._ctx.ctx, row)
    logits = np.ctypeslib.as_array(scores, shape=(llama.n_vocab(),)).astype(np.float64)
    return logits - np.logaddexp.reduce(logits)


def aside(llama: Any, tokens: Sequence[int]) -> list[Any] | None:
    """:func:`log_probabilities` behind each of some tokens, as if they came next, in one batch; then they are
    forgotten.

    What was read before is as it was, so that the next token evaluated gives what it would have given. None for a model
    that cannot forget its last tokens (a recurrent one).
    """
    if llama._is_recurrent or llama._is_hybrid:
        return None
    given = list(tokens)[: min(llama.n_batch, llama.n_ctx() - llama.n_tokens)]
    if not given:
        return []
    llama._batch.set_batch(batch=given, n_past=llama.n_tokens, logits_all=True)
    llama._ctx.kv_cache_seq_rm(-1, llama.n_tokens, -1)
    llama._ctx.decode(llama._batch)
    found = [log_probabilities(llama, row) for row in range(len(given))]
    llama._ctx.kv_cache_seq_rm(-1, llama.n_tokens, -1)
    llama._requires_eval = True  # the scores at hand are no longer those behind what was read
    return found


def is_end(llama: Any, token: int) -> bool:
    """Whether the token ends an answer."""
    import llama_cpp

    return bool(llama_cpp.llama_vocab_is_eog(_vocabulary(llama), token))


def adds_bos(llama: Any) -> bool:
    """Whether the model wants BOS before a prompt."""
    import llama_cpp

    return bool(llama_cpp.llama_vocab_get_add_bos(_vocabulary(llama)))


def control_tokens(llama: Any) -> tuple[ControlToken, ...]:
    """Every token of the vocabulary that llama.cpp reads as something other than plain text."""
    import llama_cpp as low

    vocabulary = _vocabulary(llama)
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


def _vocabulary(llama: Any) -> Any:
    import llama_cpp

    return llama_cpp.llama_model_get_vocab(llama._model.model)


def state_key(file: Path) -> str:
    """What a saved state depends on, as 16 hex digits: the weights (their ends and size) and llama.cpp's version."""
    import llama_cpp

    digest = hashlib.sha256(f"{llama_cpp.__version__} {file.stat().st_size}".encode())
    with file.open("rb") as stream:
        digest.update(stream.read(1 << 20))
        stream.seek(max(0, file.stat().st_size - (1 << 20)))
        digest.update(stream.read())
    return digest.hexdigest()[:16]


def save_state(llama: Any, file: Path) -> int:
    """Write what the model has read so far; returns bytes, 0 when there is nothing. Raises OSError."""
    import llama_cpp

    count = llama.n_tokens
    if not count:
        return 0
    tokens = (llama_cpp.llama_token * count)(*llama.input_ids[:count].tolist())
    new = file.with_name(file.name + ".new")
    new.touch(mode=0o600)
    written = int(llama_cpp.llama_state_seq_save_file(llama._ctx.ctx, str(new).encode(), 0, tokens, count))
    if not written:
        new.unlink(missing_ok=True)
        raise OSError(f"llama.cpp could not write {new}")
    new.replace(file)
    return written


def load_state(llama: Any, file: Path) -> int:
    """Read a saved state back; returns its tokens, 0 when the file does not fit this model and window."""
    import llama_cpp

    llama.reset()
    llama._ctx.kv_cache_clear()
    tokens = (llama_cpp.llama_token * llama.n_ctx())()
    count = ctypes.c_size_t(0)
    read = llama_cpp.llama_state_seq_load_file(
        llama._ctx.ctx, str(file).encode(), 0, tokens, llama.n_ctx(), ctypes.byref(count)
    )
    if not read:
        llama._ctx.kv_cache_clear()
        return 0
    llama.input_ids[: count.value] = tokens[: count.value]
    llama.n_tokens = count.value
    llama._requires_eval = True
    return count.value
