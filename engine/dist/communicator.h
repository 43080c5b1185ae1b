#pragma once
// What the ranks of one run say to each other. Every call below is collective: all ranks make the same calls in the
// same order, each waits for what it needs of the others, and all get the same bits, because sums are taken in the
// order of the ranks.
//
// A rank that dies, is stopped or does not come is noticed by a thread of its own: the call in progress, or the next
// one, throws Error(peer) with a sentence that names it; a process that is stuck in something else is ended with exit
// code 8.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/dist/launch.h"

namespace engine {

struct CommunicatorOptions {
  double timeout_seconds = 600;  // to meet, and for silence or a call that a rank does not come to
  std::string build;             // of this program: ranks of another one are refused
  std::function<int()>
      stop_signal;                // asked in another thread; not 0: this process was asked to stop, the others learn it
  std::function<void(int)> stop;  // called in another thread when another rank was
  // Says a sentence before the process is ended with exit code 8; called in another thread.
  std::function<void(const std::string&)> last_words;
};

class Communicator {
 public:
  // Meets the other ranks: through MPI if mpirun started them, else at launch.address. Throws Error(peer) naming who
  // has not come within the timeout, Error(usage) for ranks of another build or number and a port that is taken.
  static std::unique_ptr<Communicator> connect(const Launch& launch, const CommunicatorOptions& options);

  // Without finish() the others are told that this rank has ended too early.
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_first() const { return rank_ == 0; }
  virtual std::string description() const = 0;  // "4 ranks by MPI"

  // values = sum over the ranks, in their order.
  virtual void sum(std::span<float> values) = 0;
  // all [size * mine.size()]: `mine` of every rank, in their order. The same size everywhere.
  virtual void all_gather(std::span<const float> mine, std::span<float> all) = 0;
  // Any text of any length of every rank.
  virtual std::vector<std::string> all_gather(std::string_view mine) = 0;
  // The same on rank 0 alone; nothing on the others.
  virtual std::vector<std::string> gather(std::string_view mine) = 0;
  // That of rank 0.
  virtual std::string broadcast(std::string_view text) = 0;
  void barrier() {
    (void)gather("");
    (void)broadcast("");
  }

  // Spent in the calls above since this was made: sending, and waiting for the others.
  double seconds() const { return seconds_; }

  // Throws Error(peer) if a rank is known to be lost.
  virtual void check_peers() const = 0;
  // The last call of a run that has ended well; waits for the others to come to it.
  virtual void finish() = 0;
  // The run ends here because of an error: the others throw Error(peer) with it.
  virtual void abandon(const std::string& error) = 0;

 protected:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}
  double seconds_ = 0;

 private:
  int rank_, size_;
};

// Throws Error(usage) on every rank, naming what differs, unless all of them give the same names and values.
void expect_same(Communicator& ranks, const std::vector<std::pair<std::string, std::string>>& facts);

// What --doctor tells of MPI.
std::string describe_mpi();

}  // namespace engine
