#include "kernels/emulator/pool.h"

namespace engine::kernels::emulator {

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  begin_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::help() {
  std::unique_lock lock(mutex_);
  for (;;) {
    begin_.wait(lock, [this] { return quit_ || wanted_ > 0; });
    if (quit_) return;
    --wanted_;
    const std::function<void()>& work = *work_;
    lock.unlock();
    work();
    lock.lock();
    if (--running_ == 0) end_.notify_all();
  }
}

void Pool::run(int helpers, const std::function<void()>& work) {
  {
    const std::lock_guard lock(mutex_);
    while (threads_.size() < static_cast<size_t>(helpers)) threads_.emplace_back([this] { help(); });
    work_ = &work;
    wanted_ = running_ = helpers;
  }
  begin_.notify_all();
  work();
  std::unique_lock lock(mutex_);
  end_.wait(lock, [this] { return running_ == 0; });
}

}  // namespace engine::kernels::emulator
