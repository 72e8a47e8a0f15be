"""Gates: what a report must hold for a build to pass, as a TOML file.

    [invariants]            # exact; any other value fails
    errors = 0              # cases without an answer
    citation_validity = 1.0

    [floors]                # fails when the whole 95% interval lies below
    recall_at_5 = 0.60

    [ceilings]              # fails when the whole 95% interval lies above
    over_refusal = 0.50

A metric that has no value, because it applied to no case, fails its floor, ceiling or invariant.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eval.errors import GateError
from eval.scores import JUDGED, METRICS
from eval.types import Report

Kind = Literal["invariants", "floors", "ceilings"]

KINDS: tuple[Kind, ...] = ("invariants", "floors", "ceilings")
ERRORS = "errors"
MAY_GATE = 0.65
"""A verifier below this balanced accuracy, on claims it was not fitted on, may not gate."""

_ONE = {"invariants": "invariant", "floors": "floor", "ceilings": "ceiling"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Bounds by kind and metric."""

    invariants: Mapping[str, float]
    floors: Mapping[str, float]
    ceilings: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One bound of a gate and what became of it; ``gate`` names it, like "floor recall_at_5"."""

    gate: str
    passed: bool
    why: str


def read_gate(path: Path, verifier_accuracy: float) -> Gate:
    """The gate of a TOML file. ``verifier_accuracy`` is the verifier's balanced accuracy.

    Raises :class:`~eval.errors.GateError` for anything that is not understood: a gate that would check less
    than it seems to is worse than none.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(f"the gate {path} cannot be read ({error}): mend it") from error
    if unknown := sorted(set(found) - set(KINDS)):
        raise GateError(f"{path}: unknown tables {', '.join(unknown)}: known are {', '.join(KINDS)}")
    bounds = {kind: _bounds(path, kind, found.get(kind, {})) for kind in KINDS}
    named = {name for kind in KINDS for name in bounds[kind]}
    if not named:
        raise GateError(f"{path} has no bound: a gate must check something")
    if verifier_accuracy < MAY_GATE and (judged := sorted(named & JUDGED)):
        raise GateError(
            f"{path}: {', '.join(judged)} cannot gate: "
            f"the verifier's balanced accuracy is {verifier_accuracy:.2f}, below {MAY_GATE}"
        )
    return Gate(**bounds)


def check_gate(gate: Gate, report: Report) -> tuple[Check, ...]:
    """What became of every bound; the gate is passed when all are."""
    checks = [_invariant(report, name, wanted) for name, wanted in gate.invariants.items()]
    checks += [_bounded(report, "floors", name, bound) for name, bound in gate.floors.items()]
    checks += [_bounded(report, "ceilings", name, bound) for name, bound in gate.ceilings.items()]
    return tuple(checks)


def _bounds(path: Path, kind: Kind, table: object) -> dict[str, float]:
    if not isinstance(table, dict):
        raise GateError(f"{path}: {kind} must be a table of metrics and numbers")
    known = (*METRICS, ERRORS) if kind == "invariants" else METRICS
    for name, value in table.items():
        if name not in known:
            raise GateError(f"{path}: {kind} names {name!r}, which is no metric: known are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise GateError(f"{path}: {kind}.{name} is {value!r}: it must be a number")
        if value < 0 or (value > 1 and name != ERRORS):
            raise GateError(f"{path}: {kind}.{name} is {value}: it must be from 0 to 1")
    return {name: float(value) for name, value in table.items()}


def _invariant(report: Report, name: str, wanted: float) -> Check:
    value = float(report.errors) if name == ERRORS else report.metrics[name].value
    return Check(
        gate=f"invariant {name}",
        passed=value is not None and math.isclose(value, wanted, abs_tol=1e-12),
        why=f"{_shown(value)}, must be {wanted:g}",
    )


def _bounded(report: Report, kind: Kind, name: str, bound: float) -> Check:
    metric = report.metrics[name]
    if metric.ci95 is None:
        return Check(gate=f"{_ONE[kind]} {name}", passed=False, why="no value: it applied to no case")
    low, high = metric.ci95
    passed, side = (high >= bound, "below") if kind == "floors" else (low <= bound, "above")
    no = "not " if passed else ""
    return Check(
        gate=f"{_ONE[kind]} {name}",
        passed=passed,
        why=f"{_shown(metric.value)} [{low:.3f}, {high:.3f}] is {no}wholly {side} {bound:g}",
    )


def _shown(value: float | None) -> str:
    return "no value" if value is None else f"{value:.4g}"
