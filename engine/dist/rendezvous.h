#pragma once
// Private to engine/dist: how the ranks of one run find each other. Rank 0 listens, the others connect to it twice: one
// connection carries data, the other the signs of life of engine/dist/watch.h.
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/dist/socket.h"

namespace engine::dist {

enum class Channel : uint32_t { data, watch };

// What a process says first. Whoever says something else is no rank and is not listened to.
struct Hello {
  uint32_t rank = 0, size = 0;
  Channel channel = Channel::data;
  int64_t pid = 0;
  std::string run_id, host, build;  // the first 127 bytes of each
};
inline constexpr size_t kHelloBytes = 424;
std::vector<std::byte> encode(const Hello& hello);
std::optional<Hello> decode_hello(std::span<const std::byte> bytes);

struct Peer {
  Socket data, watch;
  std::string host;
  int64_t pid = 0;
};

struct Meeting {
  int rank = 0, size = 1;
  std::string run_id, build;
  std::chrono::duration<double> timeout{};
};

// Rank 0: waits for all others. Peer 0 is this process and has no connections. Throws Error(usage) if a rank is of
// another build or was told another number of ranks, Error(peer) naming the ranks that have not come in time.
std::vector<Peer> gather_ranks(const Socket& listener, const Meeting& meeting);

// The others: the connection to rank 0 at the first of the addresses and ports where it is. Throws Error(peer) if it is
// at none of them in time, Error(usage) with its reason if it refuses.
Peer join_ranks(const std::vector<std::string>& addresses, int port, int num_ports, const Meeting& meeting);

}  // namespace engine::dist
