// Calls the lattice with odd shapes, sigmas and values for some seconds: what tools/fuzz_lattice.sh builds with
// AddressSanitizer. A call must end in a status, and a good one in finite numbers.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "batch.h"
#include "expect.h"

namespace {

std::mt19937 random_bits;

int Below(int end) { return static_cast<int>(random_bits() % static_cast<unsigned>(end)); }

// Any float: of any bits, of any magnitude, or an ordinary one.
float Number() {
  switch (Below(8)) {
    case 0: {
      const uint32_t bits = random_bits();
      float number;
      std::memcpy(&number, &bits, sizeof number);
      return number;
    }
    case 1:
      return std::pow(10.0f, static_cast<float>(Below(70) - 35));
    case 2:
      return std::numeric_limits<float>::infinity();
    case 3:
      return 0;
    default:
      return static_cast<float>(Below(1000)) / 10;
  }
}

// Numbers that are finite probabilities, but for a few in some of the cases.
std::vector<float> Values(int64_t size) {
  std::vector<float> values(size);
  const bool odd = Below(3) == 0;
  for (float& value : values) value = odd && Below(50) == 0 ? Number() : static_cast<float>(Below(101)) / 100;
  return values;
}

// A positive, finite sigma: others are refused before the library is called.
float Sigma() {
  for (;;) {
    const float sigma = Number();
    if (std::isfinite(sigma) && sigma > 0) return sigma;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
  random_bits.seed(argc > 2 ? std::atoi(argv[2]) : 0);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  const int sides[] = {0, 1, 2, 3, 7, 16, 33, 65};
  long cases = 0, refused = 0;
  while (std::chrono::steady_clock::now() < end) {
    const int64_t batch = Below(4), height = sides[Below(8)], width = sides[Below(8)];
    const int channels = Below(2) ? 3 : 1, count = Below(40) ? Below(6) : 30;
    const int64_t pixels = batch * height * width;
    std::vector<uint8_t> bytes(pixels * channels);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_bits());
    std::vector<float> floats = Values(pixels * channels), values = Values(pixels * count);
    const bool is_uint8 = Below(2);
    const void* image = is_uint8 ? static_cast<const void*>(bytes.data()) : floats.data();
    const fcam::Images images = {image, is_uint8, batch, height, width, channels, Sigma(), Sigma()};
    std::vector<float> out(values.size()), losses(batch);
    fcam::BatchStatus status;
    switch (Below(3)) {
      case 0:
        status = fcam::FilterBatch(images, values.data(), count,
                                   Below(2) ? fcam::Direction::kForward : fcam::Direction::kTransposed, out.data());
        break;
      case 1:
        status = fcam::CrfLossBatch(images, values.data(), count, Below(2), losses.data(), out.data());
        break;
      default: {
        const std::vector<float> matrix = Values(static_cast<int64_t>(count) * count);
        const fcam::Crf crf = {Below(4) ? Sigma() : 0, Below(4) ? Sigma() : 0, Sigma(),
                               Below(2) ? matrix.data() : nullptr, Below(4)};
        status = fcam::DenseCrfBatch(images, values.data(), count, crf, out.data());
      }
    }
    Expect(status.image >= 0 && status.image <= batch, "the image of a status is one of the batch");
    refused += status.status != fcam::Status::kOk;
    ++cases;
  }
  std::printf("%ld cases, %ld of them refused\n", cases, refused);
  return failures != 0;
}
