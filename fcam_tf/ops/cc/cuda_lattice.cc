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

constexpr int64_t kMostPixels = 128 * 1024 * 1024;    // of an image: corners and slots have 32-bit numbers
constexpr int64_t kMostItems = 2147483647;            // channels of an image's vertices
constexpr int64_t kMostImages = 32768;                // blocks along y
constexpr int64_t kTableBytes = 256 * 1024 * 1024;    // of the images that are built together
constexpr int64_t kVertexBytes = 1024 * 1024 * 1024;  // of the images that are blurred together
constexpr int64_t kInspected = 64 * kThreads;         // values of an image that are looked at together

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
    if (pixels > kMostPixels) return TooLarge(), outcome_;
    if (images_.batch == 0 || pixels == 0 || task_.count == 0) {
      if (task_.is_loss && images_.batch > 0) Clear(task_.losses, images_.batch * sizeof(float));
      Wait();
      return outcome_;
    }
    Begin(static_cast<int>(pixels));
    Inspect() && (images_.channels == 3 ? Place<5>() : Place<3>()) && Build();
    // Scratch is given back after this, so nothing may be under way even where something failed.
    Wait();
    return outcome_;
  }

 private:
  bool TooLarge() {
    const std::string size = std::to_string(images_.height) + "x" + std::to_string(images_.width);
    outcome_.error = "images of " + size + " pixels and " + std::to_string(task_.count) +
                     " channels of values are too large; `with tf.device(\"CPU\")` computes them on the CPU";
    return false;
  }

  bool Check(Result result, const char* call) {
    if (result != 0 && outcome_.error.empty()) outcome_.error = Describe(driver_, call, result);
    return result == 0;
  }

  bool Wait() { return Check(driver_.StreamSynchronize(OwnStream()), "cuStreamSynchronize"); }

  bool Fill(void* data, unsigned char value, size_t bytes) {
    return Check(driver_.MemsetD8Async(reinterpret_cast<Address>(data), value, bytes, OwnStream()), "cuMemsetD8Async");
  }

  bool Clear(void* data, size_t bytes) { return Fill(data, 0, bytes); }

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
      if (outcome_.batch.status != Status::kOk) return false;
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
    outcome_.batch.status = Prepare<D>(image, low, high, &geometry);
    if (outcome_.batch.status != Status::kOk) {
      const auto peak = [&](int64_t n) { return seen_[n * kFound + kPixelsPeak]; };
      for (int64_t n = 1; n < images_.batch; ++n) {
        if (peak(n) > peak(outcome_.batch.image)) outcome_.batch.image = n;
      }
      return false;
    }
    for (int j = 0; j < D; ++j) {
      job_.own[j] = geometry.own[j];
      job_.previous[j] = geometry.previous[j];
      job_.lowest[j] = static_cast<int>(geometry.lowest[j]);
      job_.stride[j] = geometry.stride[j];
    }
    for (int j = 0; j <= D; ++j) job_.axis[j] = geometry.axis[j];
    const int64_t corners = static_cast<int64_t>(job_.pixels) * job_.axes;
    int64_t slots = 32;
    while (slots < 2 * corners) slots *= 2;
    const bool hashed = geometry.cells / 32 * sizeof(Cell) > static_cast<double>(TableBytes(slots, corners));
    job_.slots = hashed ? static_cast<unsigned>(slots) : 0;
    job_.words = static_cast<unsigned>(((hashed ? corners : static_cast<int64_t>(geometry.cells)) + 31) / 32);
    job_.tiles = (job_.words + kTile - 1) / kTile;
    return true;
  }

  // What an image's vertices are found by.
  static int64_t TableBytes(int64_t slots, int64_t places) {
    return slots * (sizeof(unsigned long long) + sizeof(unsigned)) + places / 32 * sizeof(Cell);
  }

  // The vertices of as many images at a time as there is room for, and then what is computed on them.
  bool Build() {
    const int64_t room = kTableBytes / std::max<int64_t>(TableBytes(job_.slots, job_.words * int64_t{32}), 1);
    const int64_t together = std::min({std::max<int64_t>(room, 1), kMostImages, images_.batch});
    Cell* cells;
    unsigned *before, *vertices, *holders = nullptr;
    unsigned long long* keys = nullptr;
    if (!Take(&kept_, together * job_.words, &cells) || !Take(&kept_, together * job_.tiles, &before) ||
        !Take(&kept_, together, &vertices)) {
      return false;
    }
    const int64_t slots = together * job_.slots;
    if (slots > 0 && !(Take(&kept_, slots, &keys) && Take(&kept_, slots, &holders))) return false;
    std::vector<unsigned> counts(together);
    for (int64_t image = 0; image < images_.batch; image += together) {
      const int64_t here = std::min(together, images_.batch - image);
      Point(image);
      job_.cells = cells;
      job_.keys = keys;
      job_.holders = holders;
      job_.before = before;
      job_.vertices = vertices;
      if (!Number(here) || !Fetch(vertices, here * sizeof(unsigned), counts.data())) return false;
      job_.rows = 1 + *std::max_element(counts.begin(), counts.begin() + here);
      const int64_t items = static_cast<int64_t>(job_.rows) * (job_.count + job_.ones);
      if (items > kMostItems) return TooLarge();
      const int64_t bytes = items * (8 + 4 + 8 * Directions()) + static_cast<int64_t>(job_.rows) * job_.axes * 8;
      const int64_t part = std::min(std::max<int64_t>(kVertexBytes / bytes, 1), here);
      for (int64_t first = 0; first < here; first += part) {
        Point(image + first);
        job_.cells = cells + first * job_.words;
        job_.keys = keys + first * job_.slots;
        job_.holders = holders + first * job_.slots;
        job_.vertices = vertices + first;
        if (!OnVertices(std::min(part, here - first))) return false;
      }
    }
    return true;
  }

  // Finds the vertices and gives them their numbers.
  bool Number(int64_t images) {
    const int64_t slots = images * job_.slots;
    const bool hashed = slots > 0;
    return Clear(job_.cells, images * job_.words * sizeof(Cell)) &&
           (!hashed || (Fill(job_.keys, 0xFF, slots * sizeof(*job_.keys)) &&
                        Fill(job_.holders, 0xFF, slots * sizeof(*job_.holders)))) &&
           Launch(images_.channels == 3 ? kMark5 : kMark3, Blocks(job_.pixels), images) &&
           (!hashed || Launch(kHashMark, Blocks(job_.slots), images)) && Launch(kCount, job_.tiles, images) &&
           Launch(kScan, 1, images) && Launch(kRank, job_.tiles, images) &&
           (!hashed || Launch(kHashRank, Blocks(job_.slots), images));
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
                Clear(job_.sums, images * items * sizeof(int64_t)) &&
                (job_.slots == 0 ? Launch(kConnect, Blocks(job_.words), images)
                                 : Launch(kHashConnect, Blocks(job_.slots), images)) &&
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

}  // namespace cuda
}  // namespace fcam
