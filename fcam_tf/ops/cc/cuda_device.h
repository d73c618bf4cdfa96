// The GPUs of this process, with the kernels loaded on each.
#ifndef FCAM_CUDA_DEVICE_H_
#define FCAM_CUDA_DEVICE_H_

#include <string>
#include <vector>

#include "cuda_driver.h"

namespace fcam {
namespace cuda {

enum Kernel {
  kInspect, kMark3, kMark5, kHashMark, kCount, kScan, kRank, kHashRank, kConnect, kHashConnect, kSplat3, kSplat5,
  kSettle, kBlur, kCombine, kTotal, kSlice3, kSlice5,
  kNormalise, kSpread, kUpdate, kKernels
};

struct Device {
  const Driver* driver;
  Context context;
  Function kernels[kKernels];
};

// Compiles the kernels for a GPU, so that it is known whether they can run; `places` and `cache` as of Compile. Returns
// what is missing, or an empty string.
std::string SetUp(const std::vector<std::string>& places, const std::string& cache);

// The device that holds the memory at an address, with its kernels loaded when it is first asked for; or null, and why.
// Its context is the process's primary one, which TensorFlow uses too. It is never released.
const Device* DeviceOf(const void* memory, std::string* problem);

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_DEVICE_H_
