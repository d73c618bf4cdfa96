// Images with values, and memory of the device, for the tests of the CUDA kernels on the CPU.
#ifndef FCAM_CUDA_CASES_H_
#define FCAM_CUDA_CASES_H_

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_lattice.h"
#include "cuda_shim.h"
#include "expect.h"

enum class Kind { kNoise, kConstant, kPhoto };

struct Case {
  int64_t batch, height, width;
  int channels, count;
  float sigma_rgb, sigma_xy;
  bool is_uint8;
  Kind kind;
  // Of results. Where coordinates are large, float32 leaves little for their fractions, and it matters whether the CPU
  // rounds between a product and a sum.
  double tolerance = 1e-5;
};

inline std::string Name(const Case& c) {
  char text[160];
  std::snprintf(text, sizeof text, "%ldx%ldx%ldx%d, %d classes, sigmas %g/%g, %s, image %d", static_cast<long>(c.batch),
                static_cast<long>(c.height), static_cast<long>(c.width), c.channels, c.count, c.sigma_rgb, c.sigma_xy,
                c.is_uint8 ? "uint8" : "float", static_cast<int>(c.kind));
  return text;
}

class Data {
 public:
  explicit Data(const Case& c) : c_(c) {
    std::mt19937 random(1);
    std::uniform_int_distribution<int> grey(0, 255);
    std::uniform_real_distribution<float> unit(0, 1);
    for (int64_t n = 0; n < c.batch; ++n) {
      for (int64_t y = 0; y < c.height; ++y) {
        for (int64_t x = 0; x < c.width; ++x) {
          for (int k = 0; k < c.channels; ++k) {
            const double wave = 128 + 100 * std::sin(0.13 * x * (k + 1) + n) * std::cos(0.09 * y) + 8 * unit(random);
            const int noise = grey(random);
            const int value = c.kind == Kind::kConstant ? 77 : c.kind == Kind::kNoise ? noise : std::lround(wave);
            bytes_.push_back(static_cast<uint8_t>(value));
            floats.push_back(static_cast<float>(value) * 1.01f - 20);
          }
          float total = 0;
          for (int k = 0; k < c.count; ++k) total += values.emplace_back(unit(random) + 0.01f);
          for (int k = 0; k < c.count; ++k) values[values.size() - 1 - k] /= total;
        }
      }
    }
  }

  fcam::Images images() const {
    const void* pixels = c_.is_uint8 ? static_cast<const void*>(bytes_.data()) : floats.data();
    return {pixels, c_.is_uint8, c_.batch, c_.height, c_.width, c_.channels, c_.sigma_rgb, c_.sigma_xy};
  }

  std::vector<float> values;
  std::vector<float> floats;

 private:
  Case c_;
  std::vector<uint8_t> bytes_;
};

// Every buffer by itself, so that a sanitizer sees what is written behind it, and full of nonsense at first.
class Heap : public fcam::cuda::Scratch {
 public:
  explicit Heap(size_t bytes) {
    data = std::malloc(bytes);
    std::memset(data, 0xCD, bytes);
    ++live;
  }
  ~Heap() override {
    Expect(!shim::record.pending, "memory is given back when no work is under way");
    std::free(data);
    --live;
  }
  static int live;
};
inline int Heap::live = 0;

inline std::unique_ptr<fcam::cuda::Scratch> FromHeap(size_t bytes) { return std::make_unique<Heap>(bytes); }

// Memory for so many allocations.
class Few {
 public:
  explicit Few(int count) : count_(count), left_(count) {}

  fcam::cuda::Allocate allocate() {
    return [this](size_t bytes) {
      refused_ = bytes;
      return left_-- > 0 ? FromHeap(bytes) : nullptr;
    };
  }

  // What was refused is told, in the status and in bytes.
  void ExpectTold(const fcam::cuda::Outcome& outcome) const {
    const std::string told = "there is not enough memory for another " + std::to_string(refused_) + " bytes";
    Expect(outcome.batch.status == fcam::Status::kOutOfMemory && outcome.error == told, "no memory is told", count_);
  }

 private:
  const int count_;
  int left_;
  size_t refused_ = 0;
};

inline const fcam::cuda::Device& TheDevice() {
  std::string problem;
  static const fcam::cuda::Device* device = fcam::cuda::DeviceOf(&problem, &problem);
  if (device == nullptr) std::printf("FAILED: %s\n", problem.c_str()), std::exit(1);
  return *device;
}

inline double Norm(const std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

inline double Distance(std::vector<float> got, const std::vector<float>& expected) {
  for (size_t i = 0; i < got.size(); ++i) got[i] -= expected[i];
  return Norm(got);
}

// What holds after each call that does what it is asked for.
inline void ExpectGood(const fcam::cuda::Outcome& outcome, const std::string& name) {
  if (!outcome.error.empty() || outcome.batch.status != fcam::Status::kOk) {
    std::printf("FAILED: %s: %s %s\n", name.c_str(), outcome.error.c_str(), fcam::Describe(outcome.batch.status));
    ++failures;
  }
  Expect(shim::record.clean, "work is queued after the context was synchronised, with the context current");
  Expect(shim::record.depth == 0, "the context is current no longer");
  Expect(Heap::live == 0, "scratch is given back");
}

#endif  // FCAM_CUDA_CASES_H_
