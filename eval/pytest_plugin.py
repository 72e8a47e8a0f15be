"""A fixture for pytest: answer cases from an index, score the answers, and fail when a gate is not met.

    def test_my_docs(rag_eval):
        rag_eval("cases.jsonl", index=".rag/index", gate="gate.toml")

Switch it on in the ``conftest.py`` of the top folder: ``pytest_plugins = ["eval.pytest_plugin"]``. It imports nothing
heavy until the fixture is called.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eval.gate import Check
    from eval.types import Report

_CACHE = "rag-eval"


class CannotEvaluate(Exception):  # noqa: N818  what it says is not that this program has an error
    """The cases, gate, index or model cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """What became of an evaluation. ``folder`` holds its answers and reports; ``checks`` are the gate's bounds, none
    without a gate."""

    report: Report
    checks: tuple[Check, ...]
    folder: Path

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Each metric's value; None where it applied to no case."""
        return {name: metric.value for name, metric in self.report.metrics.items()}

    @property
    def failures(self) -> tuple[str, ...]:
        """The bounds that are not met, each with the reason."""
        return tuple(f"{check.gate}: {check.why}" for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether every bound is met."""
        return not self.failures


class GateFailed(AssertionError):  # noqa: N818  as pytest's own Failed
    """A gate is not met. ``result`` is what was measured."""

    def __init__(self, result: EvalResult, gate: str) -> None:
        self.result = result
        lines = [f"{len(result.failures)} of {len(result.checks)} bounds of {gate} are not met", *result.failures]
        super().__init__("\n  ".join(lines) + f"\nlook at {result.folder / 'report.html'}")


class RagEval:
    """The fixture's value; call it. ``folder`` is where the runs are kept when a call does not say."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        cases: str | Path | Sequence[str | Path],
        *,
        gate: str | Path | None = None,
        baseline: str | Path | None = None,
        judge: str = "lexical",
        out: str | Path | None = None,
        **settings: Any,
    ) -> EvalResult:
        """What ``rag eval run`` does, with the same settings (``index``, ``model``, ``k``, ...) and files.

        Answers are kept from one session to the next and made again only when something they depend on has changed.
        Raises :class:`GateFailed` when a bound of the gate is not met, :class:`CannotEvaluate` for files that cannot be
        used, TypeError for a setting that there is not.
        """
        __tracebackhide__ = True
        from rag.errors import USER_ERRORS
        from rag.settings import Settings

        if unknown := sorted(set(settings) - {field.name for field in fields(Settings)}):
            raise TypeError(f"rag_eval has no setting {', '.join(unknown)}: 'rag config' lists them")
        paths = [Path(path) for path in ([cases] if isinstance(cases, (str, Path)) else cases)]
        flags = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
        folder = Path(out) if out else self._folder / _name(paths, flags)
        try:
            result = _evaluate(
                paths, flags, folder, Path(gate) if gate else None, Path(baseline) if baseline else None, judge
            )
        except USER_ERRORS as error:
            raise CannotEvaluate(str(error)) from None
        if not result.passed:
            raise GateFailed(result, str(gate))
        return result


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--rag-eval-out``."""
    parser.getgroup("groundchat").addoption(
        "--rag-eval-out", metavar="DIR", help="Folder for answers and reports of rag_eval [in pytest's cache]."
    )


@pytest.fixture(scope="session")
def rag_eval(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RagEval:
    """Answer cases from an index and hold the scores against a gate; see :meth:`RagEval.__call__`."""
    if given := request.config.getoption("--rag-eval-out"):
        return RagEval(Path(given))
    cache = getattr(request.config, "cache", None)
    return RagEval(cache.mkdir(_CACHE) if cache else tmp_path_factory.mktemp(_CACHE))


def _name(paths: Sequence[Path], flags: Mapping[str, Any]) -> str:
    """A folder for each way to call it, so that no run replaces the answers of another."""
    call = json.dumps([[str(path.resolve()) for path in paths], sorted(flags.items())])
    return f"{paths[0].stem if paths else 'none'}-{hashlib.sha256(call.encode()).hexdigest()[:8]}"


def _evaluate(
    paths: Sequence[Path], flags: Mapping[str, Any], folder: Path, gate: Path | None, baseline: Path | None, judge: str
) -> EvalResult:
    from eval.cases import read_suite
    from eval.folder import claimed
    from eval.judging import Judging, write_reports
    from eval.prompt_facts import control_ids
    from eval.run import run_into
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from rag.chat import RagChat, open_model
    from rag.models import check_model
    from rag.retriever import Retriever
    from rag.settings import resolve

    suite = read_suite(paths)
    names = {*flags, *suite.settings}
    settings = resolve(suite.flags({name: flags.get(name) for name in names})).settings
    judging = Judging.open(judge, gate, baseline, settings)
    judging.check(suite.cases)
    with claimed(folder):
        check_model(settings.model)
        embedder = open_embedder(settings.embedder)
        with open_index(settings.index, embedder, collection=settings.collection) as index:
            chat = RagChat(Retriever(index, embedder, rerank=settings.rerank), open_model(settings), settings)
            records, facts = run_into(folder, chat, suite.cases, control_ids(settings), lambda *_: None)
        judged = judging.judge(suite.cases, records, facts)
        write_reports(folder, judged)
    return EvalResult(report=judged.report, checks=judged.checks, folder=folder)
