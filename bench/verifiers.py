"""Measure verifiers on labelled claims: python bench/verifiers.py CLAIMS.jsonl [SPEC ...] [--sample N] [--threads N].

CLAIMS.jsonl has ``{"id", "claim", "evidence", "label", "cluster"}`` a line. A SPEC is what ``--judge`` takes; without
any, ``lexical`` and ``alignment`` (on the claims that those were fitted on, their figures flatter: those out of fold
are printed by bench/fit_verifier.py). ``--sample``: whole clusters, drawn with a fixed seed, until there are N claims.
Below the figures stands what share of altered copies is not found supported (bench/altered.py): of the supported claims
("claims"), and of sentences copied from the evidence ("copied"), as an answer that quotes would alter them.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from altered import KINDS, altered
from machine import print_head

from eval.verifying import LabelledClaim, claims_digest, judge_claims, measure, read_claims
from rag.grounding import Verifier, sentence_spans
from rag.settings import Settings
from rag.verifiers import open_verifier

SEED = 20240501
COPY_WORDS = range(6, 26)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", type=Path)
    parser.add_argument("specs", nargs="*", default=["lexical", "alignment"])
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--no-copies", action="store_true", help="leave the altered copies out")
    args = parser.parse_args()
    claims = sampled(read_claims(args.claims), args.sample)
    print_head(
        data=f"{len(claims)} claims in {len({c.cluster for c in claims})} clusters, {claims_digest(args.claims)}"
    )
    for spec in args.specs:
        report(open_verifier(spec, Settings(threads=args.threads)), claims, copies=not args.no_copies)


def report(verifier: Verifier, claims: Sequence[LabelledClaim], *, copies: bool) -> None:
    """Print what a verifier is worth."""
    found = measure(list(judge_claims(claims, verifier, progress)))
    if found is None:
        raise SystemExit("the claims need labels: some supported, some not")
    low, high = found.ci95
    accuracy = f"balanced accuracy {found.balanced_accuracy:.3f} [{low:.3f}, {high:.3f}]"
    print(f"\n{verifier.name}\n  {accuracy}, AUC {found.auc:.3f}")
    print("  recall " + ", ".join(f"{label} {value:.3f}" for label, value in found.recall.items() if value is not None))
    print(f"  {found.ms:.1f} ms a pair", flush=True)
    for name, pairs in (("claims", true_claims(claims)), ("copied", copied(claims))) if copies else ():
        print(f"  altered {name}: {caught(verifier, pairs)}", flush=True)


def caught(verifier: Verifier, pairs: Sequence[tuple[str, str]]) -> str:
    """By kind, the share of altered copies that are not found supported."""
    counts = dict.fromkeys(KINDS, (0, 0))
    for claim, evidence in pairs:
        for kind, text in altered(claim, evidence).items():
            hit, of = counts[kind]
            counts[kind] = hit + (verifier.verify(text, evidence).label != "supported"), of + 1
    return ", ".join(f"{kind} {hit / of:.2f} of {of}" for kind, (hit, of) in counts.items() if of)


def true_claims(claims: Sequence[LabelledClaim]) -> list[tuple[str, str]]:
    return [(claim.claim, claim.evidence) for claim in claims if claim.label == "supported"]


def copied(claims: Sequence[LabelledClaim]) -> list[tuple[str, str]]:
    """A sentence of each evidence (behind the title that stands before it), each once."""
    found: dict[tuple[str, str], None] = {}
    for claim in claims:
        body = claim.evidence.partition(": ")[2]
        sentences = (body[start:end] for start, end in sentence_spans(body))
        first = next((text for text in sentences if len(text.split()) in COPY_WORDS), None)
        if first:
            found[first, claim.evidence] = None
    return list(found)


def sampled(claims: Sequence[LabelledClaim], count: int) -> list[LabelledClaim]:
    """All claims, or whole clusters of them until there are ``count``."""
    if not count:
        return list(claims)
    clusters = sorted({claim.cluster for claim in claims})
    random.Random(SEED).shuffle(clusters)
    found: list[LabelledClaim] = []
    for cluster in clusters:
        if len(found) < count:
            found += [claim for claim in claims if claim.cluster == cluster]
    return found


def progress(done: int, total: int) -> None:
    if done == total or done * 20 // total > (done - 8) * 20 // total:
        print(f"{done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
