"""Sentences with a value and a cost -> those that are taken, in windows, until a budget is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

CONTEXT = 40
"""Tokens that a window has at least, where its hits have them: the best sentence and neighbours of it."""
HEADER = 60
"""Rows above a window that begins in a table are taken along, up to the first, when they are at most so many tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A sentence or line: ``start`` and ``end`` in its document. ``tells``: a window may be built around it, which may
    be it ``alone`` if it is no mere heading."""

    start: int
    end: int
    tokens: float
    value: float
    hit: int
    tells: bool
    alone: bool
    row: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Units that follow each other in one document, and the tokens of a frame around some of them."""

    units: tuple[Unit, ...]
    frame: float


def choose(stretches: Sequence[Stretch], tokens: int) -> list[set[int]]:
    """The units of each stretch that are taken, in order of their value until one does not fit."""
    chosen: list[set[int]] = [set() for _ in stretches]
    order = [(s, k) for s, stretch in enumerate(stretches) for k, unit in enumerate(stretch.units) if unit.tells]
    first = min((stretches[s].units[k].hit for s, k in order), default=0)

    def merit(place: tuple[int, int]) -> tuple[float, int, int]:
        unit = stretches[place[0]].units[place[1]]
        return -unit.value, unit.hit, unit.start

    order.sort(key=merit)
    best = [place for place in order if stretches[place[0]].units[place[1]].hit == first][:1]
    left = float(tokens)
    for s, k in (*best, *order):
        if k in chosen[s]:
            continue
        stretch, costs = stretches[s], _cost(stretches[s], chosen[s])
        windows = [_filled(stretch, chosen[s] | window) for window in _windows(stretch, k)]
        fitting = (window for window in windows if _cost(stretch, window) - costs <= left)
        taken = next(fitting, None if any(chosen) else windows[-1])
        if taken is None:
            break
        left -= _cost(stretch, taken) - costs
        chosen[s] = taken
    return chosen


def _windows(stretch: Stretch, at: int) -> list[set[int]]:
    """Windows around a unit, the widest first, the last one it alone, if it can be; they grow towards the better
    neighbour."""
    units = stretch.units
    low = high = at
    found = [{at}]
    tokens = units[at].tokens
    while tokens < CONTEXT and (low > 0 or high + 1 < len(units)):
        if high + 1 == len(units) or (low > 0 and units[low - 1].value >= units[high + 1].value):
            low -= 1
            tokens += units[low].tokens
        else:
            high += 1
            tokens += units[high].tokens
        found.append(set(range(low, high + 1)))
    if not units[at].alone:
        found = found[-1:]
    header = low
    while header > 0 and units[low].row and units[header - 1].row:
        header -= 1
    if header < low and sum(unit.tokens for unit in units[header:low]) <= HEADER:
        found.append(set(range(header, high + 1)))
    return found[::-1]


def _filled(stretch: Stretch, taken: set[int]) -> set[int]:
    """With the gaps that cost no more than another frame."""
    gaps = (range(a + 1, b) for a, b in pairwise(sorted(taken)))
    return taken.union(*(gap for gap in gaps if sum(stretch.units[k].tokens for k in gap) <= stretch.frame))


def _cost(stretch: Stretch, taken: set[int]) -> float:
    frames = sum(k - 1 not in taken for k in taken)
    return frames * math.ceil(stretch.frame) + math.ceil(sum(stretch.units[k].tokens for k in sorted(taken)))


def runs(taken: set[int]) -> list[tuple[int, int]]:
    """(first, last) of the units that follow each other."""
    return [
        (k, next(n for n in range(k, k + len(taken)) if n + 1 not in taken))
        for k in sorted(taken)
        if k - 1 not in taken
    ]
