#include "cuda_lattice.h"

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cuda_job.h"
#include "geometry.h"

namespace fcam {
namespace cuda {
namespace {

constexpr double kMostCells = 1024.0 * 1024 * 1024;      // addresses of an image
constexpr int64_t kMostPixels = 1024 * 1024 * 1024;      // of an image
constexpr int64_t kMostItems = 2147483647;               // channels of an image's vertices
constexpr int64_t kMostImages = 32768;                   // blocks along y
constexpr int64_t kBitmapBytes = 256 * 1024 * 1024;      // of the images that are built together
constexpr int64_t kVertexBytes = 1024 * 1024 * 1024;     // of the images that are blurred together
constexpr int64_t kInspected = 64 * kThreads;            // values of an image that are looked at together

unsigned Blocks(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }

float FromOrdered(unsigned ordered) {
  const unsigned bits = ordered >> 31 ? ordered & 0x7fffffffu : ~ordered;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

struct Task {
  const float* values;
  int count;
  bool is_loss;
  bool forward;
  bool reversed;
  float* losses;
  float* out;  // may be null for a loss
};

class Run {
 public:
  Run(const Device& device, const Allocate& allocate, const Images& images, const Task& task)
      : device_(device), driver_(*device.driver), allocate_(allocate), images_(images), task_(task) {
    Check(driver_.CtxPushCurrent(device.context), "cuCtxPushCurrent");
    pushed_ = outcome_.error.empty();
  }
  ~Run() {
    Context popped;
    if (pushed_) driver_.CtxPopCurrent(&popped);
  }

  Outcome Compute() {
    if (!pushed_) return outcome_;
    if (!Check(driver_.CtxSynchronize(), "cuCtxSynchronize")) return outcome_;
    const int64_t pixels = images_.height * images_.width;
    if (images_.batch == 0 || pixels == 0 || task_.count == 0) {
      if (task_.is_loss && images_.batch > 0) Clear(task_.losses, images_.batch * sizeof(float));
      Wait();
      return outcome_;
    }
    outcome_.too_large = pixels > kMostPixels;
    if (outcome_.too_large) return outcome_;
    Begin(static_cast<int>(pixels));
    Inspect() && (images_.channels == 3 ? Place<5>() : Place<3>()) && Build();
    // Scratch is given back after this, so nothing may be under way even where something failed.
    Wait();
    return outcome_;
  }

 private:
  bool Good() const {
    return outcome_.error.empty() && !outcome_.too_large && outcome_.batch.status == Status::kOk;
  }

  bool Check(Result result, const char* call) {
    if (result != 0 && outcome_.error.empty()) outcome_.error = Describe(driver_, call, result);
    return result == 0;
  }

  bool Wait() { return Check(driver_.StreamSynchronize(OwnStream()), "cuStreamSynchronize"); }

  bool Clear(void* data, size_t bytes) {
    return Check(driver_.MemsetD8Async(reinterpret_cast<Address>(data), 0, bytes, OwnStream()), "cuMemsetD8Async");
  }

  bool Fetch(const void* data, size_t bytes, void* to) {
    return Check(driver_.MemcpyDtoHAsync(to, reinterpret_cast<Address>(data), bytes, OwnStream()),
                 "cuMemcpyDtoHAsync") && Wait();
  }

  bool Launch(Kernel kernel, unsigned blocks, int64_t images, unsigned directions = 1, int step = 0) {
    void* arguments[] = {&job_, &step};
    return Check(driver_.LaunchKernel(device_.kernels[kernel], blocks, static_cast<unsigned>(images), directions,
                                      kThreads, 1, 1, 0, OwnStream(), arguments, nullptr),
                 "cuLaunchKernel");
  }

  // Memory that lives until `scratch` is cleared.
  template <typename T>
  bool Take(std::vector<std::unique_ptr<Scratch>>* scratch, int64_t count, T** data) {
    scratch->push_back(allocate_(count * sizeof(T)));
    *data = scratch->back() == nullptr ? nullptr : static_cast<T*>(scratch->back()->data);
    if (*data == nullptr) outcome_.batch.status = Status::kOutOfMemory;
    return *data != nullptr;
  }

  void Begin(int pixels) {
    job_ = {};
    job_.is_uint8 = images_.is_uint8;
    job_.channels = images_.channels;
    job_.axes = images_.channels + 3;
    job_.alpha = 1.0f / (1.0f + 1.0f / (1 << (images_.channels + 2)));
    job_.width = static_cast<int>(images_.width);
    job_.pixels = pixels;
    job_.count = task_.count;
    job_.ones = task_.is_loss && task_.forward && task_.reversed;
    job_.reversed_first = !task_.forward;
  }

  // Points the job to an image and what belongs to it.
  void Point(int64_t image) {
    const int64_t pixels = image * job_.pixels;
    job_.image = static_cast<const char*>(images_.pixels) + pixels * job_.channels * (job_.is_uint8 ? 1 : 4);
    job_.values = task_.values + pixels * job_.count;
    job_.found = found_ + image * kFound;
    job_.losses = task_.losses + image;
    job_.out = task_.out == nullptr ? nullptr : task_.out + pixels * job_.count;
  }

  bool Inspect() {
    if (!Take(&kept_, images_.batch * kFound, &found_)) return false;
    if (!Clear(found_, images_.batch * kFound * sizeof(unsigned))) return false;
    const unsigned blocks = Blocks(std::min(kInspected, static_cast<int64_t>(job_.pixels) * job_.count));
    for (int64_t image = 0; image < images_.batch; image += kMostImages) {
      Point(image);
      if (!Launch(kInspect, blocks, std::min(kMostImages, images_.batch - image))) return false;
    }
    seen_.resize(images_.batch * kFound);
    if (!Fetch(found_, seen_.size() * sizeof(unsigned), seen_.data())) return false;
    constexpr unsigned kInfinity = 0x7f800000u;
    for (int64_t image = 0; image < images_.batch; ++image) {
      const unsigned* found = &seen_[image * kFound];
      if (found[kPixelsPeak] >= kInfinity) outcome_.batch = {Status::kImageNotFinite, image};
      else if (found[kValuesPeak] >= kInfinity) outcome_.batch = {Status::kValuesNotFinite, image};
      if (!Good()) return false;
    }
    return true;
  }

  // One box for all images: vertices keep their order in any box that holds them.
  template <int D>
  bool Place() {
    float low[D] = {}, high[D] = {};
    high[0] = static_cast<float>(images_.width - 1);
    high[1] = static_cast<float>(images_.height - 1);
    for (int c = 0; c < D - 2; ++c) {
      low[c + 2] = images_.is_uint8 ? 0 : FLT_MAX;
      high[c + 2] = images_.is_uint8 ? 255 : -FLT_MAX;
      for (int64_t image = 0; image < images_.batch && !images_.is_uint8; ++image) {
        high[c + 2] = std::max(high[c + 2], FromOrdered(seen_[image * kFound + kHighest + c]));
        low[c + 2] = std::min(low[c + 2], FromOrdered(~seen_[image * kFound + kLowest + c]));
      }
    }
    const Image image = {nullptr,          images_.is_uint8,  images_.height,  images_.width,
                         images_.channels, images_.sigma_rgb, images_.sigma_xy};
    Geometry<D> geometry;
    // The CPU takes each image by itself, and knows which one it is if the range is too large.
    outcome_.too_large = Prepare<D>(image, low, high, &geometry) != Status::kOk || geometry.cells > kMostCells;
    if (outcome_.too_large) return false;
    for (int j = 0; j < D; ++j) {
      job_.own[j] = geometry.own[j];
      job_.previous[j] = geometry.previous[j];
      job_.lowest[j] = static_cast<int>(geometry.lowest[j]);
      job_.stride[j] = static_cast<unsigned>(geometry.stride[j]);
    }
    for (int j = 0; j <= D; ++j) job_.axis[j] = static_cast<unsigned>(geometry.axis[j]);
    job_.words = static_cast<unsigned>((static_cast<int64_t>(geometry.cells) + 31) / 32);
    job_.tiles = (job_.words + kTile - 1) / kTile;
    return true;
  }

  // The vertices of as many images at a time as there is room for, and then what is computed on them.
  bool Build() {
    const int64_t room = kBitmapBytes / (static_cast<int64_t>(job_.words) * sizeof(Cell));
    const int64_t together = std::min({std::max<int64_t>(room, 1), kMostImages, images_.batch});
    Cell* cells;
    unsigned *before, *vertices;
    if (!Take(&kept_, together * job_.words, &cells) || !Take(&kept_, together * job_.tiles, &before) ||
        !Take(&kept_, together, &vertices)) {
      return false;
    }
    const bool colour = images_.channels == 3;
    std::vector<unsigned> counts(together);
    for (int64_t image = 0; image < images_.batch; image += together) {
      const int64_t here = std::min(together, images_.batch - image);
      Point(image);
      job_.cells = cells;
      job_.before = before;
      job_.vertices = vertices;
      const bool done = Clear(cells, here * job_.words * sizeof(Cell)) &&
                        Launch(colour ? kMark5 : kMark3, Blocks(job_.pixels), here) &&
                        Launch(kCount, job_.tiles, here) && Launch(kScan, 1, here) &&
                        Launch(kRank, job_.tiles, here) && Fetch(vertices, here * sizeof(unsigned), counts.data());
      if (!done) return false;
      job_.rows = 1 + *std::max_element(counts.begin(), counts.begin() + here);
      const int64_t items = static_cast<int64_t>(job_.rows) * (job_.count + job_.ones);
      outcome_.too_large = items > kMostItems;
      if (outcome_.too_large) return false;
      const int64_t bytes = items * (8 + 4 + 8 * Directions()) + static_cast<int64_t>(job_.rows) * job_.axes * 8;
      const int64_t part = std::min(std::max<int64_t>(kVertexBytes / bytes, 1), here);
      for (int64_t first = 0; first < here; first += part) {
        Point(image + first);
        job_.cells = cells + first * job_.words;
        job_.vertices = vertices + first;
        if (!OnVertices(std::min(part, here - first))) return false;
      }
    }
    return true;
  }

  unsigned Directions() const { return task_.forward + task_.reversed; }

  bool OnVertices(int64_t images) {
    const int64_t items = static_cast<int64_t>(job_.rows) * (job_.count + job_.ones);
    const bool colour = images_.channels == 3;
    const unsigned blocks = Blocks(items);
    job_.blocks = blocks;
    std::vector<std::unique_ptr<Scratch>> scratch;
    bool done = Take(&scratch, images * job_.axes * 2 * job_.rows, &job_.neighbours) &&
                Take(&scratch, images * items, &job_.sums) && Take(&scratch, images * items, &job_.splatted) &&
                Take(&scratch, images * items * 2 * Directions(), &job_.blurred) &&
                (!task_.is_loss || Take(&scratch, images * blocks, &job_.partial)) &&
                Clear(job_.sums, images * items * sizeof(int64_t)) && Launch(kConnect, Blocks(job_.words), images) &&
                Launch(colour ? kSplat5 : kSplat3, Blocks(job_.pixels), images) && Launch(kSettle, blocks, images);
    for (int step = 0; done && step < job_.axes; ++step) done = Launch(kBlur, blocks, images, Directions(), step);
    if (done && task_.is_loss) done = Launch(kCombine, blocks, images) && Launch(kTotal, 1, images);
    if (done && job_.out != nullptr) done = Launch(colour ? kSlice5 : kSlice3, Blocks(job_.pixels), images);
    return Wait() && done;
  }

  const Device& device_;
  const Driver& driver_;
  const Allocate& allocate_;
  const Images& images_;
  const Task& task_;
  Outcome outcome_;
  Job job_;
  bool pushed_ = false;
  unsigned* found_ = nullptr;
  std::vector<unsigned> seen_;
  std::vector<std::unique_ptr<Scratch>> kept_;
};

template <typename Copy>
std::string WithContext(const Device& device, const char* call, const Copy& copy) {
  const Driver& driver = *device.driver;
  Result result = driver.CtxPushCurrent(device.context);
  if (result != 0) return Describe(driver, "cuCtxPushCurrent", result);
  result = driver.CtxSynchronize();
  if (result == 0) result = copy();
  if (result == 0) result = driver.StreamSynchronize(OwnStream());
  Context popped;
  driver.CtxPopCurrent(&popped);
  return result == 0 ? "" : Describe(driver, call, result);
}

}  // namespace

Outcome Filter(const Device& device, const Allocate& allocate, const Images& images, const float* values, int count,
               Direction direction, float* filtered) {
  const bool forward = direction == Direction::kForward;
  return Run(device, allocate, images, {values, count, false, forward, !forward, nullptr, filtered}).Compute();
}

Outcome CrfLoss(const Device& device, const Allocate& allocate, const Images& images, const float* probabilities,
                int classes, bool symmetric, float* losses, float* gradients) {
  return Run(device, allocate, images, {probabilities, classes, true, true, symmetric, losses, gradients}).Compute();
}

std::string FromDevice(const Device& device, const void* from, size_t bytes, void* to) {
  return WithContext(device, "cuMemcpyDtoHAsync", [&] {
    return device.driver->MemcpyDtoHAsync(to, reinterpret_cast<Address>(from), bytes, OwnStream());
  });
}

std::string ToDevice(const Device& device, const void* from, size_t bytes, void* to) {
  return WithContext(device, "cuMemcpyHtoDAsync", [&] {
    return device.driver->MemcpyHtoDAsync(reinterpret_cast<Address>(to), from, bytes, OwnStream());
  });
}

}  // namespace cuda
}  // namespace fcam
