"""Long runs of ``rag ingest``: an end when asked for one, and a run whenever files change."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

QUIET_MS = 1600
"""Changes are gathered until nothing has changed for so long, or the longest for ten times that."""
FIRST_MS = 2000
"""By then changes are noticed, and those that came before are looked for once."""


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed since; the first time it only asks, the second time it interrupts."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        # Not by way of the stream: a handler may run while that is being written.
        os.write(2, b"\nstopping when the documents in hand are written; Ctrl-C again stops at once\n")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def changes(paths: Sequence[Path], index: str) -> Iterator[None]:
    """Once at the beginning, when changes are first noticed, and then whenever files below the paths have changed.

    Hidden files do not count, nor what is below the folder ``index``, where every run writes. Raises KeyboardInterrupt.
    """
    import watchfiles

    roots = [path.resolve() for path in paths]
    own = Path(index).resolve()

    def counts(change: watchfiles.Change, name: str) -> bool:
        del change
        path = Path(name)
        return not path.is_relative_to(own) and any(
            path.is_relative_to(root) and not any(part.startswith(".") for part in path.relative_to(root).parts)
            for root in roots
        )

    watch = partial(watchfiles.watch, *roots, watch_filter=counts, yield_on_timeout=True)
    for number, found in enumerate(watch(debounce=10 * QUIET_MS, step=QUIET_MS, rust_timeout=FIRST_MS)):
        if found or number == 0:
            yield
