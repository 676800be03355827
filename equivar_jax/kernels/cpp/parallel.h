// Runs work on the threads of XLA's pool.

#ifndef EQUIVAR_PARALLEL_H_
#define EQUIVAR_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace equivar {

// Runs task(0) ... task(n - 1); the caller is one of the workers. It waits for tasks, not for threads: if the
// pool is busy, the caller does them all, so two operations that wait for one another cannot lock up.
inline void Parallel(xla::ffi::ThreadPool& pool, int64_t n, std::function<void(int64_t)> task) {
  struct State {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  auto state = std::make_shared<State>();
  auto work = [state, n, task] {
    for (int64_t i; (i = state->next.fetch_add(1)) < n;) {
      task(i);
      std::lock_guard<std::mutex> lock(state->mutex);
      if (++state->done == n) state->all_done.notify_all();
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), n) - 1;
  for (int64_t t = 0; t < helpers; ++t) pool.Schedule(std::function<void()>(work));
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == n; });
}

}  // namespace equivar

#endif  // EQUIVAR_PARALLEL_H_
