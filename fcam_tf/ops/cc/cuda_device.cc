#include "cuda_device.h"

#include <map>
#include <mutex>

#include "cuda_compiler.h"

namespace fcam {
namespace cuda {
namespace {

const char* const kNames[kKernels] = {
    "fcam_inspect", "fcam_mark3",     "fcam_mark5",   "fcam_hash_mark",    "fcam_count",  "fcam_scan",
    "fcam_rank",    "fcam_hash_rank", "fcam_connect", "fcam_hash_connect", "fcam_splat3", "fcam_splat5",
    "fcam_settle",  "fcam_blur",      "fcam_combine", "fcam_total",        "fcam_slice3", "fcam_slice5",
    "fcam_normalise", "fcam_spread",  "fcam_update"};

struct State {
  std::mutex mutex;
  std::vector<std::string> places;
  std::string cache;
  std::map<DeviceId, Device> devices;
};

State& TheState() {
  static State* state = new State;  // kernels may run when the process ends
  return *state;
}

std::string Code(const Driver& driver, DeviceId id, std::string* problem) {
  int major = 0, minor = 0, version = 0;
  Result result = driver.DeviceGetAttribute(&major, kComputeCapabilityMajor, id);
  if (result == 0) result = driver.DeviceGetAttribute(&minor, kComputeCapabilityMinor, id);
  if (result == 0) result = driver.DriverGetVersion(&version);
  if (result != 0) {
    *problem = Describe(driver, "cuDeviceGetAttribute", result);
    return "";
  }
  if (major < 7) {
    *problem = "the GPU is of compute capability " + std::to_string(major) + "." + std::to_string(minor) +
               "; 7.0 or newer is needed";
    return "";
  }
  return Compile(10 * major + minor, version, TheState().places, TheState().cache, problem);
}

bool Load(DeviceId id, const std::string& code, Device* device, std::string* problem) {
  const Driver& driver = *device->driver;
  const char* call = "cuDevicePrimaryCtxRetain";
  Result result = driver.DevicePrimaryCtxRetain(&device->context, id);
  if (result == 0) result = driver.CtxPushCurrent(device->context), call = "cuCtxPushCurrent";
  if (result == 0) {
    Module module = nullptr;
    result = driver.ModuleLoadData(&module, code.data()), call = "cuModuleLoadData";
    for (int k = 0; result == 0 && k < kKernels; ++k) {
      result = driver.ModuleGetFunction(&device->kernels[k], module, kNames[k]), call = kNames[k];
    }
    Context popped;
    driver.CtxPopCurrent(&popped);
  }
  if (result != 0) *problem = Describe(driver, call, result);
  return result == 0;
}

}  // namespace

std::string SetUp(const std::vector<std::string>& places, const std::string& cache) {
  State& state = TheState();
  std::lock_guard<std::mutex> lock(state.mutex);
  state.places = places;
  state.cache = cache;
  std::string problem;
  const Driver* driver = LoadDriver(&problem);
  if (driver == nullptr) return problem;
  int count = 0;
  const Result result = driver->DeviceGetCount(&count);
  if (result != 0) return Describe(*driver, "cuDeviceGetCount", result);
  if (count == 0) return "the NVIDIA driver shows no GPU";
  for (DeviceId id = 0; id < count; ++id) {
    if (!Code(*driver, id, &problem).empty()) return "";
  }
  return problem;
}

const Device* DeviceOf(const void* memory, std::string* problem) {
  const Driver* driver = LoadDriver(problem);
  if (driver == nullptr) return nullptr;
  int id = 0;
  const Result result =
      driver->PointerGetAttribute(&id, kDeviceOrdinalOfPointer, reinterpret_cast<Address>(memory));
  if (result != 0) {
    *problem = Describe(*driver, "cuPointerGetAttribute", result);
    return nullptr;
  }
  State& state = TheState();
  std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = state.devices.find(id);
  if (found != state.devices.end()) return &found->second;
  Device device = {driver, nullptr, {}};
  const std::string code = Code(*driver, id, problem);
  if (code.empty() || !Load(id, code, &device, problem)) return nullptr;
  return &state.devices.emplace(id, device).first->second;
}

}  // namespace cuda
}  // namespace fcam

// SetUp for Python.
extern "C" __attribute__((visibility("default"))) const char* fcam_cuda_set_up(const char* const* places, int count,
                                                                               const char* cache) {
  static thread_local std::string problem;
  problem = fcam::cuda::SetUp({places, places + count}, cache);
  return problem.c_str();
}
