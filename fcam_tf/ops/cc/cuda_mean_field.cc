#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda_run.h"

namespace fcam {
namespace cuda {
namespace {

class MeanFieldRun : public Run {
 public:
  MeanFieldRun(const Device& device, const Allocate& allocate, const Images& images, const float* unaries, int classes,
               const Crf& crf, float* marginals)
      : Run(device, allocate, images, unaries, classes, marginals), crf_(crf), classes_(classes),
        bilateral_(crf.bilateral_weight != 0 && crf.iterations > 0),
        spatial_(crf.spatial_weight != 0 && crf.iterations > 0) {
    job_.bilateral_weight = crf.bilateral_weight;
    job_.spatial_weight = crf.spatial_weight;
    job_.compatibility = crf.compatibility;
  }

 private:
  bool Build() override {
    if (int64_t{job_.pixels} * classes_ > kMostItems) return TooLarge();
    if (spatial_ && !PlaceGaussians()) return false;
    if (bilateral_) return Run::Build();
    const int64_t part = std::min(std::max<int64_t>(kVertexBytes / OtherBytes(), 1), kMostImages);
    for (int64_t image = 0; image < images_.batch; image += part) {
      Point(image);
      if (!Iterate(std::min(part, images_.batch - image))) return false;
    }
    return true;
  }

  int64_t OtherBytes() const override {
    return job_.pixels * static_cast<int64_t>(sizeof(float)) * (1 + int64_t{classes_} * (bilateral_ + 2 * spatial_));
  }

  void Point(int64_t image) override {
    Run::Point(image);
    job_.unaries = job_.values;
    job_.marginals = job_.out;
  }

  bool OnVertices(int64_t images) override {
    Memory scratch;
    const bool done = Connect(images, &scratch) && Iterate(images);
    return Wait() && done;
  }

  // The taps of the spatial kernel and what normalises each position, along x and y: all images share them.
  bool PlaceGaussians() {
    const double sigma = crf_.spatial_sigma;
    const int64_t lengths[] = {images_.width, images_.height};
    size_t begins[2];
    for (int axis = 0; axis < 2; ++axis) {
      const int radius = static_cast<int>(std::fmin(std::ceil(5.0 * sigma), lengths[axis] - 1.0));
      job_.radius[axis] = radius;
      begins[axis] = gaussians_.size();
      std::vector<double> sums;  // of the taps up to each distance
      for (int t = 0; t <= radius; ++t) {
        const double tap = std::exp(-0.5 * (t / sigma) * (t / sigma));
        sums.push_back(t > 0 ? sums.back() + tap : tap);
        gaussians_.push_back(static_cast<float>(tap));
      }
      for (int64_t i = 0; i < lengths[axis]; ++i) {
        const double left = sums[std::min<int64_t>(i, radius)];
        const double right = sums[std::min<int64_t>(lengths[axis] - 1 - i, radius)];
        gaussians_.push_back(static_cast<float>(1 / std::sqrt(left + right - 1)));
      }
    }
    float* there;
    if (!Take(&kept_, gaussians_.size(), &there)) return false;
    for (int axis = 0; axis < 2; ++axis) {
      job_.taps[axis] = there + begins[axis];
      job_.scales[axis] = job_.taps[axis] + job_.radius[axis] + 1;
    }
    return Send(gaussians_.data(), gaussians_.size() * sizeof(float), there);
  }

  // Filters ones, and makes D^-1/2 of them.
  bool Normalise(int64_t images, float* factors) {
    job_.factors = job_.values = nullptr;
    job_.out = factors;
    job_.count = 1;
    const bool done = Blur(images) && Slice(images) && Launch(kNormalise, Blocks(job_.pixels), images);
    job_.count = classes_;
    job_.factors = factors;
    return done;
  }

  bool Spread(int64_t images) {
    const unsigned blocks = Blocks(int64_t{job_.pixels} * classes_);
    return Launch(kSpread, blocks, images, 1, 0) && Launch(kSpread, blocks, images, 1, 1);
  }

  // All updates of some images.
  bool Iterate(int64_t images) {
    const int64_t size = images * job_.pixels * classes_;
    float *factors = nullptr, *messages = nullptr;
    Memory scratch;
    bool done = (!bilateral_ || (Take(&scratch, images * job_.pixels, &factors) && Take(&scratch, size, &messages) &&
                                 Normalise(images, factors))) &&
                (!spatial_ || (Take(&scratch, size, &job_.across) && Take(&scratch, size, &job_.spatial)));
    job_.values = job_.marginals;
    job_.bilateral = job_.out = messages;
    for (int i = 0; done && i <= crf_.iterations; ++i) {
      done = (i == 0 || !bilateral_ || (Blur(images) && Slice(images))) && (i == 0 || !spatial_ || Spread(images)) &&
             Launch(kUpdate, Blocks(job_.pixels), images, 1, i);
    }
    return Wait() && done;
  }

  const Crf& crf_;
  const int classes_;
  const bool bilateral_;
  const bool spatial_;
  std::vector<float> gaussians_;
};

}  // namespace

Outcome DenseCrf(const Device& device, const Allocate& allocate, const Images& images, const float* unaries, int classes,
                 const Crf& crf, float* marginals) {
  return MeanFieldRun(device, allocate, images, unaries, classes, crf, marginals).Compute();
}

}  // namespace cuda
}  // namespace fcam
