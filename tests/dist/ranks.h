#pragma once
// Ranks of one run as threads of a test.
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/dist/socket.h"
#include "engine/error.h"

namespace engine::testing {

inline int free_port() {
  std::string error;
  return dist::port_of(dist::listen_on(0, &error));
}

inline Launch local_launch(int rank, int size, int port) {
  return {.kind = LaunchKind::environment,
          .rank = rank,
          .size = size,
          .local_rank = rank,
          .local_size = size,
          .address = "localhost",
          .port = port};
}

struct Outcome {
  ErrorKind kind{};     // of the error that ended the rank
  std::string message;  // empty if there was none
};

// Calls `work` for each rank, in a thread each, and says how each ended.
inline std::vector<Outcome> run_ranks(int size, const CommunicatorOptions& options,
                                      const std::function<void(Communicator&)>& work) {
  const int port = free_port();
  std::vector<Outcome> outcomes(static_cast<size_t>(size));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        const std::unique_ptr<Communicator> ranks = Communicator::connect(local_launch(rank, size, port), options);
        work(*ranks);
        ranks->finish();
      } catch (const Error& error) {
        outcomes[static_cast<size_t>(rank)] = {error.kind(), error.what()};
      }
    });
  }
  threads.clear();
  return outcomes;
}

}  // namespace engine::testing
