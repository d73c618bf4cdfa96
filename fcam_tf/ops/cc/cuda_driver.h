// The part of the CUDA driver that the kernels need, found when it is first asked for: neither building nor loading the
// library takes CUDA.
#ifndef FCAM_CUDA_DRIVER_H_
#define FCAM_CUDA_DRIVER_H_

#include <cstddef>
#include <string>

namespace fcam {
namespace cuda {

typedef int Result;  // 0 is success
typedef int DeviceId;
typedef unsigned long long Address;
typedef struct CUctx_st* Context;
typedef struct CUmod_st* Module;
typedef struct CUfunc_st* Function;
typedef struct CUstream_st* Stream;

constexpr int kComputeCapabilityMajor = 75;
constexpr int kComputeCapabilityMinor = 76;
constexpr int kDeviceOrdinalOfPointer = 9;

// The thread's own stream. Of all others it waits for the legacy default one only, which TensorFlow does not use.
inline Stream OwnStream() { return reinterpret_cast<Stream>(0x2); }

struct Driver {
  Result (*Init)(unsigned flags);
  Result (*GetErrorString)(Result, const char**);
  Result (*DriverGetVersion)(int*);
  Result (*DeviceGetCount)(int*);
  Result (*DeviceGetAttribute)(int*, int attribute, DeviceId);
  Result (*DevicePrimaryCtxRetain)(Context*, DeviceId);
  Result (*CtxPushCurrent)(Context);
  Result (*CtxPopCurrent)(Context*);
  Result (*CtxSynchronize)();
  Result (*PointerGetAttribute)(void*, int attribute, Address);
  Result (*ModuleLoadData)(Module*, const void* image);
  Result (*ModuleGetFunction)(Function*, Module, const char* name);
  Result (*MemsetD8Async)(Address, unsigned char, size_t, Stream);
  Result (*MemcpyDtoHAsync)(void*, Address, size_t, Stream);
  Result (*MemcpyHtoDAsync)(Address, const void*, size_t, Stream);
  Result (*LaunchKernel)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, Stream,
                         void** arguments, void** extra);
  Result (*StreamSynchronize)(Stream);
};

// The driver, initialised; or null, and why not.
const Driver* LoadDriver(std::string* problem);

// What a result means: "cuLaunchKernel: out of memory".
std::string Describe(const Driver& driver, const char* call, Result result);

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_DRIVER_H_
