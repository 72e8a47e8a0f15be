"""Pieces of Markdown that several reports share; cells are plain text already (:func:`eval.text.cell`)."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with a blank line behind, none without rows; ``align`` has "<" or ">" for each column."""
    if not rows:
        return []
    rule = "|".join("---:" if side == ">" else "---" for side in align)
    return [*(f"| {' | '.join(header)} |", f"|{rule}|"), *(f"| {' | '.join(row)} |" for row in rows), ""]


def number(value: float | None, digits: int = 3) -> str:
    """A value, "-" for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def span(ci95: tuple[float, float] | None, sign: str = "") -> str:
    """An interval, "-" for none; ``sign`` "+" shows the sign of its ends."""
    return "-" if ci95 is None else f"{ci95[0]:{sign}.3f} to {ci95[1]:{sign}.3f}"
