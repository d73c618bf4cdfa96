#include "thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace fcam {
namespace {

// One call of ParallelFor. Threads take the next index until there is none left.
struct Job {
  const std::function<void(int64_t)>* task;
  int64_t count;
  int64_t next = 0;
  int64_t done = 0;
};

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) std::thread([this] { Work(); }).detach();
  }

  void Run(int64_t count, const std::function<void(int64_t)>& task) {
    auto job = std::make_shared<Job>(Job{&task, count});
    std::unique_lock<std::mutex> lock(mutex_);
    jobs_.push_back(job);
    wake_.notify_all();
    // The caller works too, so that a call ends even where the pool's threads are gone, as they are after a fork.
    while (job->next < job->count) Step(job, lock);
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
    finished_.wait(lock, [&] { return job->done == job->count; });
  }

 private:
  void Work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      std::shared_ptr<Job> job;
      for (const auto& candidate : jobs_) {
        if (candidate->next < candidate->count) {
          job = candidate;
          break;
        }
      }
      if (job == nullptr) {
        wake_.wait(lock);
      } else {
        Step(job, lock);
      }
    }
  }

  void Step(const std::shared_ptr<Job>& job, std::unique_lock<std::mutex>& lock) {
    const int64_t index = job->next++;
    lock.unlock();
    (*job->task)(index);
    lock.lock();
    if (++job->done == job->count) finished_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable finished_;
  std::deque<std::shared_ptr<Job>> jobs_;
};

int Threads() {
  const char* wanted = std::getenv("FCAM_THREADS");
  const int limit = wanted == nullptr ? 0 : std::atoi(wanted);
  return limit > 0 ? limit : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// The pool of this process. It is never destroyed: threads may still be at work when the process ends. A child that
// was forked has none of its parent's threads and makes a pool of its own.
Pool& ThePool() {
  static std::mutex mutex;
  static Pool* pool = nullptr;
  static pid_t owner = 0;
  std::lock_guard<std::mutex> lock(mutex);
  if (pool == nullptr || owner != getpid()) {
    pool = new Pool(Threads() - 1);
    owner = getpid();
  }
  return *pool;
}

}  // namespace

void ParallelFor(int64_t count, const std::function<void(int64_t)>& task) {
  if (count <= 1) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  ThePool().Run(count, task);
}

void ParallelFor(int64_t count, void (*task)(const void*, int64_t), const void* context) {
  ParallelFor(count, [=](int64_t i) { task(context, i); });
}

}  // namespace fcam
