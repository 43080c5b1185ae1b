#pragma once
// Private to engine/dist: a thread that knows whether the other ranks live, whatever the training does meanwhile. Every
// rank sends a sign of life each second at least; rank 0 collects them and tells the others who is lost.
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/dist/rendezvous.h"

namespace engine::dist {

struct WatchOptions {
  int rank = 0;
  std::chrono::duration<double> timeout{};  // silence after which a rank is lost
  std::function<int()> stop_signal;         // this process has been asked to stop: the others are told
  std::function<void(int)> stop;            // another one was
  // Called in the thread if a rank is lost and the process still goes on a second later: it is stuck in something that
  // cannot be interrupted. Does not return.
  std::function<void(const std::string& sentence)> give_up;
};

class Watch {
 public:
  // `peers`: on rank 0 one each, itself included, on the others that of rank 0 alone. Their watch sockets are taken.
  Watch(std::vector<Peer> peers, WatchOptions options);
  ~Watch();  // a rank that ends without leave() has ended too early
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // A sentence on the rank that is lost; empty while none is.
  std::string lost() const;
  bool any_lost() const { return is_lost_.load(std::memory_order_acquire); }
  // On rank 0, from the training's thread: `rank` is lost because of `why`.
  void declare_lost(int rank, const std::string& why);
  // From now on the others may go, too: the run is over. With `error`, why this rank ends too early.
  void leave(const std::string& error = {});

 private:
  struct Link {
    Peer peer;
    int rank = 0;
    std::string received;
    Clock::time_point heard;
    bool gone = false;  // has said that it leaves
  };
  void work();
  void listen(Link& link);
  void read_messages(Link& link);
  void forget(Link& link);
  void lose(int rank, const std::string& why);
  void tell(const Link& link, char kind, int number, const std::string& text);
  std::string name_of(int rank) const;

  WatchOptions options_;
  std::vector<Link> links_;  // the thread's, but for the sockets, on which leave() and declare_lost() write, too
  std::atomic<bool> is_lost_ = false, ending_ = false;
  std::atomic<int> lost_rank_ = -1;
  mutable std::mutex mutex_;  // guards what follows, and writing
  std::string lost_;
  Clock::time_point lost_since_;
  bool left_ = false;
  std::jthread thread_;
};

}  // namespace engine::dist
