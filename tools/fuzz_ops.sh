#!/usr/bin/env bash
# Gives the compiled operations odd shapes, numbers and attributes through TensorFlow, SECONDS long: the library, and not
# TensorFlow, is compiled with AddressSanitizer and UndefinedBehaviorSanitizer, whose allocator then stands for all of the
# process. So what the library reads or writes behind a tensor is found. Memory that TensorFlow never frees is no fault here.
#
#   PYTHON=python tools/fuzz_ops.sh SECONDS SEED
set -euo pipefail
cd "$(dirname "$0")/../fcam_tf/ops/cc"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for kernel in permutohedral.cu cuda_vertices.h cuda_pixels.h cuda_job.h; do
  { printf 'R"fcam('; cat "$kernel"; printf ')fcam"'; } >"$out/$kernel.inc"
done
: >"$out/empty.cc"
g++ -shared -o "$out/libtensorflow_framework.so.2" -Wl,-soname,libtensorflow_framework.so.2 "$out/empty.cc"
g++ -std=gnu++17 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DFCAM_PORTABLE \
  -Wno-psabi -pthread -fno-math-errno -fPIC -shared -I. "-I$out" -o "$out/fcam_ops.so" crf_op.cc dense_crf_op.cc \
  cuda_lattice.cc cuda_mean_field.cc cuda_device.cc cuda_driver.cc cuda_compiler.cc permutohedral.cc geometry.cc batch.cc \
  thread_pool.cc lattice_baseline.cc -Wl,--no-as-needed "$out/libtensorflow_framework.so.2" -ldl
cd ../../..
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0:allocator_may_return_null=1 TF_CPP_MIN_LOG_LEVEL=2 \
  "${PYTHON:-python3}" tools/fuzz_ops.py "$out/fcam_ops.so" "${1:-60}" "${2:-0}"
