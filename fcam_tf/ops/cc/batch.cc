#include "batch.h"

#include <memory>
#include <mutex>
#include <vector>

#include "thread_pool.h"

namespace fcam {
namespace {

constexpr size_t kKept = 32 << 20;  // what larger images needed goes back to the system

// Workspaces that no call is using. There are never more than calls ran at once.
class Workspaces {
 public:
  std::unique_ptr<Workspace> Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return std::make_unique<Workspace>();
    std::unique_ptr<Workspace> workspace = std::move(idle_.back());
    idle_.pop_back();
    return workspace;
  }

  void Return(std::unique_ptr<Workspace> workspace) {
    if (workspace->bytes() > kKept) return;
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(workspace));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

Workspaces& TheWorkspaces() {
  static Workspaces* workspaces = new Workspaces;  // outlives threads that still work when the process ends
  return *workspaces;
}

template <typename Run>
BatchStatus ForEach(const Images& images, const Run& run) {
  const int64_t pixels = images.height * images.width;
  std::vector<Status> statuses(images.batch, Status::kOk);
  ParallelFor(images.batch, [&](int64_t n) {
    const int64_t size = pixels * images.channels * (images.is_uint8 ? sizeof(uint8_t) : sizeof(float));
    const Image image = {static_cast<const char*>(images.pixels) + n * size,
                         images.is_uint8,
                         images.height,
                         images.width,
                         images.channels,
                         images.sigma_rgb,
                         images.sigma_xy};
    std::unique_ptr<Workspace> workspace = TheWorkspaces().Take();
    statuses[n] = run(*workspace, image, n);
    TheWorkspaces().Return(std::move(workspace));
  });
  for (int64_t n = 0; n < images.batch; ++n) {
    if (statuses[n] != Status::kOk) return {statuses[n], n};
  }
  return {};
}

}  // namespace

BatchStatus FilterBatch(const Images& images, const float* values, int count, Direction direction, float* filtered) {
  const int64_t size = images.height * images.width * count;
  if (size == 0) return {};
  return ForEach(images, [&](Workspace& workspace, const Image& image, int64_t n) {
    return Filter(workspace, image, values + n * size, count, direction, filtered + n * size);
  });
}

BatchStatus CrfLossBatch(const Images& images, const float* probabilities, int classes, bool symmetric, float* losses,
                         float* gradients) {
  const int64_t size = images.height * images.width * classes;
  return ForEach(images, [&](Workspace& workspace, const Image& image, int64_t n) {
    losses[n] = 0;
    if (size == 0) return Status::kOk;
    double loss = 0;
    const Status status =
        CrfLoss(workspace, image, probabilities + n * size, classes, symmetric, &loss, gradients + n * size);
    losses[n] = static_cast<float>(loss);
    return status;
  });
}

BatchStatus DenseCrfBatch(const Images& images, const float* unaries, int classes, const Crf& crf, float* marginals) {
  const int64_t size = images.height * images.width * classes;
  if (size == 0) return {};
  return ForEach(images, [&](Workspace& workspace, const Image& image, int64_t n) {
    std::vector<std::unique_ptr<Workspace>> of_strips(Strips(image));
    std::vector<Workspace*> workspaces;
    for (std::unique_ptr<Workspace>& strip : of_strips) {
      strip = TheWorkspaces().Take();
      workspaces.push_back(strip.get());
    }
    workspaces.push_back(&workspace);
    const Status status = MeanField(workspaces.data(), image, unaries + n * size, classes, crf, marginals + n * size);
    for (std::unique_ptr<Workspace>& strip : of_strips) TheWorkspaces().Return(std::move(strip));
    return status;
  });
}

const char* Describe(Status status) {
  switch (status) {
    case Status::kOk:
      return "no error";
    case Status::kImageNotFinite:
      return "the image contains NaN or infinity";
    case Status::kValuesNotFinite:
      return "the values or probabilities contain NaN or infinity";
    case Status::kRangeTooLarge:
      return "the range of the image over sigma_rgb, or its size over sigma_xy, exceeds 1e9; raise the sigmas";
    case Status::kOutOfMemory:
      return "there is not enough memory";
  }
  return "unknown";
}

}  // namespace fcam
