#!/usr/bin/env bash
# A gate for a change: time this working tree and the commit that it began from on one machine, one after the other,
# and fail where something has surely become slower. Options go to the benchmark.
#
#   examples/gate.sh main --cell gru --layers 1 --batch 16
set -euo pipefail
cd "$(dirname "$0")/.."

commit=${1:?"the commit to compare with, such as main"}
shift
out=$(mktemp -d)
trap 'git worktree remove --force "$out/tree"; rm -rf "$out"' EXIT
git worktree add --quiet --detach "$out/tree" "$commit"

run() { (cd "$1" && PYTHONPATH=src python -m pytest bench/ -q --benchmark-only --out "$out/$2" "${@:3}"); }
run "$out/tree" before "$@"
run "$PWD" after "$@"
python -m diagnostics.compare "$out/before" "$out/after" --fail slower:5% --fail reference:20% --format markdown
