"""Pairs of texts -> a score for each label, by a sentence-transformers cross-encoder on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ingest.embed import in_hub_cache, offline_library
from ingest.errors import EmbedderError
from ingest.types import Vectors


class PairScorer:
    """A cross-encoder. ``labels``: what its outputs mean, in their order, as its own config names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels = _labels(folder)
        self._model: Any = None

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """float32 (pairs, labels), before any softmax. A pair that exceeds the model's window is cut.

        Raises :class:`EmbedderError` when the model cannot be loaded, or has other outputs than its config says.
        """
        if not pairs:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        library = offline_library()
        if self._model is None:
            try:
                self._model = library.CrossEncoder(str(self.folder), local_files_only=True)
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                raise EmbedderError(f"the cross-encoder in {self.folder} cannot be loaded ({reason})") from error
        import torch

        given = [list(pair) for pair in pairs]
        found = self._model.predict(
            given, batch_size=32, activation_fn=torch.nn.Identity(), convert_to_numpy=True, show_progress_bar=False
        )
        scores = np.asarray(found, dtype=np.float32).reshape(len(pairs), -1)
        if scores.shape[1] != len(self.labels):
            raise EmbedderError(
                f"the cross-encoder in {self.folder} has {scores.shape[1]} outputs, its config.json names "
                f"{len(self.labels)} labels: mend id2label"
            )
        return scores


def _labels(folder: Path) -> tuple[str, ...]:
    file = folder / "config.json"
    try:
        named = json.loads(file.read_text(encoding="utf-8"))["id2label"]
        return tuple(str(named[str(number)]) for number in range(len(named)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbedderError(
            f"{file} does not name the labels of a cross-encoder ({error!r}): it needs id2label with a name each"
        ) from error


def model_folder(name: str) -> Path:
    """The folder of a model: that folder, or a hub id in the local cache. Raises :class:`EmbedderError`."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    cached = in_hub_cache(name)
    if cached is None:
        raise EmbedderError(
            f"the cross-encoder {name!r} is not on this machine: pass the folder of one, or put it into the local cache"
        )
    return cached


def open_pair_scorer(name: str) -> PairScorer:
    """The cross-encoder of a folder, or of a hub id that is in the local cache; weights are loaded at first use.

    Raises :class:`EmbedderError` with the remedy when it is not on this machine, or does not name its labels.
    """
    return PairScorer(model_folder(name))
