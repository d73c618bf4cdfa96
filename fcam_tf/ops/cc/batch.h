// The lattice over a batch of images, each on a thread of its own.
#ifndef FCAM_BATCH_H_
#define FCAM_BATCH_H_

#include <cstdint>

#include "mean_field.h"
#include "permutohedral.h"

namespace fcam {

struct Images {
  const void* pixels;  // batch x height x width x channels
  bool is_uint8;
  int64_t batch;
  int64_t height;
  int64_t width;
  int channels;
  float sigma_rgb;
  float sigma_xy;
};

// What went wrong, and with which image of the batch (the first one that failed).
struct BatchStatus {
  Status status = Status::kOk;
  int64_t image = 0;
};

// `filtered` and `values`: batch x height x width x count.
BatchStatus FilterBatch(const Images& images, const float* values, int count, Direction direction, float* filtered);

// `losses`: batch. `probabilities` and `gradients`: batch x height x width x classes.
BatchStatus CrfLossBatch(const Images& images, const float* probabilities, int classes, bool symmetric, float* losses,
                         float* gradients);

// `marginals` and `unaries`: batch x height x width x classes.
BatchStatus DenseCrfBatch(const Images& images, const float* unaries, int classes, const Crf& crf, float* marginals);

// One line that says what a status means.
const char* Describe(Status status);

}  // namespace fcam

#endif  // FCAM_BATCH_H_
