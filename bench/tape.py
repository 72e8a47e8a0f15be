"""Notes what a search asks of its parts, so that the same can be asked of them again without everything around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import patch

from ingest.types import Embedder

Part = Literal["embedder", "engine", "rerank"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a part, with all that it takes to make it again, and the seconds that it took."""

    part: Part
    method: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    seconds: float

    def again(self) -> float:
        """Make the call; milliseconds."""
        began = time.perf_counter()
        self.method(*self.arguments, **self.keywords)
        return 1000 * (time.perf_counter() - began)


@dataclass(slots=True)
class Tape:
    """The calls since it was last wound back."""

    calls: list[Call] = field(default_factory=list)
    inside: bool = False

    def wind_back(self) -> list[Call]:
        """The calls so far; the tape is empty afterwards."""
        found, self.calls = self.calls, []
        return found

    def noted(self, part: Part, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, its calls noted; a call that another one makes is part of that one."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            if self.inside:
                return method(*arguments, **keywords)
            self.inside, began = True, time.perf_counter()
            try:
                found = method(*arguments, **keywords)
                self.calls.append(Call(part, method, arguments, keywords, time.perf_counter() - began))
                return found
            finally:
                self.inside = False

        return call


@contextmanager
def taped(embedder: Embedder | None = None) -> Iterator[Tape]:
    """Notes every call of the embedder, of the shards that are opened in this context, and of the arithmetic of late
    interaction."""
    import qdrant_edge

    from ingest.late import late_scores

    tape, real = Tape(), qdrant_edge.EdgeShard

    class Shard:
        def __init__(self, shard: Any) -> None:
            self._shard = shard

        @staticmethod
        def load(*arguments: Any) -> Shard:
            return Shard(real.load(*arguments))

        @staticmethod
        def create(*arguments: Any) -> Shard:
            return Shard(real.create(*arguments))

        def __getattr__(self, name: str) -> Callable[..., Any]:
            return tape.noted("engine", getattr(self._shard, name))

    names = ("encode", "encode_tokens") if embedder is not None else ()
    for name in names:
        setattr(embedder, name, tape.noted("embedder", getattr(embedder, name)))
    try:
        with (
            patch("qdrant_edge.EdgeShard", Shard),
            patch("ingest.fusion.late_scores", tape.noted("rerank", late_scores)),
        ):
            yield tape
    finally:
        for name in names:
            delattr(embedder, name)
