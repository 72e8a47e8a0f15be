"""Which bounds of a gate notice which broken system: `python bench/mutants.py [--gate FILE] [--cases FILE]`.

The systems are those of `eval/mutants.py`: answers that quote the gold and cite it, spoiled in one way each, over the
cases that a single quoted sentence answers and those to be refused. The baseline of the regressions is the system
before it was spoiled. Exits 1 when the good system fails, or a mutant passes a bound that has to notice it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machine import print_head

from eval.aggregate import make_report
from eval.cases import read_cases
from eval.errors import InputError
from eval.gate import check_gate, read_gate
from eval.mutants import MUTANTS, Records, quotable, quoting_system, with_regressions
from eval.scores import score_cases
from eval.types import Report
from rag.verifier import LexicalVerifier

DATA = Path(__file__).resolve().parent.parent / "data" / "eval"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gate", type=Path, default=DATA / "gate.toml")
    parser.add_argument("--cases", type=Path, default=DATA / "cases.jsonl")
    given = parser.parse_args()
    verifier = LexicalVerifier()
    gate = with_regressions(read_gate(given.gate, verifier.measured["balanced_accuracy"]))
    cases = tuple(filter(quotable, read_cases(given.cases)))
    good = quoting_system(cases)

    def reported(records: Records) -> Report:
        return make_report(score_cases(cases, records, verifier), {})

    baseline = reported(good)
    to_refuse = sum(case.answerable is False for case in cases)
    print_head(cases=f"{len(cases)}, {to_refuse} of them to be refused", gate=given.gate.name)
    print("\n| system | bounds that failed | noticed |\n|---|---|---|")
    wrong = 0
    for name, records, wanted in (
        ("good (quotes and refuses)", good, frozenset()),
        *((mutant.name, mutant.change(good), mutant.must_fail) for mutant in MUTANTS),
    ):
        checks = check_gate(gate, reported(records), baseline)
        failed = [check.gate for check in checks if not check.passed]
        noticed = wanted <= set(failed) if wanted else not failed
        wrong += not noticed
        shown = ", ".join(f"**{gate}**" if gate in wanted else gate for gate in failed) or "none"
        print(f"| {name} | {shown} | {'yes' if noticed and wanted else 'passes' if noticed else 'NO'} |")
    try:
        score_cases((), {}, verifier)
    except InputError as error:
        print(f"| empty run | could not evaluate: {error} | yes |")
    print("\nIn bold: the bounds that have to notice.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
