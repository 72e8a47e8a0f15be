"""Refusals and confidence on questions with and without an answer, by stratum (docs/decisions/0013-abstention.md).

python bench/abstention.py EVALSET                                          the search alone, all questions
python bench/abstention.py EVALSET --cache FOLDER --model MODEL --limit N   with a model: what it said is kept
python bench/abstention.py EVALSET --cache FOLDER --write FILE              the weights; rag/data/abstention.json is one

The signals of the search are computed each time; what a model said and how likely that was is kept in
FOLDER/NAME.jsonl, a line a question, and not asked again. Refusals "without" and "with" are those of the program
without and with its late decision, "naive" those of the model alone. All figures are out of fold by cluster.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from evalset import PARTS, indexed
from machine import print_head

from eval.calibrate import Tried, auc, fitted, judged_apart, refusal_figures, try_case, usable
from eval.cases import read_cases
from eval.hiding import without
from eval.strata import derive, passages_of
from eval.types import Case
from rag.abstention import ANSWER, MODEL, missing_words, search_signals
from rag.chat import RagChat, open_model
from rag.confidence import STAGES, Abstention, StageName
from rag.grounding import Grounding
from rag.retriever import Retriever
from rag.settings import Settings

STRATA = {
    "far_ood": ("off-corpus", "answerable"),
    "gold_removed": ("gold paragraph removed", "answerable"),
    "near_miss": ("near miss", "answerable_disfluent"),
    "refusal_near_miss": ("refusal_corpus", "refusal_answerable"),
}
"""Kind without an answer -> its name, and the kind with one that it is compared with."""
KINDS = (*STRATA, *dict.fromkeys(control for _, control in STRATA.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A case, the retriever of its corpus, and what the search says of it."""

    case: Case
    retriever: Retriever
    signals: dict[str, float | None]
    early: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evalset", type=Path)
    parser.add_argument("--cache", type=Path, help="folder for what models said")
    parser.add_argument("--model", help="GGUF file or alias; empty for the packaged one")
    parser.add_argument(
        "--limit", type=int, default=150, help="questions to ask the model, of all strata in turn [150]"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--write", type=Path, help="write the weights here")
    given = parser.parse_args()
    print_head(data=given.evalset.name)
    with ExitStack() as opened:
        asked = [item for part in PARTS for item in _asked(given.evalset, part, opened)]
        _report_search(asked)
        if given.cache is None:
            return
        if given.model is not None:
            _ask_model(_in_turn(asked)[: given.limit], given.model, given.threads, given.cache)
        tried = {file.stem: _tried(asked, file) for file in sorted(given.cache.glob("*.jsonl"))}
    for name, of_model in tried.items():
        _report_model(name, of_model)
    if given.write:
        _write(given.write, [_bare(item) for item in asked], tried)


def _asked(folder: Path, part: tuple[str, str], opened: ExitStack) -> list[Asked]:
    corpus, questions = part
    index, retriever = opened.enter_context(indexed(folder / f"{corpus}.jsonl"))
    cases = read_cases(folder / f"{questions}.jsonl")
    if corpus == "corpus":
        passages = passages_of(chunk for document in index.documents() for chunk in index.chunks_of(document))
        plain = [case for case in cases if case.kind == "answerable"]
        cases = (*cases, *derive(plain, passages, ("gold_removed",)).cases)
    else:
        cases = tuple(replace(case, kind=f"refusal_{case.kind}") for case in cases)
    grounding, settings = Grounding(), Settings()
    found = []
    for case in cases:
        retrieval = without(retriever, case.hidden).search(case.question, k=settings.k)
        signals = search_signals(retrieval, missing_words(retrieval, grounding), grounding)
        early = retrieval.relevance < settings.min_relevance
        found.append(Asked(case=case, retriever=retriever, signals=signals, early=early))
    return found


def _answerable(case: Case) -> bool:
    return case.kind not in STRATA


def _bare(item: Asked) -> Tried:
    """What is known before the model is asked."""
    case = item.case
    return Tried(
        id=case.id,
        kind=case.kind,
        cluster=case.cluster,
        answerable=_answerable(case),
        signals=item.signals,
        refused=item.early,
        early=item.early,
    )


def _in_turn(asked: Sequence[Asked]) -> list[Asked]:
    """One question of each kind after another, so that the first N are of all kinds; which, is drawn by a fixed seed.

    A question comes with its gold removed the later, the earlier it comes as it is: few are asked both ways.
    """
    by_kind = {kind: [item for item in asked if item.case.kind == kind] for kind in KINDS}
    for kind, items in by_kind.items():
        random.Random(kind).shuffle(items)
    places = {item.case.id: place for place, item in enumerate(by_kind["answerable"])}
    by_kind["gold_removed"].sort(key=lambda item: -places[item.case.id.removesuffix("-removed")])
    longest = max(map(len, by_kind.values()))
    return [items[at] for at in range(longest) for items in by_kind.values() if at < len(items)]


def _ask_model(asked: Sequence[Asked], model: str, threads: int, cache: Path) -> None:
    settings = Settings(model=model, threads=threads, min_relevance=0.0, min_confidence=0.0, max_answer_tokens=96)
    opened = open_model(settings)
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / f"{opened.name.removesuffix('.gguf')}.jsonl"
    done = set(_rows(file))
    for number, item in enumerate(asked, start=1):
        if item.case.id in done:
            continue
        case = replace(item.case, kind="answerable" if _answerable(item.case) else "near_miss")
        tried = try_case(RagChat(item.retriever, opened, settings), case)
        kept = {name: tried.signals.get(name) for name in (*ANSWER, *MODEL)}
        row = {"id": tried.id, "refused": tried.refused, "declined": tried.declined, "signals": kept}
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print(f"\r{number} of {len(asked)} questions", end="", flush=True)
    print()


def _rows(file: Path) -> dict[str, dict[str, Any]]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {row["id"]: row for row in map(json.loads, lines)}


def _tried(asked: Sequence[Asked], file: Path) -> list[Tried]:
    rows = _rows(file)
    return [
        replace(
            _bare(item),
            signals=item.signals | row["signals"],
            refused=item.early or row["refused"],
            declined=row["declined"],
        )
        for item in asked
        if (row := rows.get(item.case.id))
    ]


def _report_search(asked: Sequence[Asked]) -> None:
    tried = [_bare(item) for item in asked]
    held, _ = judged_apart(tried, "search")
    stage = fitted(tried, "search")
    print(f"\nsearch alone, {len(tried)} questions; refused early: relevance below {Settings().min_relevance}")
    print("stratum | n | control n | AUC | refused early | control refused early")
    for kind, (name, control) in STRATA.items():
        chosen, against = _of(tried, kind), _of(tried, control)
        area = auc(held[against], held[chosen])
        rates = [np.mean([tried[at].early for at in places]) for places in (chosen, against)]
        print(f"{name} | {len(chosen)} | {len(against)} | {area:.3f} | {rates[0]:.3f} | {rates[1]:.3f}")
    print("weights:", ", ".join(f"{name} {signal.weight:+.2f}" for name, signal in stage.signals.items()))


def _report_model(model: str, tried: Sequence[Tried]) -> None:
    answerable = sum(item.answerable for item in tried)
    print(
        f"\n{model}: {len(tried)} questions, {answerable} answerable, {sum(item.early for item in tried)} refused early"
    )
    print("stratum | n | control n | refusals | precision | recall | F1 | over-refusal | AUC")
    for name in ("answer", "model"):
        asked = usable(tried, name)
        held, doubted = judged_apart(asked, name)
        late = {item.id for item, doubt in zip(asked, doubted, strict=True) if doubt}
        ways = {"naive": np.array([item.declined for item in tried]), "without": np.array([i.refused for i in tried])}
        with_late = np.array([item.refused or item.id in late for item in tried])
        ways = {f"with, {name}": with_late} if name == "model" else ways | {f"with, {name}": with_late}
        for kind, (label, control) in STRATA.items():
            _print_stratum(
                label, tried, [_of(tried, kind), _of(tried, control)], ways, _area(asked, held, kind, control)
            )
        everything = [[at for at, item in enumerate(tried) if item.answerable == wanted] for wanted in (False, True)]
        area = auc(held[[i.answerable for i in asked]], held[[not i.answerable for i in asked]])
        _print_stratum("all", tried, everything, ways, area)
        weights = fitted(asked, name).signals
        print("weights:", ", ".join(f"{key} {signal.weight:+.2f}" for key, signal in weights.items()))


def _print_stratum(
    label: str, tried: Sequence[Tried], places: Sequence[Sequence[int]], ways: dict[str, Any], area: float | None
) -> None:
    chosen = [at for part in places for at in part]
    for way, refused in ways.items():
        figures = refusal_figures([tried[at] for at in chosen], refused[chosen])
        values = (figures.precision, figures.recall, figures.f1, figures.over_refusal)
        shown = " | ".join("-" if value is None else f"{value:.3f}" for value in values)
        last = "-" if area is None or not way.startswith("with,") else f"{area:.3f}"
        print(f"{label} | {len(places[0])} | {len(places[1])} | {way} | {shown} | {last}")


def _area(tried: Sequence[Tried], held: Any, kind: str, control: str) -> float | None:
    chosen, against = _of(tried, kind), _of(tried, control)
    return auc(held[against], held[chosen]) if chosen and against else None


def _of(tried: Sequence[Tried], kind: str) -> list[int]:
    return [at for at, item in enumerate(tried) if item.kind == kind]


def _write(file: Path, bare: Sequence[Tried], tried: dict[str, list[Tried]]) -> None:
    together = [item for of_model in tried.values() for item in of_model]
    used: dict[StageName, list[Tried]] = {name: usable(together, name) for name in STAGES} | {"search": list(bare)}
    fitted_on = {
        "data": "the development questions of docs/decisions/0013-abstention.md",
        "cases": len({item.id for item in bare}),
        "clusters": len({item.cluster for item in bare}),
        "models": {name: len(of_model) for name, of_model in tried.items()},
    }
    made = Abstention(fitted_on=fitted_on, stages={name: fitted(items, name) for name, items in used.items() if items})
    file.write_text(json.dumps(made.as_json(), indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {file}, thresholds", {name: stage.threshold for name, stage in made.stages.items()})


if __name__ == "__main__":
    main()
