"""Child processes that a Ctrl-C at the terminal does not reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Processes and threads that are started meanwhile never get a Ctrl-C: it is this process's business."""
    import signal
    from multiprocessing import resource_tracker

    # It would be started with the first process, and let Ctrl-C through again as it does so.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
