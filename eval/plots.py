"""Plots of a report as inline SVG: no library, no script, every one with a text alternative.

Colours and fonts come from the page's style sheet by class. Lengths are CSS pixels; shares are from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from eval.figures import Bin

_WIDE, _HIGH = 220, 22
_PAD = 8
_TENTHS = 10


def scale() -> Markup:
    """The axis above a column of :func:`whisker`: 0, 0.5 and 1."""
    marks = (("0", 0.0, "start", -3), ("0.5", 0.5, "middle", 0), ("1", 1.0, "end", 3))
    return _svg(_WIDE, _HIGH, [_text(_x(at) + shift, 14, anchor, text) for text, at, anchor, shift in marks], "")


def whisker(value: float | None, ci95: tuple[float, float] | None, before: float | None = None) -> Markup:
    """A value as a dot on a line from 0 to 1, its interval as a whisker; ``before`` is the baseline's, a ring.

    Hidden from screen readers: the row of the table that it stands in says the same in figures.
    """
    middle = _HIGH / 2
    parts = [_line(_x(at), 2, _x(at), _HIGH - 2, "grid") for at in (0, 0.25, 0.5, 0.75, 1)]
    if ci95 is not None:
        low, high = ci95
        parts += [_line(_x(low), middle, _x(high), middle, "reach")]
        parts += [_line(_x(end), middle - 5, _x(end), middle + 5, "reach") for end in (low, high)]
    if before is not None:
        parts += [f'<circle class="before" cx="{_x(before)}" cy="{middle}" r="5"/>']
    if value is not None:
        parts += [f'<circle class="dot" cx="{_x(value)}" cy="{middle}" r="4"/>']
    return _svg(_WIDE, _HIGH, parts, "")


def bar(value: float | None, ci95: tuple[float, float] | None) -> Markup:
    """A share as a bar from 0 to 1 with its interval; hidden from screen readers, as :func:`whisker`."""
    parts = [_line(_x(at), 2, _x(at), _HIGH - 2, "grid") for at in (0, 0.25, 0.5, 0.75, 1)]
    if value is not None:
        parts += [_bar(_x(0), 5, _x(value) - _x(0), _HIGH - 10)]
    if ci95 is not None:
        parts += [_line(_x(ci95[0]), _HIGH / 2, _x(ci95[1]), _HIGH / 2, "reach")]
        parts += [_line(_x(end), 6, _x(end), _HIGH - 6, "reach") for end in ci95]
    return _svg(_WIDE, _HIGH, parts, "")


def histogram(values: Sequence[float], label: str) -> Markup:
    """How often values fall into each tenth from 0 to 1 (1 into the last), with the number above each bar."""
    wide, high, floor = 280, 150, 124
    counts = [0] * _TENTHS
    for value in values:
        counts[min(_TENTHS - 1, max(0, int(value * _TENTHS)))] += 1
    most = max(1, *counts)
    step = (wide - 2 * _PAD) / _TENTHS
    parts = [_line(_PAD, floor, wide - _PAD, floor, "axis")]
    for place, count in enumerate(counts):
        tall = 100 * count / most
        left = _PAD + place * step
        if count:
            parts += [
                _bar(left + 1, floor - tall, step - 2, tall),
                _text(left + step / 2, floor - tall - 4, "middle", str(count)),
            ]
    for at, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = _PAD + at * (wide - 2 * _PAD)
        parts += [
            _line(x, floor, x, floor + 4, "axis"),
            _text(x, floor + 18, anchor, f"{at:g}"),
        ]
    told = ", ".join(f"{place / 10:g} to {(place + 1) / 10:g}: {count}" for place, count in enumerate(counts) if count)
    return _svg(wide, high, parts, f"{label}: {told or 'no values'}")


def reliability(bins: Sequence[Bin]) -> Markup:
    """A reliability diagram: mean p_supported of a bin (across) against the share that is right (up), with n."""
    side, left, top = 240, 40, 12

    def at(across: float, up: float) -> tuple[float, float]:
        return left + across * side, top + (1 - up) * side

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        (x, bottom), (start, y) = at(tick, 0), at(0, tick)
        parts += [_line(x, top, x, bottom, "grid"), _line(start, y, left + side, y, "grid")]
        parts += [_text(x, bottom + 16, "middle", f"{tick:g}")]
        parts += [_text(start - 6, y + 4, "end", f"{tick:g}")]
    parts += [_line(*at(0, 0), *at(1, 1), "ideal")]
    told = []
    for bin_ in bins:
        share, ci95 = bin_.right.value, bin_.right.ci95
        if bin_.mean is None or share is None or ci95 is None:
            continue
        (x, y), (_, upper), (_, lower) = at(bin_.mean, share), at(0, ci95[1]), at(0, ci95[0])
        count = lower + 14 if ci95[0] > 0.1 else upper - 5 if ci95[1] < 0.95 else top + 10
        parts += [
            _line(x, upper, x, lower, "reach"),
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
            _text(x if count != top + 10 else x - 22, count, "middle", f"n = {bin_.right.n}"),
        ]
        told += [f"p {bin_.low:g} to {bin_.high:g}: {bin_.right.count} of {bin_.right.n} right"]
    parts += [
        _text(left + side / 2, top + side + 36, "middle", "p_supported of the least supported claim"),
        f'<text transform="translate(10 {top + side / 2}) rotate(-90)" text-anchor="middle">share right</text>',
    ]
    return _svg(left + side + 20, top + side + 44, parts, f"Reliability diagram. {'; '.join(told) or 'No answers.'}")


def _x(share: float) -> float:
    return round(_PAD + share * (_WIDE - 2 * _PAD), 1)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _bar(x: float, y: float, wide: float, high: float) -> str:
    return f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _svg(wide: float, high: float, parts: Sequence[str], label: str) -> Markup:
    """The element; with an empty label it is decoration, hidden from screen readers."""
    told = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    # Parts are numbers, fixed words and classes of ours; the label alone may hold another's text.
    return Markup(
        f'<svg {told} width="{wide:g}" height="{high:g}" viewBox="0 0 {wide:g} {high:g}">{"".join(parts)}</svg>'
    )
