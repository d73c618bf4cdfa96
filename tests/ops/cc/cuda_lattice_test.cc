// Runs the CUDA kernels and the code that launches them on the CPU, and compares with the lattice of the CPU.

#include "cuda_lattice.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cuda_cases.h"
#include "cuda_shim.h"
#include "expect.h"

namespace {

struct Results {
  std::vector<float> filtered, losses, gradient;
};

Results OnDevice(const Case& c, const Data& data, bool flag) {
  Results r;
  const fcam::Images images = data.images();
  r.filtered.assign(data.values.size(), NAN);
  r.gradient = r.filtered;
  r.losses.assign(c.batch, NAN);
  const auto direction = flag ? fcam::Direction::kForward : fcam::Direction::kTransposed;
  const auto filter =
      fcam::cuda::Filter(TheDevice(), FromHeap, images, data.values.data(), c.count, direction, r.filtered.data());
  shim::record.launches = 0;
  const auto loss = fcam::cuda::CrfLoss(TheDevice(), FromHeap, images, data.values.data(), c.count, flag,
                                        r.losses.data(), r.gradient.data());
  ExpectGood(filter, Name(c));
  ExpectGood(loss, Name(c));
  return r;
}

void CheckAgreesWithTheCpu(const Case& c) {
  const Data data(c);
  for (bool flag : {true, false}) {
    const auto direction = flag ? fcam::Direction::kForward : fcam::Direction::kTransposed;
    Results cpu;
    cpu.filtered.resize(data.values.size());
    cpu.gradient.resize(data.values.size());
    cpu.losses.resize(c.batch);
    fcam::FilterBatch(data.images(), data.values.data(), c.count, direction, cpu.filtered.data());
    fcam::CrfLossBatch(data.images(), data.values.data(), c.count, flag, cpu.losses.data(), cpu.gradient.data());
    const Results gpu = OnDevice(c, data, flag);
    // Loss and gradient may be small differences of filtered values, and are measured by these.
    const double scale = Norm(cpu.filtered);
    const double worst = std::fmax(Distance(gpu.filtered, cpu.filtered), Distance(gpu.gradient, cpu.gradient)) / scale;
    Expect(worst < c.tolerance, (Name(c) + ": filter and gradient").c_str(), worst);
    const double loss = Distance(gpu.losses, cpu.losses) / (Norm(cpu.losses) + scale * Norm(data.values));
    Expect(loss < c.tolerance, (Name(c) + ": loss").c_str(), loss);
  }
}

// Bit for bit: a missing barrier or a sum that depends on the order shows here.
void CheckOrderOfThreadsChangesNothing(const Case& c) {
  const Data data(c);
  shim::Block& block = shim::Block::Get();
  const Results forward = OnDevice(c, data, true);
  for (shim::Order order : {shim::Order::kBackward, shim::Order::kShuffled}) {
    block.order = order;
    const Results other = OnDevice(c, data, true);
    Expect(other.filtered == forward.filtered && other.losses == forward.losses && other.gradient == forward.gradient,
           (Name(c) + ": order of threads").c_str(), static_cast<int>(order));
  }
  block.order = shim::Order::kForward;
}

void CheckImagesAreIndependent(const Case& c) {
  const Data data(c);
  const Results all = OnDevice(c, data, true);
  const int64_t pixels = c.height * c.width, size = pixels * c.count;
  for (int64_t n = 0; n < c.batch; ++n) {
    fcam::Images one = data.images();
    one.batch = 1;
    one.pixels = static_cast<const char*>(one.pixels) + n * pixels * c.channels * (c.is_uint8 ? 1 : 4);
    float loss;
    std::vector<float> gradient(size);
    fcam::cuda::CrfLoss(TheDevice(), FromHeap, one, data.values.data() + n * size, c.count, true, &loss,
                        gradient.data());
    Expect(loss == all.losses[n], (Name(c) + ": loss alone and in the batch").c_str(), loss - all.losses[n]);
    Expect(std::memcmp(gradient.data(), all.gradient.data() + n * size, size * sizeof(float)) == 0,
           (Name(c) + ": gradient alone and in the batch").c_str());
  }
}

void CheckMagnitudes() {
  const Case c = {1, 9, 11, 3, 2, 90, 20, true, Kind::kNoise};
  for (float factor : {1e-30f, 1e-12f, 1e12f, 1e30f}) {
    Data data(c);
    for (float& value : data.values) value *= factor;
    std::vector<float> cpu(data.values.size()), gpu(cpu);
    fcam::FilterBatch(data.images(), data.values.data(), 2, fcam::Direction::kForward, cpu.data());
    fcam::cuda::Filter(TheDevice(), FromHeap, data.images(), data.values.data(), 2, fcam::Direction::kForward,
                       gpu.data());
    for (size_t i = 0; i < cpu.size(); ++i) cpu[i] /= factor, gpu[i] /= factor;
    Expect(Distance(gpu, cpu) < 1e-5 * Norm(cpu), "values of any magnitude", factor);
  }
}

void CheckRefusals() {
  const Case c = {2, 5, 6, 3, 2, 15, 50, false, Kind::kNoise};
  Data data(c);
  std::vector<float> losses(2), gradient(data.values.size());
  auto run = [&](const fcam::Images& images) {
    return fcam::cuda::CrfLoss(TheDevice(), FromHeap, images, data.values.data(), 2, true, losses.data(),
                               gradient.data());
  };
  data.values.back() = NAN;
  auto outcome = run(data.images());
  Expect(outcome.batch.status == fcam::Status::kValuesNotFinite && outcome.batch.image == 1, "NaN probability");
  data.values.back() = -INFINITY;
  Expect(run(data.images()).batch.status == fcam::Status::kValuesNotFinite, "infinite probability");
  data.floats[3] = INFINITY;
  outcome = run(data.images());
  Expect(outcome.batch.status == fcam::Status::kImageNotFinite && outcome.batch.image == 0, "infinite image");
  data.floats[3] = 0;
  data.values.back() = 0;
  data.floats[94] = 1e6f;
  fcam::Images images = data.images();
  images.sigma_rgb = 1e-4f;
  outcome = run(images);
  Expect(outcome.batch.status == fcam::Status::kRangeTooLarge && outcome.batch.image == 1, "a range past coordinates");
  images.width = images.height = 100000;
  Expect(run(images).error.find("100000x100000 pixels and 2 channels") != std::string::npos, "too many pixels");
  Expect(Heap::live == 0 && shim::record.depth == 0, "refusals leave nothing behind");
}

void CheckFailures(const Case& c, int launches, int allocations) {
  const Data data(c);
  std::vector<float> losses(c.batch), gradient(data.values.size());
  for (int fail_at = 0; fail_at < launches; ++fail_at) {
    shim::record.launches = 0;
    shim::record.fail_at = fail_at;
    const auto outcome = fcam::cuda::CrfLoss(TheDevice(), FromHeap, data.images(), data.values.data(), 2, true,
                                             losses.data(), gradient.data());
    Expect(outcome.error == "cuLaunchKernel: made to fail (700)", "a failed launch is told", fail_at);
    Expect(Heap::live == 0 && shim::record.depth == 0, "a failed launch leaves nothing behind", fail_at);
  }
  shim::record.fail_at = -1;
  OnDevice(c, data, true);
  Expect(shim::record.launches == launches, "the last launch was made to fail", shim::record.launches);
  for (int last = 0; last < allocations; ++last) {
    Few few(last);
    const auto outcome = fcam::cuda::CrfLoss(TheDevice(), few.allocate(), data.images(), data.values.data(), 2, true,
                                             losses.data(), gradient.data());
    few.ExpectTold(outcome);
    Expect(Heap::live == 0 && shim::record.depth == 0, "no memory leaves nothing behind", last);
  }
}

void CheckEmpty() {
  float loss[2] = {7, 7};
  const fcam::Images images = {nullptr, true, 2, 0, 5, 3, 15, 50};
  const auto outcome = fcam::cuda::CrfLoss(TheDevice(), FromHeap, images, nullptr, 2, true, loss, nullptr);
  Expect(outcome.error.empty() && loss[0] == 0 && loss[1] == 0, "images without pixels have no loss");
}

void CheckCase(const Case& c, bool hashed) {
  CheckAgreesWithTheCpu(c);
  CheckOrderOfThreadsChangesNothing(c);
  const int launches = (c.channels == 3 ? 17 : 15) + 2 * hashed;
  Expect(shim::record.launches == launches, (Name(c) + ": bitmap or hash table").c_str(), shim::record.launches);
  CheckImagesAreIndependent(c);
}

void CheckTheRest() {
  // More tiles of the bitmap than a block has threads.
  CheckOrderOfThreadsChangesNothing({1, 108, 108, 3, 1, 15, 14, true, Kind::kConstant});
  CheckMagnitudes();
  CheckFailures({2, 25, 26, 3, 2, 90, 50, true, Kind::kNoise}, 17, 9);
  CheckFailures({2, 5, 6, 3, 2, 15, 20, true, Kind::kNoise}, 19, 11);
}

}  // namespace

// With an argument, the first cases only.
int main(int count, char**) {
  const bool quick = count > 1;
  const Case direct[] = {
      {2, 23, 1, 1, 1, 15, 100, true, Kind::kNoise},    {3, 20, 31, 3, 2, 60, 50, true, Kind::kPhoto},
      {1, 16, 16, 3, 7, 60, 50, false, Kind::kPhoto},   {1, 20, 21, 1, 21, 30, 20, false, Kind::kNoise},
      {2, 24, 24, 3, 3, 60, 20, true, Kind::kConstant}, {1, 33, 17, 3, 21, 60, 40, false, Kind::kPhoto},
      {2, 17, 15, 1, 2, 10, 9, false, Kind::kConstant},
  };
  // Where a hash table is smaller than the bitmap: 32-bit and 64-bit addresses, and fingerprints.
  const Case hashed[] = {
      {1, 1, 1, 3, 2, 60, 100, true, Kind::kNoise},     {2, 1, 19, 3, 2, 60, 100, true, Kind::kNoise},
      {2, 20, 20, 3, 2, 15, 100, true, Kind::kPhoto},   {2, 13, 20, 3, 5, 2, 10, true, Kind::kNoise},
      {1, 21, 18, 3, 2, 0.5f, 2, false, Kind::kNoise, 1e-4},
      {2, 9, 14, 3, 2, 0.01f, 0.02f, true, Kind::kPhoto, 1e-2},
  };
  for (const Case& c : direct) {
    if (&c - direct < 2 || !quick) CheckCase(c, false);
  }
  for (const Case& c : hashed) {
    if (&c - hashed < 2 || !quick) CheckCase(c, true);
  }
  CheckRefusals();
  CheckEmpty();
  if (!quick) CheckTheRest();
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
