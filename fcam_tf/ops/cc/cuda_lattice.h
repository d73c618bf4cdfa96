// The lattice over a batch of images in a GPU's memory.
#ifndef FCAM_CUDA_LATTICE_H_
#define FCAM_CUDA_LATTICE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "batch.h"
#include "cuda_device.h"

namespace fcam {
namespace cuda {

// Memory of the device, given back when this is destroyed.
class Scratch {
 public:
  virtual ~Scratch() = default;
  void* data = nullptr;
};
// Returns null, or null data, where there is not enough.
using Allocate = std::function<std::unique_ptr<Scratch>(size_t bytes)>;

struct Outcome {
  BatchStatus batch;
  std::string error;  // of the driver, or what is too large or out of memory
};

// As FilterBatch and CrfLossBatch, with every pointer into the device's memory. Returns when the work is done. What was
// queued on other streams of the context before the call is waited for, because TensorFlow's C API does not tell the
// stream that makes the inputs.
Outcome Filter(const Device& device, const Allocate& allocate, const Images& images, const float* values, int count,
               Direction direction, float* filtered);
Outcome CrfLoss(const Device& device, const Allocate& allocate, const Images& images, const float* probabilities,
                int classes, bool symmetric, float* losses, float* gradients);

// As DenseCrfBatch, with the compatibility in the device's memory, too. The spatial kernel is exact up to five sigmas.
Outcome DenseCrf(const Device& device, const Allocate& allocate, const Images& images, const float* unaries, int classes,
                 const Crf& crf, float* marginals);

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_LATTICE_H_
