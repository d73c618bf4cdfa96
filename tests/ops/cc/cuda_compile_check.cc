// The compiler of the kernels behind a plain function, without TensorFlow: for cuda_compiler_test.py.
#include <cstdint>
#include <cstdio>
#include <string>

#include "cuda_compiler.h"

// Compiles with the compiler at `place`. Returns the bytes of the module, or 0 and why in `problem`.
extern "C" int64_t fcam_check_compile(int arch, int driver_version, const char* place, const char* cache, char* problem,
                                      size_t problem_size) {
  std::string what;
  const std::string code = fcam::cuda::Compile(arch, driver_version, {place}, cache, &what);
  std::snprintf(problem, problem_size, "%s", what.c_str());
  return static_cast<int64_t>(code.size());
}
