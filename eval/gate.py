"""Gates: what a report must hold for a build to pass, as a TOML file.

    [invariants]            # exact; any other value fails
    errors = 0              # cases without an answer
    citation_validity = 1.0

    [floors]                # fails when the whole 95% interval lies below
    recall_at_5 = 0.60

    [ceilings]              # fails when the whole 95% interval lies above
    over_refusal = 0.50

    [regressions]           # fails when the metric is worse than in the baseline by more than this, and the 95%
    answer_recall = 0.15    # interval of the change leaves out 0

A metric that has no value, because it applied to no case, fails its floor, ceiling, invariant or regression. A
tolerance that is smaller than the change which the cases can show is an error of the gate, not a bound that passes.
"""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eval.aggregate import rests_on_verifier
from eval.compare import asked, pair_up, same_judge, shown
from eval.errors import GateError
from eval.paired import Pair, change_interval, detectable, least_detectable
from eval.scores import LOWER_IS_BETTER, METRICS
from eval.types import Case, Report

Kind = Literal["invariants", "floors", "ceilings", "regressions"]

KINDS: tuple[Kind, ...] = ("invariants", "floors", "ceilings", "regressions")
ERRORS = "errors"
MAY_GATE = 0.65
"""A verifier below this balanced accuracy, on claims it was not fitted on, may not gate."""

_ONE = {"invariants": "invariant", "floors": "floor", "ceilings": "ceiling"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Bounds by kind and metric; those of ``regressions`` are tolerances and need a baseline."""

    invariants: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    regressions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One bound of a gate and what became of it; ``gate`` names it, like "floor recall_at_5"."""

    gate: str
    passed: bool
    why: str


def read_gate(path: Path, verifier_accuracy: float | None) -> Gate:
    """The gate of a TOML file. ``verifier_accuracy`` is the verifier's balanced accuracy, None if not measured.

    Raises :class:`~eval.errors.GateError` for anything that is not understood, and for a metric judged by a verifier
    that is not known to be good enough: a gate that would check less than it seems to is worse than none.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise GateError(f"the gate {path} cannot be read ({error}): mend it") from error
    if unknown := sorted(set(found) - set(KINDS)):
        raise GateError(f"{path}: unknown tables {', '.join(unknown)}: known are {', '.join(KINDS)}")
    bounds = {kind: _bounds(path, kind, found.get(kind, {})) for kind in KINDS}
    named = {name for kind in KINDS for name in bounds[kind]}
    if not named:
        raise GateError(f"{path} has no bound: a gate must check something")
    judged = ", ".join(sorted(filter(rests_on_verifier, named)))
    if judged and verifier_accuracy is None:
        raise GateError(
            f"{path}: {judged} cannot gate: this verifier was never measured; measure it on labelled claims with "
            "'rag eval verify CLAIMS --judge ... --save', or take these bounds out"
        )
    if judged and verifier_accuracy is not None and verifier_accuracy < MAY_GATE:
        raise GateError(
            f"{path}: {judged} cannot gate: the verifier's balanced accuracy is {verifier_accuracy:.2f}, below "
            f"{MAY_GATE}; choose a better --judge, or take these bounds out"
        )
    return Gate(**bounds)


def check_gate(gate: Gate, report: Report, baseline: Report | None = None) -> tuple[Check, ...]:
    """What became of every bound; the gate is passed when all are.

    Raises :class:`~eval.errors.GateError` when it cannot be said: the run has no cases, or the gate has regressions
    and the baseline is missing, is of other cases, or was judged otherwise, or a tolerance is too small to be checked.
    """
    if not report.results:
        raise GateError("the run has no cases: a gate cannot pass on nothing, run some")
    named = {*gate.invariants, *gate.floors, *gate.ceilings} - {ERRORS}
    if missing := sorted(named - set(report.metrics)):
        raise GateError(f"the report is of an older version, without {', '.join(missing)}: score its answers again")
    checks = [_invariant(report, name, wanted) for name, wanted in gate.invariants.items()]
    checks += [_bounded(report, "floors", name, bound) for name, bound in gate.floors.items()]
    checks += [_bounded(report, "ceilings", name, bound) for name, bound in gate.ceilings.items()]
    if found := check_baseline(gate, baseline, [result.case for result in report.results]):
        checks += _regressions(gate.regressions, report, found)
    return tuple(checks)


def check_baseline(gate: Gate, baseline: Report | None, cases: Sequence[Case]) -> Report | None:
    """The baseline, if the gate needs one: worth asking before the cases are answered, not only after.

    Raises :class:`~eval.errors.GateError` when it is missing, or is not of these cases.
    """
    if not gate.regressions:
        return None
    if baseline is None:
        raise GateError("the gate has regressions, but there is no baseline: pass an earlier run as --baseline")
    old, new = {result.case.id: result.case for result in baseline.results}, {case.id: case for case in cases}
    if alone := [id_ for id_ in (*new, *old) if id_ not in old or id_ not in new]:
        raise GateError(
            f"the baseline has other cases than the run ({shown(alone)}): run the baseline again with these"
        )
    if other := [id_ for id_ in new if asked(old[id_]) != asked(new[id_])]:
        raise GateError(f"the baseline has another question or other gold for {shown(other)}: run the baseline again")
    return baseline


def _bounds(path: Path, kind: Kind, table: object) -> dict[str, float]:
    if not isinstance(table, dict):
        raise GateError(f"{path}: {kind} must be a table of metrics and numbers")
    known = (*METRICS, ERRORS) if kind == "invariants" else METRICS
    for name, value in table.items():
        if name not in known:
            raise GateError(f"{path}: {kind} names {name!r}, which is no metric: known are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
            raise GateError(f"{path}: {kind}.{name} is {value!r}: it must be a number")
        if value < 0 or (value > 1 and name != ERRORS):
            raise GateError(f"{path}: {kind}.{name} is {value}: it must be from 0 to 1")
    return {name: float(value) for name, value in table.items()}


def _finite(value: float) -> bool:
    """Whether a number of TOML, which may have any number of digits, is a number to compute with."""
    return abs(value) <= sys.float_info.max


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


def _regressions(tolerances: Mapping[str, float], report: Report, baseline: Report) -> list[Check]:
    if missing := [name for name in tolerances if name not in baseline.metrics]:
        raise GateError(f"the baseline is of an older version, without {', '.join(missing)}: score its answers again")
    judged = [name for name in tolerances if rests_on_verifier(name)]
    if judged and not same_judge(baseline, report):
        raise GateError(
            f"another verifier judged the baseline, so {', '.join(judged)} cannot be compared: score its answers again"
        )
    paired = pair_up(baseline, report, [result.case.id for result in report.results])
    return [_regression(name, tolerance, paired.pair(name)) for name, tolerance in tolerances.items()]


def _regression(name: str, tolerance: float, pair: Pair) -> Check:
    """A drop past the tolerance that the cases show, or none; an error when they could not show it.

    A tolerance that these cases could not show in any run is refused before the run is looked at. One that only these
    two runs are too different for is refused unless the drop is shown all the same.
    """
    gate, change = f"regression {name}", pair.change
    if change is None:
        return Check(gate=gate, passed=False, why="no value: it applied to no case of the run or of the baseline")
    least, needed = least_detectable(pair), detectable(pair)
    if least is None or needed is None:
        raise GateError(f"{gate}: all cases are one cluster, so no change can be told from chance: use more clusters")
    low, high = change_interval(pair)
    sign = -1 if name in LOWER_IS_BETTER else 1
    dropped = -sign * change > tolerance and (low > 0 or high < 0)
    if tolerance < least or (tolerance < needed and not dropped):
        raise GateError(
            f"{gate}: the tolerance {tolerance:g} is below {needed:.3f}, the smallest change that these cases can "
            "show: raise it, or use more cases"
        )
    return Check(
        gate=gate,
        passed=not dropped,
        why=f"{_shown(pair.before.value)} -> {_shown(pair.after.value)}, change {change:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], tolerance {tolerance:g}, detectable {needed:.3f}",
    )


def _shown(value: float | None) -> str:
    return "no value" if value is None else f"{value:.4g}"
