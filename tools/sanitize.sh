#!/usr/bin/env bash
# Runs the C++ tests under sanitizers. The lattice: AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer, once
# with the instruction set of this machine and once with the portable code. The CUDA kernels on the CPU, which run on
# one thread: the first two.
set -euo pipefail
cd "$(dirname "$0")/../fcam_tf/ops/cc"
tests=../../../tests/ops/cc
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for sanitizer in address,undefined thread; do
  flags=(-std=gnu++17 -O1 -g -fno-omit-frame-pointer "-fsanitize=$sanitizer" -fno-sanitize-recover=all
    -Wno-psabi -pthread -fno-math-errno)
  g++ "${flags[@]}" -c lattice_baseline.cc -o "$out/baseline.o"
  if [ "$(uname -m)" = x86_64 ]; then
    g++ "${flags[@]}" -mavx2 -mfma -c lattice_avx2.cc -o "$out/avx2.o"
    g++ "${flags[@]}" -mavx512f -mavx512vl -mavx512dq -mfma -c lattice_avx512.cc -o "$out/avx512.o"
  fi
  for variant in "" -DFCAM_PORTABLE; do
    g++ "${flags[@]}" $variant -o "$out/test" \
      -I. "$tests/permutohedral_test.cc" permutohedral.cc geometry.cc batch.cc thread_pool.cc "$out"/*.o
    echo "$sanitizer $variant"
    "$out/test"
  done
done
for program in cuda_lattice_test cuda_mean_field_test; do
  echo "address,undefined $program"
  g++ -std=gnu++17 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
    -DFCAM_PORTABLE -Wno-psabi -Wno-unknown-pragmas -pthread -I. -o "$out/test" "$tests/$program.cc" cuda_lattice.cc \
    cuda_mean_field.cc cuda_device.cc permutohedral.cc geometry.cc batch.cc thread_pool.cc lattice_baseline.cc
  "$out/test"
done
