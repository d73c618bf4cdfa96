// The lattice on the CPU and on a GPU behind plain functions, without TensorFlow: for tools/check_cuda.py.
#include <memory>
#include <string>

#include "batch.h"
#include "cuda_lattice.h"
#ifdef FCAM_ON_CPU
#include "cuda_shim.h"
#endif

namespace {

// Pieces of a device's memory that the caller keeps.
class Arena {
 public:
  Arena(void* memory, size_t bytes) : next_(static_cast<char*>(memory)), left_(bytes) {}

  std::unique_ptr<fcam::cuda::Scratch> Take(size_t bytes) {
    auto piece = std::make_unique<fcam::cuda::Scratch>();
    bytes = (bytes + 255) / 256 * 256;
    if (bytes > left_) return piece;
    piece->data = next_;
    next_ += bytes;
    left_ -= bytes;
    return piece;
  }

 private:
  char* next_;
  size_t left_;
};

const char* Message(const fcam::cuda::Outcome& outcome) {
  static thread_local std::string message;
  message = outcome.error;
  if (message.empty() && outcome.batch.status != fcam::Status::kOk) {
    message = "image " + std::to_string(outcome.batch.image) + ": " + Describe(outcome.batch.status);
  }
  return message.c_str();
}

template <typename OnCpu, typename OnGpu>
const char* Run(bool on_gpu, const float* output, void* scratch, size_t bytes, const OnCpu& cpu, const OnGpu& gpu) {
  fcam::cuda::Outcome outcome;
  if (!on_gpu) {
    outcome.batch = cpu();
    return Message(outcome);
  }
  const fcam::cuda::Device* device = fcam::cuda::DeviceOf(output, &outcome.error);
  Arena arena(scratch, bytes);
  if (device != nullptr) outcome = gpu(*device, [&arena](size_t size) { return arena.Take(size); });
  return Message(outcome);
}

}  // namespace

// All return what went wrong, or an empty string. Pointers are into the GPU's memory where the GPU computes.
#define FCAM_EXPORT extern "C" __attribute__((visibility("default")))

FCAM_EXPORT const char* fcam_check_filter(int on_gpu, const fcam::Images* images, const float* values, int count,
                                          int transpose, float* filtered, void* scratch, size_t bytes) {
  const auto direction = transpose ? fcam::Direction::kTransposed : fcam::Direction::kForward;
  return Run(
      on_gpu, filtered, scratch, bytes, [&] { return FilterBatch(*images, values, count, direction, filtered); },
      [&](const fcam::cuda::Device& device, const fcam::cuda::Allocate& allocate) {
        return Filter(device, allocate, *images, values, count, direction, filtered);
      });
}

FCAM_EXPORT const char* fcam_check_loss(int on_gpu, const fcam::Images* images, const float* probabilities, int classes,
                                        int symmetric, float* losses, float* gradients, void* scratch, size_t bytes) {
  return Run(
      on_gpu, losses, scratch, bytes,
      [&] { return CrfLossBatch(*images, probabilities, classes, symmetric, losses, gradients); },
      [&](const fcam::cuda::Device& device, const fcam::cuda::Allocate& allocate) {
        return CrfLoss(device, allocate, *images, probabilities, classes, symmetric, losses, gradients);
      });
}

// `compatibility` is null for Potts. Both kernels have a weight of 1, the spatial one a sigma of 1.5 pixels.
FCAM_EXPORT const char* fcam_check_crf(int on_gpu, const fcam::Images* images, const float* unaries, int classes,
                                       const float* compatibility, float* marginals, void* scratch, size_t bytes) {
  const fcam::Crf crf = {1, 1, 1.5f, compatibility, 5};
  return Run(
      on_gpu, marginals, scratch, bytes, [&] { return DenseCrfBatch(*images, unaries, classes, crf, marginals); },
      [&](const fcam::cuda::Device& device, const fcam::cuda::Allocate& allocate) {
        return DenseCrf(device, allocate, *images, unaries, classes, crf, marginals);
      });
}
