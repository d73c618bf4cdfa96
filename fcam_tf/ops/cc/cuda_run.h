// What the filter, the loss and mean field share on a GPU: the check of the inputs, the lattices of all images, a few at
// a time, and the way from pixels to their vertices and back.
#ifndef FCAM_CUDA_RUN_H_
#define FCAM_CUDA_RUN_H_

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cuda_work.h"
#include "geometry.h"

namespace fcam {
namespace cuda {

constexpr int64_t kMostPixels = 128 * 1024 * 1024;    // of an image: corners and slots have 32-bit numbers
constexpr int64_t kMostItems = 2147483647;            // channels of an image's vertices
constexpr int64_t kMostImages = 32768;                // blocks along y
constexpr int64_t kTableBytes = 256 * 1024 * 1024;    // of the images that are built together
constexpr int64_t kVertexBytes = 1024 * 1024 * 1024;  // of the images that are blurred together
constexpr int64_t kInspected = 64 * kThreads;         // values of an image that are looked at together

inline float FromOrdered(unsigned ordered) {
  const unsigned bits = ordered >> 31 ? ordered & 0x7fffffffu : ~ordered;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

class Run : protected Work {
 public:
  // `out` may be null.
  Run(const Device& device, const Allocate& allocate, const Images& images, const float* values, int count, float* out)
      : Work(device, allocate), images_(images), values_(values), out_(out) {
    job_.is_uint8 = images.is_uint8;
    job_.channels = images.channels;
    job_.axes = images.channels + 3;
    job_.alpha = 1.0f / (1.0f + 1.0f / (1 << (images.channels + 2)));
    job_.width = static_cast<int>(images.width);
    job_.count = count;
  }
  virtual ~Run() = default;

  Outcome Compute() {
    if (!Start()) return outcome_;
    const int64_t pixels = images_.height * images_.width;
    if (pixels > kMostPixels) return TooLarge(), outcome_;
    job_.pixels = static_cast<int>(pixels);
    if (images_.batch == 0 || pixels == 0 || job_.count == 0) {
      WithoutValues();
    } else {
      Inspect() && (images_.channels == 3 ? Place<5>() : Place<3>()) && Build();
    }
    // Scratch is given back after this, so nothing may be under way even where something failed.
    Wait();
    return outcome_;
  }

 protected:
  // What is computed on the lattices of some images, which the job points to.
  virtual bool OnVertices(int64_t images) = 0;

  // What is computed where the batch is empty, or all that it has.
  virtual void WithoutValues() {}

  // Memory that an image takes besides its lattice.
  virtual int64_t OtherBytes() const { return 0; }

  // Points the job to an image and what belongs to it.
  virtual void Point(int64_t image) {
    const int64_t pixels = image * job_.pixels;
    job_.image = static_cast<const char*>(images_.pixels) + pixels * job_.channels * (job_.is_uint8 ? 1 : 4);
    job_.values = values_ + pixels * job_.count;
    job_.found = found_ + image * kFound;
    job_.out = out_ == nullptr ? nullptr : out_ + pixels * job_.count;
  }

  bool TooLarge() {
    const std::string size = std::to_string(images_.height) + "x" + std::to_string(images_.width);
    outcome_.error = "images of " + size + " pixels and " + std::to_string(job_.count) +
                     " channels of values are too large";
    return false;
  }

  // The vertices of as many images at a time as there is room for, and then what is computed on them.
  virtual bool Build() {
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
      const int64_t items = Items();
      if (items > kMostItems) return TooLarge();
      const int64_t bytes = items * (8 + 4 + 8 * directions_) + static_cast<int64_t>(job_.rows) * job_.axes * 8;
      const int64_t part = std::min(std::max<int64_t>(kVertexBytes / (bytes + OtherBytes()), 1), here);
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

  // Takes memory for the filter, and finds the neighbours of each vertex.
  bool Connect(int64_t images, Memory* scratch) {
    const int64_t items = Items();
    return Take(scratch, images * job_.axes * 2 * job_.rows, &job_.neighbours) &&
           Take(scratch, images * items, &job_.sums) && Take(scratch, images * items, &job_.splatted) &&
           Take(scratch, images * items * 2 * directions_, &job_.blurred) &&
           (job_.slots == 0 ? Launch(kConnect, Blocks(job_.words), images)
                            : Launch(kHashConnect, Blocks(job_.slots), images));
  }

  // From values to vertices, and along all axes.
  bool Blur(int64_t images) {
    const int64_t items = Items();
    bool done = Clear(job_.sums, images * items * sizeof(int64_t)) &&
                Launch(images_.channels == 3 ? kSplat5 : kSplat3, Blocks(job_.pixels), images) &&
                Launch(kSettle, Blocks(items), images);
    for (int step = 0; done && step < job_.axes; ++step) {
      done = Launch(kBlur, Blocks(items), images, directions_, step);
    }
    return done;
  }

  bool Slice(int64_t images) {
    return Launch(images_.channels == 3 ? kSlice5 : kSlice3, Blocks(job_.pixels), images);
  }

  // Channels of an image's vertices.
  int64_t Items() const { return static_cast<int64_t>(job_.rows) * (job_.count + job_.ones); }

  const Images& images_;
  unsigned directions_ = 1;
  Memory kept_;

 private:
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

  const float* values_;
  float* out_;
  unsigned* found_ = nullptr;
  std::vector<unsigned> seen_;
};

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_RUN_H_
