// A few threads that live as long as the process, shared by all calls.
#ifndef FCAM_THREAD_POOL_H_
#define FCAM_THREAD_POOL_H_

#include <cstdint>
#include <functional>

namespace fcam {

// Runs task(0) ... task(count - 1), on this thread and on idle ones of the pool, and returns when all are done. Which
// thread runs a task makes no difference to what it computes. FCAM_THREADS limits the threads at work on one call.
// Calls may overlap, and a task may call again.
void ParallelFor(int64_t count, const std::function<void(int64_t)>& task);

// The same for code that uses no templates of the standard library (see lattice.inc).
void ParallelFor(int64_t count, void (*task)(const void* context, int64_t index), const void* context);

}  // namespace fcam

#endif  // FCAM_THREAD_POOL_H_
