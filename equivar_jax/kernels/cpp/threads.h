// Threads for a call from outside XLA.

#ifndef EQUIVAR_THREADS_H_
#define EQUIVAR_THREADS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace equivar {

// Runs task(0) ... task(n - 1) on at most `threads` threads, of which the caller is one. `make_task` makes the
// function of each thread, so that each has memory of its own.
template <typename MakeTask>
void OnThreads(int64_t n, int threads, const MakeTask& make_task) {
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    auto task = make_task();
    for (int64_t i; (i = next.fetch_add(1)) < n;) task(i);
  };
  std::vector<std::thread> helpers;
  try {
    for (int64_t t = 1; t < std::min<int64_t>(threads, n); ++t) helpers.emplace_back(work);
  } catch (const std::system_error&) {  // no more threads are to be had; those that run will do
  }
  work();
  for (auto& helper : helpers) helper.join();
}

}  // namespace equivar

#endif  // EQUIVAR_THREADS_H_
