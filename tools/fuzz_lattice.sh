#!/usr/bin/env bash
# Gives the C++ lattice odd shapes and numbers under AddressSanitizer and UndefinedBehaviorSanitizer, SECONDS long.
set -euo pipefail
cd "$(dirname "$0")/../fcam_tf/ops/cc"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
g++ -std=gnu++17 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DFCAM_PORTABLE \
  -Wno-psabi -pthread -fno-math-errno -I. -o "$out/fuzz" ../../../tests/ops/cc/lattice_fuzz.cc \
  permutohedral.cc geometry.cc batch.cc thread_pool.cc lattice_baseline.cc
"$out/fuzz" "${1:-60}" "${2:-0}"
