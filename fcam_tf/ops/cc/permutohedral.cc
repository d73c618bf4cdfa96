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

enum class Isa { kBaseline, kAvx2, kAvx512 };

Isa Detect() {
#if defined(__x86_64__) && !defined(FCAM_PORTABLE)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

const Isa kIsa = Detect();

}  // namespace

Workspace::Workspace() : memory_(std::make_unique<Memory>()) {}
Workspace::~Workspace() = default;
int64_t Workspace::vertices() const { return memory_->vertices; }

Status Filter(Workspace& workspace, const Image& image, const float* values, int count, Direction direction,
              float* filtered) {
  Memory& memory = *workspace.memory();
#if defined(__x86_64__) && !defined(FCAM_PORTABLE)
  if (kIsa == Isa::kAvx512) return avx512::FilterDispatched(memory, image, values, count, direction, filtered);
  if (kIsa == Isa::kAvx2) return avx2::FilterDispatched(memory, image, values, count, direction, filtered);
#endif
  return baseline::FilterDispatched(memory, image, values, count, direction, filtered);
}

Status CrfLoss(Workspace& workspace, const Image& image, const float* probabilities, int classes, bool symmetric,
               double* loss, float* gradient) {
  Memory& memory = *workspace.memory();
#if defined(__x86_64__) && !defined(FCAM_PORTABLE)
  if (kIsa == Isa::kAvx512) {
    return avx512::CrfLossDispatched(memory, image, probabilities, classes, symmetric, loss, gradient);
  }
  if (kIsa == Isa::kAvx2) {
    return avx2::CrfLossDispatched(memory, image, probabilities, classes, symmetric, loss, gradient);
  }
#endif
  return baseline::CrfLossDispatched(memory, image, probabilities, classes, symmetric, loss, gradient);
}

const char* InstructionSet() {
  return kIsa == Isa::kAvx512 ? "avx512" : kIsa == Isa::kAvx2 ? "avx2" : "baseline";
}

}  // namespace fcam
