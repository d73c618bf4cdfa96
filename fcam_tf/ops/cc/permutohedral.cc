#include "permutohedral.h"

#include "memory.h"

namespace fcam {

#define FCAM_DECLARE(isa)                                                                                         \
  namespace isa {                                                                                                 \
  Status FilterDispatched(Memory&, const Image&, const float*, int, Direction, float*);                           \
  Status CrfLossDispatched(Memory&, const Image&, const float*, int, bool, double*, float*);                      \
  }
FCAM_DECLARE(avx512)
FCAM_DECLARE(avx2)
FCAM_DECLARE(baseline)
#undef FCAM_DECLARE

namespace {

struct Kernels {
  const char* instruction_set;
  decltype(&baseline::FilterDispatched) filter;
  decltype(&baseline::CrfLossDispatched) crf_loss;
};

// Those of the best instruction set that the processor has.
Kernels Choose() {
#if defined(__x86_64__) && !defined(FCAM_PORTABLE)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return {"avx512", avx512::FilterDispatched, avx512::CrfLossDispatched};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {"avx2", avx2::FilterDispatched, avx2::CrfLossDispatched};
  }
#endif
  return {"baseline", baseline::FilterDispatched, baseline::CrfLossDispatched};
}

const Kernels kKernels = Choose();

}  // namespace

Workspace::Workspace() : memory_(std::make_unique<Memory>()) {}
Workspace::~Workspace() = default;
int64_t Workspace::vertices() const { return memory_->vertices; }

Status Filter(Workspace& workspace, const Image& image, const float* values, int count, Direction direction,
              float* filtered) {
  return kKernels.filter(*workspace.memory(), image, values, count, direction, filtered);
}

Status CrfLoss(Workspace& workspace, const Image& image, const float* probabilities, int classes, bool symmetric,
               double* loss, float* gradient) {
  return kKernels.crf_loss(*workspace.memory(), image, probabilities, classes, symmetric, loss, gradient);
}

const char* InstructionSet() { return kKernels.instruction_set; }

}  // namespace fcam
