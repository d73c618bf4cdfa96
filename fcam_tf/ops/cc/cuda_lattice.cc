#include "cuda_lattice.h"

#include "cuda_run.h"

namespace fcam {
namespace cuda {
namespace {

class FilterRun : public Run {
 public:
  FilterRun(const Device& device, const Allocate& allocate, const Images& images, const float* values, int count,
            Direction direction, float* filtered)
      : Run(device, allocate, images, values, count, filtered) {
    job_.reversed_first = direction == Direction::kTransposed;
  }

 private:
  bool OnVertices(int64_t images) override {
    Memory scratch;
    const bool done = Connect(images, &scratch) && Blur(images) && Slice(images);
    return Wait() && done;
  }
};

class LossRun : public Run {
 public:
  LossRun(const Device& device, const Allocate& allocate, const Images& images, const float* probabilities, int classes,
          bool symmetric, float* losses, float* gradients)
      : Run(device, allocate, images, probabilities, classes, gradients), losses_(losses) {
    job_.ones = symmetric;
    directions_ = symmetric ? 2 : 1;
  }

 private:
  void WithoutValues() override {
    if (images_.batch > 0) Clear(losses_, images_.batch * sizeof(float));
  }

  void Point(int64_t image) override {
    Run::Point(image);
    job_.losses = losses_ + image;
  }

  bool OnVertices(int64_t images) override {
    const unsigned blocks = Blocks(Items());
    job_.blocks = blocks;
    Memory scratch;
    const bool done = Connect(images, &scratch) && Take(&scratch, images * blocks, &job_.partial) && Blur(images) &&
                      Launch(kCombine, blocks, images) && Launch(kTotal, 1, images) &&
                      (job_.out == nullptr || Slice(images));
    return Wait() && done;
  }

  float* losses_;
};

}  // namespace

Outcome Filter(const Device& device, const Allocate& allocate, const Images& images, const float* values, int count,
               Direction direction, float* filtered) {
  return FilterRun(device, allocate, images, values, count, direction, filtered).Compute();
}

Outcome CrfLoss(const Device& device, const Allocate& allocate, const Images& images, const float* probabilities,
                int classes, bool symmetric, float* losses, float* gradients) {
  return LossRun(device, allocate, images, probabilities, classes, symmetric, losses, gradients).Compute();
}

}  // namespace cuda
}  // namespace fcam
