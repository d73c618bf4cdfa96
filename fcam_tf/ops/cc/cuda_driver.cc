#include "cuda_driver.h"

#include <dlfcn.h>

#include <type_traits>

namespace fcam {
namespace cuda {
namespace {

struct Attempt {
  Driver driver = {};
  std::string problem;
};

Attempt Load() {
  Attempt attempt;
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    attempt.problem = "the NVIDIA driver is missing (libcuda.so.1 cannot be loaded)";
    return attempt;
  }
  auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_reference_t<decltype(*function)>>(dlsym(library, name));
    if (*function == nullptr) attempt.problem = std::string("the NVIDIA driver is too old: it has no ") + name;
  };
  Driver& driver = attempt.driver;
  find("cuInit", &driver.Init);
  find("cuGetErrorString", &driver.GetErrorString);
  find("cuDriverGetVersion", &driver.DriverGetVersion);
  find("cuDeviceGetCount", &driver.DeviceGetCount);
  find("cuDeviceGetAttribute", &driver.DeviceGetAttribute);
  find("cuDevicePrimaryCtxRetain", &driver.DevicePrimaryCtxRetain);
  find("cuCtxPushCurrent_v2", &driver.CtxPushCurrent);
  find("cuCtxPopCurrent_v2", &driver.CtxPopCurrent);
  find("cuCtxSynchronize", &driver.CtxSynchronize);
  find("cuPointerGetAttribute", &driver.PointerGetAttribute);
  find("cuModuleLoadData", &driver.ModuleLoadData);
  find("cuModuleGetFunction", &driver.ModuleGetFunction);
  find("cuMemsetD8Async", &driver.MemsetD8Async);
  find("cuMemcpyDtoHAsync_v2", &driver.MemcpyDtoHAsync);
  find("cuMemcpyHtoDAsync_v2", &driver.MemcpyHtoDAsync);
  find("cuLaunchKernel", &driver.LaunchKernel);
  find("cuStreamSynchronize", &driver.StreamSynchronize);
  if (!attempt.problem.empty()) return attempt;
  const Result result = driver.Init(0);
  if (result != 0) attempt.problem = Describe(driver, "cuInit", result);
  return attempt;
}

}  // namespace

const Driver* LoadDriver(std::string* problem) {
  static const Attempt* attempt = new Attempt(Load());  // never freed: kernels may run when the process ends
  *problem = attempt->problem;
  return problem->empty() ? &attempt->driver : nullptr;
}

std::string Describe(const Driver& driver, const char* call, Result result) {
  const char* text = nullptr;
  if (driver.GetErrorString(result, &text) != 0 || text == nullptr) text = "unknown error";
  return std::string(call) + ": " + text + " (" + std::to_string(result) + ")";
}

}  // namespace cuda
}  // namespace fcam
