#!/bin/sh
# Answer the cases, score the answers, check the gate. Exit 0: passed, 1: a bound is not met, 2: could not evaluate.
# What may be set: DOCS, CASES, GATE, OUT, MODEL, BASELINE (an earlier run's folder, for a gate with regressions).
set -eu
DOCS=${DOCS:-docs} CASES=${CASES:-rag-eval/cases.jsonl} GATE=${GATE:-rag-eval/gate.toml} OUT=${OUT:-reports/rag-eval}
index=.rag/eval-index
rag ingest "$DOCS" --index "$index" --prune
set -- "$CASES" --index "$index" --gate "$GATE" --out "$OUT"
[ -z "${MODEL:-}" ] || set -- "$@" --model "$MODEL"
[ -z "${BASELINE:-}" ] || set -- "$@" --baseline "$BASELINE"
rag eval run "$@"
