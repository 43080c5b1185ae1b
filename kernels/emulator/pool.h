#pragma once
// OS threads that help the launching one to run blocks. They stay: new ones would have to touch new stacks for their
// fibers each time. Private to kernels/emulator.
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace engine::kernels::emulator {

class Pool {
 public:
  Pool() = default;
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Runs `work` on the calling thread and `helpers` others; returns when all have returned from it.
  void run(int helpers, const std::function<void()>& work);

 private:
  void help();

  std::mutex mutex_;
  std::condition_variable begin_, end_;
  const std::function<void()>* work_ = nullptr;
  int wanted_ = 0;   // helpers that have yet to take up the work
  int running_ = 0;  // helpers that have yet to finish it
  bool quit_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace engine::kernels::emulator
