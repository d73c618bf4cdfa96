// Checks of the lattice without Python: also what the sanitizers run.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "batch.h"
#include "expect.h"
#include "thread_pool.h"

namespace {

struct Case {
  int64_t batch, height, width;
  int channels, count;
  float sigma_rgb, sigma_xy;
  bool is_uint8;
};

class Data {
 public:
  explicit Data(const Case& c, unsigned seed = 1) : c_(c) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> grey(0, 255);
    std::uniform_real_distribution<float> unit(0, 1);
    const int64_t pixels = c.batch * c.height * c.width;
    for (int64_t i = 0; i < pixels * c.channels; ++i) {
      bytes_.push_back(static_cast<uint8_t>(grey(random)));
      floats_.push_back(bytes_.back() + 0.25f);
    }
    for (int64_t i = 0; i < pixels; ++i) {
      float total = 0;
      for (int k = 0; k < c.count; ++k) {
        values.push_back(unit(random) + 0.01f);
        total += values.back();
      }
      for (int k = 0; k < c.count; ++k) values[values.size() - 1 - k] /= total;
    }
  }

  fcam::Images images() const {
    const void* pixels = c_.is_uint8 ? static_cast<const void*>(bytes_.data()) : floats_.data();
    return {pixels, c_.is_uint8, c_.batch, c_.height, c_.width, c_.channels, c_.sigma_rgb, c_.sigma_xy};
  }

  std::vector<float> Filter(const std::vector<float>& input, fcam::Direction direction) const {
    std::vector<float> out(input.size());
    const fcam::BatchStatus status = fcam::FilterBatch(images(), input.data(), c_.count, direction, out.data());
    Expect(status.status == fcam::Status::kOk, fcam::Describe(status.status));
    return out;
  }

  std::vector<float> Loss(const std::vector<float>& input, std::vector<float>* gradient) const {
    std::vector<float> losses(c_.batch);
    gradient->resize(input.size());
    const fcam::BatchStatus status =
        fcam::CrfLossBatch(images(), input.data(), c_.count, true, losses.data(), gradient->data());
    Expect(status.status == fcam::Status::kOk, fcam::Describe(status.status));
    return losses;
  }

  std::vector<float> values;

 private:
  Case c_;
  std::vector<uint8_t> bytes_;
  std::vector<float> floats_;
};

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void CheckTransposeIsDual(const Case& c) {
  const Data a(c, 1), b(c, 2);
  const double left = Dot(b.values, a.Filter(a.values, fcam::Direction::kForward));
  const double right = Dot(a.Filter(b.values, fcam::Direction::kTransposed), a.values);
  Expect(std::fabs(left - right) <= 1e-5 * std::fabs(left), "b.Wa = W'b.a", left / right - 1);
}

void CheckGradientIsThatOfTheLoss(const Case& c) {
  // The loss is quadratic, so the central difference is exact for any step.
  Data data(c);
  const Data direction(c, 7);
  std::vector<float> gradient, unused, plus = data.values, minus = data.values;
  data.Loss(data.values, &gradient);
  for (size_t i = 0; i < plus.size(); ++i) {
    plus[i] += 0.5f * direction.values[i];
    minus[i] -= 0.5f * direction.values[i];
  }
  double difference = 0, scale = 0;
  const std::vector<float> up = data.Loss(plus, &unused), down = data.Loss(minus, &unused);
  for (int64_t n = 0; n < c.batch; ++n) {
    difference += static_cast<double>(up[n]) - down[n];
    scale += std::fabs(up[n]) + std::fabs(down[n]);
  }
  const double slope = Dot(gradient, direction.values);
  Expect(std::fabs(difference - slope) <= 1e-5 * scale, "gradient = central difference", difference / slope - 1);
}

void CheckImagesAreIndependent(const Case& c) {
  const Data data(c);
  std::vector<float> together, alone;
  const std::vector<float> losses = data.Loss(data.values, &together);
  const fcam::Images images = data.images();
  const int64_t size = c.height * c.width;
  for (int64_t n = 0; n < c.batch; ++n) {
    fcam::Images one = images;
    one.batch = 1;
    one.pixels = static_cast<const char*>(images.pixels) + n * size * c.channels * (c.is_uint8 ? 1 : 4);
    float loss;
    alone.resize(size * c.count);
    fcam::CrfLossBatch(one, data.values.data() + n * size * c.count, c.count, true, &loss, alone.data());
    Expect(loss == losses[n], "an image's loss does not depend on the batch", loss - losses[n]);
    Expect(std::memcmp(alone.data(), together.data() + n * size * c.count, alone.size() * sizeof(float)) == 0,
           "an image's gradient does not depend on the batch");
  }
}

// Mean field without the lattice's tricks: every filter is a call of its own.
void CheckMeanField(const Case& c, bool potts) {
  const Data data(c);
  const fcam::Images images = data.images();
  const int64_t pixels = c.height * c.width;
  std::vector<float> matrix(c.count * c.count);
  for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = potts ? -static_cast<float>(i % (c.count + 1) == 0) : std::sin(i);
  const fcam::Crf crf = {2, 3, 1.5f, potts ? nullptr : matrix.data(), 3};
  std::vector<float> got(data.values.size());
  const fcam::BatchStatus status = fcam::DenseCrfBatch(images, data.values.data(), c.count, crf, got.data());
  Expect(status.status == fcam::Status::kOk, fcam::Describe(status.status));

  auto gaussian = [&](const std::vector<float>& in, int count) {
    std::vector<float> out(in.size());
    for (int64_t p = 0; p < c.batch * pixels; ++p) {
      const int64_t n = p / pixels, y = p % pixels / c.width, x = p % c.width;
      for (int64_t v = std::max<int64_t>(0, y - 9); v <= std::min(c.height - 1, y + 9); ++v) {
        for (int64_t u = std::max<int64_t>(0, x - 9); u <= std::min(c.width - 1, x + 9); ++u) {
          const double affinity = std::exp(-((y - v) * (y - v) + (x - u) * (x - u)) / 4.5);
          const int64_t other = n * pixels + v * c.width + u;
          for (int k = 0; k < count; ++k) out[p * count + k] += static_cast<float>(affinity * in[other * count + k]);
        }
      }
    }
    return out;
  };
  auto lattice = [&](const std::vector<float>& in, int count) {
    std::vector<float> out(in.size());
    fcam::FilterBatch(images, in.data(), count, fcam::Direction::kForward, out.data());
    return out;
  };
  const std::vector<float> ones(c.batch * pixels, 1);
  const std::vector<float> scales[] = {lattice(ones, 1), gaussian(ones, 1)};
  std::vector<float> expected(got.size()), messages(got.size(), 0), scaled(got.size());
  for (int iteration = 0; iteration <= crf.iterations; ++iteration) {
    for (int64_t p = 0; p < c.batch * pixels; ++p) {
      double sum = 0;
      for (int l = 0; l < c.count; ++l) {
        double energy = data.values[p * c.count + l];
        for (int m = 0; m < c.count; ++m) energy += matrix[l * c.count + m] * messages[p * c.count + m];
        sum += expected[p * c.count + l] = static_cast<float>(std::exp(-energy));
      }
      for (int l = 0; l < c.count; ++l) expected[p * c.count + l] /= static_cast<float>(sum);
    }
    std::fill(messages.begin(), messages.end(), 0.0f);
    for (int kernel = 0; kernel < 2; ++kernel) {
      auto scale = [&](size_t i) { return 1 / std::sqrt(scales[kernel][i / c.count]); };
      for (size_t i = 0; i < scaled.size(); ++i) scaled[i] = scale(i) * expected[i];
      const std::vector<float> filtered = kernel == 0 ? lattice(scaled, c.count) : gaussian(scaled, c.count);
      for (size_t i = 0; i < scaled.size(); ++i) {
        messages[i] += (kernel == 0 ? crf.bilateral_weight : crf.spatial_weight) * scale(i) * filtered[i];
      }
    }
  }
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::fmax(worst, std::fabs(got[i] - expected[i]));
  Expect(worst < 1e-4, "mean field = filters and softmax, step by step", worst);
}

void CheckCallsMayOverlap() {
  const Case c = {4, 33, 47, 3, 2, 15, 50, true};
  const Data data(c);
  std::vector<float> expected;
  data.Loss(data.values, &expected);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        std::vector<float> gradient(expected.size()), losses(c.batch);
        fcam::CrfLossBatch(data.images(), data.values.data(), c.count, true, losses.data(), gradient.data());
        wrong[t] += gradient != expected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int count : wrong) Expect(count == 0, "calls from several threads agree", count);
}

void CheckEveryIndexIsVisitedOnce() {
  std::vector<int> visits(1000, 0);
  fcam::ParallelFor(1000, [&](int64_t i) { ++visits[i]; });
  for (int count : visits) Expect(count == 1, "each index once", count);
}

void CheckRefusals() {
  const Case c = {2, 5, 6, 3, 2, 15, 50, false};
  Data data(c);
  std::vector<float> losses(2), gradient(data.values.size());
  data.values.back() = NAN;
  fcam::BatchStatus status =
      fcam::CrfLossBatch(data.images(), data.values.data(), 2, true, losses.data(), gradient.data());
  Expect(status.status == fcam::Status::kValuesNotFinite && status.image == 1, "NaN probability is told");
  const Case tiny = {1, 5, 6, 3, 2, 1e-12f, 50, true};
  const Data far(tiny);
  status = fcam::CrfLossBatch(far.images(), far.values.data(), 2, true, losses.data(), gradient.data());
  Expect(status.status == fcam::Status::kRangeTooLarge, "a range past the coordinates is told");
}

}  // namespace

int main() {
  const Case cases[] = {
      {1, 1, 1, 3, 2, 15, 100, true},   {2, 1, 19, 3, 2, 15, 100, true}, {2, 23, 1, 1, 1, 15, 100, true},
      {3, 40, 31, 3, 2, 15, 50, true},  {1, 40, 31, 3, 5, 15, 50, false}, {1, 20, 21, 1, 21, 30, 20, false},
      {1, 64, 64, 3, 3, 2, 2, true},  // hashed
      {1, 30, 30, 3, 8, 0.01f, 0.01f, true},  // addresses past 64 bits
  };
  for (const Case& c : cases) {
    CheckTransposeIsDual(c);
    CheckGradientIsThatOfTheLoss(c);
    CheckImagesAreIndependent(c);
  }
  const Case for_mean_field[] = {
      {1, 1, 1, 3, 2, 15, 100, true},    {2, 1, 19, 3, 1, 15, 100, true}, {2, 40, 31, 1, 3, 15, 50, false},
      {1, 23, 40, 3, 21, 30, 20, false}, {1, 200, 190, 3, 4, 15, 50, true},  // in strips
      {1, 180, 200, 3, 2, 2, 2, true},                                      // and hashed
  };
  for (const Case& c : for_mean_field) {
    CheckMeanField(c, true);
    CheckMeanField(c, false);
  }
  CheckCallsMayOverlap();
  CheckEveryIndexIsVisitedOnce();
  CheckRefusals();
  std::printf("%s, %d failures\n", fcam::InstructionSet(), failures);
  return failures == 0 ? 0 : 1;
}
