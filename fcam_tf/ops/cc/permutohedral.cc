#include "permutohedral.h"

#include <algorithm>

#include "mean_field.h"
#include "memory.h"

namespace fcam {

#define FCAM_DECLARE(isa)                                                                                         \
  namespace isa {                                                                                                 \
  Status FilterDispatched(Memory&, const Image&, const float*, int, Direction, float*);                           \
  Status CrfLossDispatched(Memory&, const Image&, const float*, int, bool, double*, float*);                      \
  Status MeanFieldDispatched(Workspace* const*, const Image&, const float*, int, const Crf&, float*);             \
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
  decltype(&baseline::MeanFieldDispatched) mean_field;
};

// Those of the best instruction set that the processor has.
Kernels Choose() {
#if defined(__x86_64__) && !defined(FCAM_PORTABLE)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return {"avx512", avx512::FilterDispatched, avx512::CrfLossDispatched, avx512::MeanFieldDispatched};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {"avx2", avx2::FilterDispatched, avx2::CrfLossDispatched, avx2::MeanFieldDispatched};
  }
#endif
  return {"baseline", baseline::FilterDispatched, baseline::CrfLossDispatched, baseline::MeanFieldDispatched};
}

const Kernels kKernels = Choose();

}  // namespace

Workspace::Workspace() : memory_(std::make_unique<Memory>()) {}
Workspace::~Workspace() = default;
int64_t Workspace::vertices() const { return memory_->vertices; }
size_t Workspace::bytes() const { return memory_->bytes(); }

Status Filter(Workspace& workspace, const Image& image, const float* values, int count, Direction direction,
              float* filtered) {
  return kKernels.filter(*workspace.memory(), image, values, count, direction, filtered);
}

Status CrfLoss(Workspace& workspace, const Image& image, const float* probabilities, int classes, bool symmetric,
               double* loss, float* gradient) {
  return kKernels.crf_loss(*workspace.memory(), image, probabilities, classes, symmetric, loss, gradient);
}

int Strips(const Image& image) {
  constexpr int64_t kLeast = 16384;  // pixels, for which a thread is worth while
  const int64_t strips = std::min<int64_t>(image.height * image.width / kLeast, kMostStrips);
  return static_cast<int>(std::max<int64_t>(1, std::min(strips, image.height)));
}

Status MeanField(Workspace* const* workspaces, const Image& image, const float* unaries, int classes, const Crf& crf,
                 float* marginals) {
  return kKernels.mean_field(workspaces, image, unaries, classes, crf, marginals);
}

const char* InstructionSet() { return kKernels.instruction_set; }

}  // namespace fcam
