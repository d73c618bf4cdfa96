// Work that is queued on a GPU, of which the first failure is kept.
#ifndef FCAM_CUDA_WORK_H_
#define FCAM_CUDA_WORK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda_job.h"
#include "cuda_lattice.h"

namespace fcam {
namespace cuda {

inline unsigned Blocks(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }

class Work {
 public:
  Work(const Device& device, const Allocate& allocate)
      : device_(device), driver_(*device.driver), allocate_(allocate) {
    Check(driver_.CtxPushCurrent(device.context), "cuCtxPushCurrent");
    pushed_ = outcome_.error.empty();
  }
  ~Work() {
    Context popped;
    if (pushed_) driver_.CtxPopCurrent(&popped);
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

 protected:
  using Memory = std::vector<std::unique_ptr<Scratch>>;

  // What other streams were given before is then done.
  bool Start() { return pushed_ && Check(driver_.CtxSynchronize(), "cuCtxSynchronize"); }

  bool Check(Result result, const char* call) {
    if (result != 0 && outcome_.error.empty()) outcome_.error = Describe(driver_, call, result);
    return result == 0;
  }

  bool Wait() { return Check(driver_.StreamSynchronize(OwnStream()), "cuStreamSynchronize"); }

  bool Fill(void* data, unsigned char value, size_t bytes) {
    return Check(driver_.MemsetD8Async(reinterpret_cast<Address>(data), value, bytes, OwnStream()), "cuMemsetD8Async");
  }

  bool Clear(void* data, size_t bytes) { return Fill(data, 0, bytes); }

  bool Fetch(const void* data, size_t bytes, void* to) {
    return Check(driver_.MemcpyDtoHAsync(to, reinterpret_cast<Address>(data), bytes, OwnStream()),
                 "cuMemcpyDtoHAsync") && Wait();
  }

  // `data` must stay until the work is done.
  bool Send(const void* data, size_t bytes, void* to) {
    return Check(driver_.MemcpyHtoDAsync(reinterpret_cast<Address>(to), data, bytes, OwnStream()), "cuMemcpyHtoDAsync");
  }

  bool Launch(Kernel kernel, unsigned blocks, int64_t images, unsigned directions = 1, int step = 0) {
    void* arguments[] = {&job_, &step};
    return Check(driver_.LaunchKernel(device_.kernels[kernel], blocks, static_cast<unsigned>(images), directions,
                                      kThreads, 1, 1, 0, OwnStream(), arguments, nullptr),
                 "cuLaunchKernel");
  }

  // Memory that lives until `scratch` is cleared.
  template <typename T>
  bool Take(Memory* scratch, int64_t count, T** data) {
    const size_t bytes = count * sizeof(T);
    scratch->push_back(allocate_(bytes));
    *data = scratch->back() == nullptr ? nullptr : static_cast<T*>(scratch->back()->data);
    if (*data != nullptr) return true;
    outcome_.batch.status = Status::kOutOfMemory;
    outcome_.error = "there is not enough memory for another " + std::to_string(bytes) + " bytes";
    return false;
  }

  Outcome outcome_;
  Job job_ = {};  // of every kernel that is launched

 private:
  const Device& device_;
  const Driver& driver_;
  const Allocate& allocate_;
  bool pushed_ = false;
};

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_WORK_H_
