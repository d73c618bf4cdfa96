// Runs mean field's CUDA kernels and the code that launches them on the CPU, and compares with the CPU's mean field.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cuda_cases.h"
#include "cuda_lattice.h"
#include "cuda_shim.h"
#include "expect.h"

namespace {

struct Kernels {
  const char* name;
  float bilateral_weight, spatial_weight, spatial_sigma;
  bool matrix;
  int iterations;
};

constexpr Kernels kBilateral = {"bilateral", 3, 0, 1, false, 4};
constexpr Kernels kSpatial = {"spatial", 0, 4, 1.5f, false, 4};
constexpr Kernels kBoth = {"both", 2, 3, 0.7f, false, 4};
constexpr Kernels kMatrix = {"matrix", 2, 3, 2.5f, true, 3};

class Problem {
 public:
  Problem(const Case& c, const Kernels& kernels)
      : name(Name(c) + ", " + kernels.name), c_(c), data_(c), unaries(data_.values) {
    for (float& value : unaries) value = -std::log(value);  // of probabilities above 0
    for (int i = 0; i < c.count * c.count; ++i) matrix_.push_back(0.1f * static_cast<float>(i * 7 % 11));
    crf = {kernels.bilateral_weight, kernels.spatial_weight, kernels.spatial_sigma,
           kernels.matrix ? matrix_.data() : nullptr, kernels.iterations};
  }
  Problem(const Problem&) = delete;

  fcam::Images images() const { return data_.images(); }

  fcam::cuda::Outcome Run(const fcam::cuda::Allocate& allocate, const fcam::Images& images, float* marginals) const {
    shim::record.launches = 0;
    return fcam::cuda::DenseCrf(TheDevice(), allocate, images, unaries.data(), c_.count, crf, marginals);
  }

  std::vector<float> OnDevice() const {
    std::vector<float> marginals(unaries.size(), NAN);
    ExpectGood(Run(FromHeap, images(), marginals.data()), name);
    return marginals;
  }

  std::vector<float> OnCpu() const {
    std::vector<float> marginals(unaries.size(), NAN);
    const auto status = fcam::DenseCrfBatch(images(), unaries.data(), c_.count, crf, marginals.data()).status;
    Expect(status == fcam::Status::kOk, name.c_str());
    return marginals;
  }

  const std::string name;

 private:
  const Case c_;
  const Data data_;
  std::vector<float> matrix_;

 public:
  std::vector<float> unaries;
  fcam::Crf crf;
};

double Largest(const std::vector<float>& one, const std::vector<float>& other) {
  double largest = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    const double distance = std::fabs(static_cast<double>(one[i]) - other[i]);
    if (!(distance <= largest)) largest = distance;  // NaN stays
  }
  return largest;
}

void CheckAgreesWithTheCpu(const Case& c, const Kernels& kernels, double tolerance = 1e-5) {
  const Problem problem(c, kernels);
  const double worst = Largest(problem.OnDevice(), problem.OnCpu());
  Expect(worst < tolerance, problem.name.c_str(), worst);
}

void CheckOrderOfThreadsChangesNothing(const Case& c, const Kernels& kernels) {
  const Problem problem(c, kernels);
  const std::vector<float> forward = problem.OnDevice();
  for (shim::Order order : {shim::Order::kBackward, shim::Order::kShuffled}) {
    shim::Block::Get().order = order;
    const std::vector<float> other = problem.OnDevice();
    Expect(std::memcmp(other.data(), forward.data(), other.size() * sizeof(float)) == 0,
           (problem.name + ": order of threads").c_str(), static_cast<int>(order));
  }
  shim::Block::Get().order = shim::Order::kForward;
}

void CheckImagesAreIndependent(const Case& c) {
  Problem problem(c, kBoth);
  const std::vector<float> all = problem.OnDevice();
  const int64_t pixels = c.height * c.width, size = pixels * c.count;
  const std::vector<float> unaries = problem.unaries;
  for (int64_t n = 0; n < c.batch; ++n) {
    fcam::Images one = problem.images();
    one.batch = 1;
    one.pixels = static_cast<const char*>(one.pixels) + n * pixels * c.channels * (c.is_uint8 ? 1 : 4);
    problem.unaries.assign(unaries.begin() + n * size, unaries.begin() + (n + 1) * size);
    std::vector<float> alone(size, NAN);
    ExpectGood(problem.Run(FromHeap, one, alone.data()), problem.name);
    Expect(std::memcmp(alone.data(), all.data() + n * size, size * sizeof(float)) == 0,
           (problem.name + ": alone and in the batch").c_str(), static_cast<double>(n));
  }
}

void CheckFailures(const Case& c, const Kernels& kernels, int launches, int allocations) {
  const Problem problem(c, kernels);
  std::vector<float> marginals(problem.unaries.size());
  for (int fail_at = 0; fail_at < launches; ++fail_at) {
    shim::record.fail_at = fail_at;
    const auto outcome = problem.Run(FromHeap, problem.images(), marginals.data());
    Expect(outcome.error == "cuLaunchKernel: made to fail (700)", "a failed launch is told", fail_at);
    Expect(Heap::live == 0 && shim::record.depth == 0, "a failed launch leaves nothing behind", fail_at);
  }
  shim::record.fail_at = -1;
  int taken = 0;
  ExpectGood(problem.Run([&](size_t bytes) { return ++taken, FromHeap(bytes); }, problem.images(), marginals.data()),
             problem.name);
  Expect(shim::record.launches == launches, "the last launch was made to fail", shim::record.launches);
  Expect(taken == allocations, "the last allocation was made to fail", taken);
  for (int last = 0; last < allocations; ++last) {
    Few few(last);
    few.ExpectTold(problem.Run(few.allocate(), problem.images(), marginals.data()));
    Expect(Heap::live == 0 && shim::record.depth == 0, "no memory leaves nothing behind", last);
  }
}

void CheckRefusals() {
  Problem problem({2, 5, 6, 3, 2, 15, 50, false, Kind::kNoise}, kSpatial);
  std::vector<float> marginals(problem.unaries.size());
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    problem.unaries.back() = bad;
    const auto outcome = problem.Run(FromHeap, problem.images(), marginals.data()).batch;
    Expect(outcome.status == fcam::Status::kValuesNotFinite && outcome.image == 1, "unaries that are not finite", bad);
  }
  problem.unaries.back() = 0;
  fcam::Images images = problem.images();
  images.sigma_xy = 1e-12f;
  Expect(problem.Run(FromHeap, images, marginals.data()).batch.status == fcam::Status::kRangeTooLarge,
         "a range past coordinates");
  images.height = 0;
  ExpectGood(problem.Run(FromHeap, images, nullptr), "images without pixels");
}

}  // namespace

// With an argument, the first cases only.
int main(int count, char**) {
  const bool quick = count > 1;
  // With a bitmap and with a hash table, in colour and grey.
  const Case first[] = {
      {2, 20, 31, 3, 2, 60, 50, true, Kind::kPhoto},
      {2, 13, 20, 3, 5, 2, 10, true, Kind::kNoise},
      {2, 17, 15, 1, 3, 10, 9, true, Kind::kNoise},
  };
  for (const Case& c : first) {
    for (const Kernels& kernels : {kBilateral, kSpatial, kBoth, kMatrix}) CheckAgreesWithTheCpu(c, kernels);
    CheckOrderOfThreadsChangesNothing(c, kMatrix);
    CheckImagesAreIndependent(c);
  }
  CheckRefusals();
  CheckFailures({2, 5, 6, 3, 2, 15, 20, true, Kind::kNoise}, {"both", 1, 1, 1, false, 1}, 31, 15);
  if (!quick) {
    const Case others[] = {
        {1, 1, 1, 3, 3, 60, 100, true, Kind::kNoise},      {1, 24, 17, 3, 1, 60, 50, true, Kind::kPhoto},
        {2, 24, 24, 3, 3, 60, 20, true, Kind::kConstant},  {1, 33, 17, 3, 21, 60, 40, false, Kind::kPhoto},
        {1, 1, 40, 3, 2, 15, 100, true, Kind::kNoise},     {2, 23, 1, 1, 4, 15, 100, true, Kind::kNoise},
        {1, 40, 37, 3, 2, 15, 100, true, Kind::kPhoto},    {1, 20, 20, 3, 2, 1e4f, 1e5f, true, Kind::kPhoto},
        {1, 19, 18, 3, 33, 0.5f, 2, false, Kind::kNoise},
    };
    for (const Case& c : others) {
      for (const Kernels& kernels : {kBilateral, kSpatial, kBoth, kMatrix}) CheckAgreesWithTheCpu(c, kernels);
      CheckAgreesWithTheCpu(c, {"no iterations", 3, 4, 1, false, 0});
      // From a sigma of 3 on, the CPU's kernel is an approximation.
      for (float sigma : {0.01f, 3.0f, 12.0f, 1e4f}) {
        CheckAgreesWithTheCpu(c, {"another sigma", 0, 4, sigma, false, 3}, 3e-5);
      }
      CheckOrderOfThreadsChangesNothing(c, kBoth);
    }
    CheckFailures({1, 5, 6, 1, 2, 60, 50, true, Kind::kPhoto}, {"bilateral", 1, 0, 1, true, 2}, 31, 10);
    CheckFailures({3, 5, 6, 3, 2, 15, 20, true, Kind::kNoise}, {"spatial", 0, 1, 1, false, 2}, 8, 4);
  }
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
