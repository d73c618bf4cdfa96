// CUDA as plain C++, for the tests: compiles permutohedral.cu for the host and runs it behind the driver's functions.
// Blocks run one after the other. The threads of a block are coroutines that change at barriers only, in an order that
// a test chooses: where the order makes a difference, a barrier is missing.
#ifndef FCAM_CUDA_SHIM_H_
#define FCAM_CUDA_SHIM_H_

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "cuda_device.h"
#include "cuda_driver.h"

#define __global__
#define __device__
#define __grid_constant__
// In a section of its own, so that what the last block left there can be overwritten.
#define __shared__ static __attribute__((section("fcam_shared")))
extern "C" char __start_fcam_shared[], __stop_fcam_shared[];

struct Dimensions {
  unsigned x, y, z;
};
static Dimensions threadIdx, blockIdx, gridDim;

namespace shim {

enum class Order { kForward, kBackward, kShuffled };

// Runs the threads of a block up to the next barrier again and again until all have ended.
class Block {
 public:
  static Block& Get() {
    static Block block;
    return block;
  }

  // Without barriers threads need not be coroutines, which saves most of the time.
  template <typename Body>
  void RunThrough(unsigned threads, const Body& body) {
    in_fiber_ = false;
    for (unsigned i = 0; i < threads; ++i) {
      threadIdx = {Choose(i, threads), 0, 0};
      body();
    }
  }

  template <typename Body>
  void Run(unsigned threads, const Body& body) {
    in_fiber_ = true;
    body_ = [](const void* b) { (*static_cast<const Body*>(b))(); };
    argument_ = &body;
    std::memset(__start_fcam_shared, 0xAB, __stop_fcam_shared - __start_fcam_shared);
    if (fibers_.size() < threads) fibers_.resize(threads);
    for (unsigned t = 0; t < threads; ++t) {
      Fiber& fiber = fibers_[t];
      if (fiber.stack.empty()) fiber.stack.resize(32768);
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.data();
      fiber.context.uc_stack.ss_size = fiber.stack.size();
      fiber.context.uc_link = &caller_;
      fiber.ended = false;
      makecontext(&fiber.context, [] { Get().Enter(); }, 0);
    }
    for (unsigned ended = 0; ended < threads;) {
      unsigned waiting = 0;
      ended = 0;
      for (unsigned i = 0; i < threads; ++i) {
        current_ = Choose(i, threads);
        threadIdx = {current_, 0, 0};
        swapcontext(&caller_, &fibers_[current_].context);
        ++(fibers_[current_].ended ? ended : waiting);
      }
      if (ended > 0 && waiting > 0) {
        std::printf("FAILED: %u threads wait at a barrier that %u threads have not reached\n", waiting, ended);
        std::exit(1);
      }
    }
  }

  void Barrier() {
    if (!in_fiber_) {
      std::printf("FAILED: a kernel that is listed as one without barriers has one\n");
      std::exit(1);
    }
    swapcontext(&fibers_[current_].context, &caller_);
  }

  Order order = Order::kForward;

 private:
  struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool ended;
  };

  void Enter() {
    body_(argument_);
    fibers_[current_].ended = true;
  }

  unsigned Choose(unsigned i, unsigned threads) const {
    if (order == Order::kForward) return i;
    if (order == Order::kBackward) return threads - 1 - i;
    return (i * 97 + 31) % threads;  // 97 shares no factor with a power of two
  }

  std::vector<Fiber> fibers_;
  ucontext_t caller_;
  unsigned current_ = 0;
  bool in_fiber_ = false;
  void (*body_)(const void*) = nullptr;
  const void* argument_ = nullptr;
};

}  // namespace shim

// A name cannot be changed here, so that these are the only ones that the kernels may use.
inline void __syncthreads() { shim::Block::Get().Barrier(); }
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline long long __float2ll_rn(float value) { return llrintf(value); }
template <typename T, typename U>
T atomicAdd(T* place, U value) { T old = *place; *place += static_cast<T>(value); return old; }
inline unsigned atomicOr(unsigned* place, unsigned bits) { unsigned old = *place; *place |= bits; return old; }
inline unsigned atomicMin(unsigned* place, unsigned value) {
  unsigned old = *place;
  if (value < old) *place = value;
  return old;
}
inline unsigned long long atomicCAS(unsigned long long* place, unsigned long long expected, unsigned long long value) {
  unsigned long long old = *place;
  if (old == expected) *place = value;
  return old;
}
inline unsigned atomicMax(unsigned* place, unsigned value) {
  unsigned old = *place;
  if (value > old) *place = value;
  return old;
}

#include "permutohedral.cu"

namespace shim {

// A kernel with its arguments as the driver takes them.
using Entry = void (*)(void** arguments);

template <typename... Args, size_t... I>
void Call(void (*kernel)(Args...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_const_t<Args>*>(arguments[I])...);
}

template <typename... Args>
constexpr size_t Arity(void (*)(Args...)) { return sizeof...(Args); }

struct NamedEntry {
  const char* name;
  bool barriers;
  Entry entry;
};
#define FCAM_ENTRY(name, barriers) \
  {#name, barriers, [](void** arguments) { Call(name, arguments, std::make_index_sequence<Arity(name)>()); }}
inline const NamedEntry kEntries[] = {
    FCAM_ENTRY(fcam_inspect, true),       FCAM_ENTRY(fcam_mark3, false),     FCAM_ENTRY(fcam_mark5, false),
    FCAM_ENTRY(fcam_hash_mark, false),    FCAM_ENTRY(fcam_count, true),      FCAM_ENTRY(fcam_scan, true),
    FCAM_ENTRY(fcam_rank, true),          FCAM_ENTRY(fcam_hash_rank, false), FCAM_ENTRY(fcam_connect, false),
    FCAM_ENTRY(fcam_hash_connect, false), FCAM_ENTRY(fcam_splat3, true),     FCAM_ENTRY(fcam_splat5, true),
    FCAM_ENTRY(fcam_settle, false),       FCAM_ENTRY(fcam_blur, false),      FCAM_ENTRY(fcam_combine, true),
    FCAM_ENTRY(fcam_total, true),         FCAM_ENTRY(fcam_slice3, true),     FCAM_ENTRY(fcam_slice5, true),
    FCAM_ENTRY(fcam_normalise, false),    FCAM_ENTRY(fcam_spread, false),    FCAM_ENTRY(fcam_update, false)};
#undef FCAM_ENTRY

// What the fake driver was asked for.
struct Record {
  int launches = 0;
  int depth = 0;       // of the stack of contexts
  int fail_at = -1;    // the launch that fails
  bool clean = true;   // nothing was queued before the context was synchronised
  bool synchronised = false;
  bool pending = false;  // work that no one has waited for
};
inline Record record;

inline fcam::cuda::Result Queue() {
  record.clean = record.clean && record.synchronised && record.depth == 1;
  record.pending = true;
  return 0;
}

inline fcam::cuda::Driver FakeDriver() {
  using namespace fcam::cuda;
  Driver driver = {};
  driver.GetErrorString = [](Result, const char** text) { *text = "made to fail"; return 0; };
  driver.DriverGetVersion = [](int* version) { *version = 12040; return 0; };
  driver.DeviceGetCount = [](int* count) { *count = 1; return 0; };
  driver.DeviceGetAttribute = [](int* value, int, DeviceId) { *value = 9; return 0; };
  driver.DevicePrimaryCtxRetain = [](Context* context, DeviceId) { *context = nullptr; return 0; };
  driver.CtxPushCurrent = [](Context) { ++record.depth; return 0; };
  driver.CtxPopCurrent = [](Context*) { --record.depth; record.synchronised = false; return 0; };
  driver.CtxSynchronize = [] { record.synchronised = true; return 0; };
  driver.PointerGetAttribute = [](void* value, int, Address) { *static_cast<int*>(value) = 0; return 0; };
  driver.ModuleLoadData = [](Module* module, const void*) { *module = nullptr; return 0; };
  driver.ModuleGetFunction = [](Function* function, Module, const char* name) {
    for (const NamedEntry& named : kEntries) {
      if (std::strcmp(named.name, name) != 0) continue;
      *function = reinterpret_cast<Function>(const_cast<NamedEntry*>(&named));
      return 0;
    }
    return 500;
  };
  driver.MemsetD8Async = [](Address to, unsigned char value, size_t bytes, Stream) {
    std::memset(reinterpret_cast<void*>(to), value, bytes);
    return Queue();
  };
  driver.MemcpyDtoHAsync = [](void* to, Address from, size_t bytes, Stream) {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return Queue();
  };
  driver.LaunchKernel = [](Function function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty,
                           unsigned tz, unsigned shared, Stream, void** arguments, void**) {
    if (record.launches++ == record.fail_at) return 700;
    // The limits of the hardware.
    if (x == 0 || y == 0 || z == 0 || x > 2147483647u || y > 65535 || z > 65535) return 1;
    if (threads != fcam::cuda::kThreads || ty != 1 || tz != 1 || shared != 0) return 1;
    const NamedEntry& kernel = *reinterpret_cast<const NamedEntry*>(function);
    gridDim = {x, y, z};
    for (blockIdx.z = 0; blockIdx.z < z; ++blockIdx.z) {
      for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y) {
        for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x) {
          const auto body = [&] { kernel.entry(arguments); };
          kernel.barriers ? Block::Get().Run(threads, body) : Block::Get().RunThrough(threads, body);
        }
      }
    }
    return Queue();
  };
  driver.MemcpyHtoDAsync = [](Address to, const void* from, size_t bytes, Stream) {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return Queue();
  };
  driver.StreamSynchronize = [](Stream) { record.pending = false; return 0; };
  return driver;
}

}  // namespace shim

namespace fcam {
namespace cuda {

// In place of cuda_driver.cc and cuda_compiler.cc.
const Driver* LoadDriver(std::string* problem) {
  static const Driver driver = shim::FakeDriver();
  problem->clear();
  return &driver;
}

std::string Describe(const Driver& driver, const char* call, Result result) {
  const char* text = nullptr;
  driver.GetErrorString(result, &text);
  return std::string(call) + ": " + text + " (" + std::to_string(result) + ")";
}

std::string Compile(int, int, const std::vector<std::string>&, const std::string&, std::string*) { return "code"; }

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_SHIM_H_
