#include "engine/dist/rendezvous.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <sstream>
#include <thread>

#include "engine/error.h"
#include "engine/text.h"

namespace engine::dist {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kMagic[8] = {'E', 'N', 'G', 'R', 'A', 'N', 'K', 'S'};
constexpr uint32_t kVersion = 1;
constexpr auto kHelloTime = seconds(5);  // a process that has said nothing by then is no rank
constexpr auto kRetry = milliseconds(50);
constexpr size_t kMaxStrangers = 64;  // connections that have not said who they are
constexpr size_t kTextBytes = 128;
constexpr size_t kAnswerBytes = 512;

// Multi-byte numbers as the processor has them: the ranks of one run are of one build, and a rank of another byte order
// has another version number.
struct Wire {
  char magic[8];
  uint32_t version, rank, size, channel;
  int64_t pid;
  uint64_t reserved;
  char run_id[kTextBytes], host[kTextBytes], build[kTextBytes];
};
static_assert(sizeof(Wire) == kHelloBytes && std::is_trivially_copyable_v<Wire>);

struct Answer {
  char magic[8];
  uint32_t accepted;
  char text[kAnswerBytes - 12];
};
static_assert(sizeof(Answer) == kAnswerBytes);

void copy_text(char* to, size_t size, const std::string& from) {
  std::memset(to, 0, size);
  std::memcpy(to, from.data(), std::min(from.size(), size - 1));
}

std::string text_of(const char* text, size_t size) {
  return {text, ::strnlen(text, size)};
}

// Why `hello` is not of this run's; empty if it is.
std::string objection(const Hello& hello, const Meeting& meeting) {
  std::ostringstream text;
  if (hello.size != static_cast<uint32_t>(meeting.size)) {
    text << "rank " << hello.rank << " on " << printable(hello.host) << " was started as one of " << hello.size
         << " ranks, rank 0 as one of " << meeting.size << "; start all with the same number";
  } else if (hello.build != meeting.build) {
    text << "rank " << hello.rank << " on " << printable(hello.host) << " is engine " << printable(hello.build)
         << ", rank 0 is engine " << meeting.build << "; start the same program everywhere";
  }
  return text.str();
}

void answer(const Socket& socket, const std::string& refusal) {
  Answer message{};
  std::memcpy(message.magic, kMagic, sizeof kMagic);
  message.accepted = refusal.empty() ? 1 : 0;
  copy_text(message.text, sizeof message.text, refusal);
  (void)socket.send(&message, sizeof message, until(Clock::now() + seconds(1)));
}

// A connection that has not said who it is.
struct Stranger {
  Socket socket;
  Clock::time_point since;
  std::byte bytes[kHelloBytes];
  size_t got = 0;
};

// True once the hello is whole; closes the socket of one that has gone or taken too long.
bool listen_to(Stranger& stranger) {
  const std::ptrdiff_t got = stranger.socket.receive_some(stranger.bytes + stranger.got, kHelloBytes - stranger.got);
  if (got > 0) stranger.got += static_cast<size_t>(got);
  if (got < 0 || Clock::now() - stranger.since > kHelloTime) stranger.socket.close();
  return stranger.got == kHelloBytes;
}

std::string missing_ranks(const std::vector<Peer>& peers) {
  std::string text;
  int count = 0;
  for (size_t rank = 1; rank < peers.size(); ++rank) {
    if (peers[rank].data.is_open() && peers[rank].watch.is_open()) continue;
    if (++count <= 8) text += (count == 1 ? "" : ", ") + std::to_string(rank);
  }
  return (count == 1 ? "rank " : "ranks ") + text + (count > 8 ? " and others" : "");
}

}  // namespace

std::vector<std::byte> encode(const Hello& hello) {
  Wire wire{};
  std::memcpy(wire.magic, kMagic, sizeof kMagic);
  wire.version = kVersion;
  wire.rank = hello.rank;
  wire.size = hello.size;
  wire.channel = static_cast<uint32_t>(hello.channel);
  wire.pid = hello.pid;
  copy_text(wire.run_id, kTextBytes, hello.run_id);
  copy_text(wire.host, kTextBytes, hello.host);
  copy_text(wire.build, kTextBytes, hello.build);
  std::vector<std::byte> bytes(kHelloBytes);
  std::memcpy(bytes.data(), &wire, sizeof wire);
  return bytes;
}

std::optional<Hello> decode_hello(std::span<const std::byte> bytes) {
  Wire wire;
  if (bytes.size() != sizeof wire) return std::nullopt;
  std::memcpy(&wire, bytes.data(), sizeof wire);
  if (std::memcmp(wire.magic, kMagic, sizeof kMagic) != 0 || wire.version != kVersion || wire.channel > 1)
    return std::nullopt;
  return Hello{.rank = wire.rank,
               .size = wire.size,
               .channel = static_cast<Channel>(wire.channel),
               .pid = wire.pid,
               .run_id = text_of(wire.run_id, kTextBytes),
               .host = text_of(wire.host, kTextBytes),
               .build = text_of(wire.build, kTextBytes)};
}

std::vector<Peer> gather_ranks(const Socket& listener, const Meeting& meeting) {
  const Clock::time_point deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(meeting.timeout);
  std::vector<Peer> peers(static_cast<size_t>(meeting.size));
  std::list<Stranger> strangers;
  int open = 2 * (meeting.size - 1);
  // Takes a connection whose hello is whole.
  const auto admit = [&](Stranger& stranger) {
    const std::optional<Hello> hello = decode_hello(stranger.bytes);
    if (!hello) return;
    if (hello->run_id != meeting.run_id.substr(0, kTextBytes - 1)) {
      answer(stranger.socket, "the ranks of another run meet here; give each run a MASTER_PORT of its own");
      return;
    }
    if (const std::string reason = objection(*hello, meeting); !reason.empty()) {
      answer(stranger.socket, reason);
      for (const Peer& peer : peers)
        if (peer.watch.is_open()) answer(peer.watch, reason);
      fail(ErrorKind::usage, "ranks: ", reason);
    }
    if (hello->rank == 0 || hello->rank >= static_cast<uint32_t>(meeting.size)) {
      answer(stranger.socket, "there is a rank " + std::to_string(hello->rank) + " already, or none of that number");
      return;
    }
    Peer& peer = peers[hello->rank];
    Socket& socket = hello->channel == Channel::data ? peer.data : peer.watch;
    if (socket.is_open()) {
      answer(stranger.socket, "there is a rank " + std::to_string(hello->rank) + " already; give each its own number");
      return;
    }
    socket = std::move(stranger.socket);
    peer.host = hello->host;
    peer.pid = hello->pid;
    --open;
    if (hello->channel == Channel::data) answer(socket, "");
  };
  while (open > 0) {
    std::vector<pollfd> waiting = {{.fd = listener.fd(), .events = POLLIN, .revents = 0}};
    for (const Stranger& stranger : strangers)
      waiting.push_back({.fd = stranger.socket.fd(), .events = POLLIN, .revents = 0});
    ::poll(waiting.data(), waiting.size(), 20);
    for (Socket come; strangers.size() < kMaxStrangers && (come = accept_from(listener)).is_open();)
      strangers.push_back({.socket = std::move(come), .since = Clock::now(), .bytes = {}});
    for (auto stranger = strangers.begin(); stranger != strangers.end();) {
      const bool whole = listen_to(*stranger);
      if (whole) admit(*stranger);
      stranger = whole || !stranger->socket.is_open() ? strangers.erase(stranger) : std::next(stranger);
    }
    if (open > 0 && Clock::now() > deadline) {
      fail(ErrorKind::peer, "ranks: ", missing_ranks(peers), " of ", meeting.size, " did not connect to port ",
           port_of(listener), " of ", host_name(), " within ", meeting.timeout.count(),
           " s; see their own messages, and that a firewall lets them in");
    }
  }
  for (const Peer& peer : peers)
    if (peer.watch.is_open()) answer(peer.watch, "");  // everybody is here
  return peers;
}

Peer join_ranks(const std::vector<std::string>& addresses, int port, int num_ports, const Meeting& meeting) {
  const Clock::time_point deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(meeting.timeout);
  const auto hello = [&](Channel channel) {
    return encode({.rank = static_cast<uint32_t>(meeting.rank),
                   .size = static_cast<uint32_t>(meeting.size),
                   .channel = channel,
                   .pid = ::getpid(),
                   .run_id = meeting.run_id,
                   .host = host_name(),
                   .build = meeting.build});
  };
  // Says hello and waits for the answer: nothing if whoever listens there is not rank 0.
  const auto introduce = [&](const Socket& socket, Channel channel, Clock::time_point limit) {
    const std::vector<std::byte> bytes = hello(channel);
    Answer reply;
    if (socket.send(bytes.data(), bytes.size(), until(limit)) != Io::done) return false;
    if (socket.receive(&reply, sizeof reply, until(limit)) != Io::done) return false;
    if (std::memcmp(reply.magic, kMagic, sizeof kMagic) != 0) return false;
    if (reply.accepted == 0) {
      fail(ErrorKind::usage, "ranks: rank 0 refuses rank ", meeting.rank, ": ",
           printable(text_of(reply.text, sizeof reply.text)));
    }
    return true;
  };
  std::string problem = "no answer";
  while (Clock::now() < deadline) {
    for (const std::string& address : addresses) {
      for (int i = 0; i < num_ports; ++i) {
        const Clock::time_point soon = std::min(deadline, Clock::now() + kHelloTime);
        Peer peer;
        peer.data = connect_to(address, port + i, until(soon), &problem);
        if (!peer.data.is_open()) continue;
        if (!introduce(peer.data, Channel::data, soon)) {
          problem = "something else answers there";
          continue;
        }
        peer.watch = connect_to(address, port + i, until(soon), &problem);
        if (!peer.watch.is_open() || !introduce(peer.watch, Channel::watch, deadline)) {
          fail(ErrorKind::peer, "ranks: rank 0 on ", printable(address), " has ended, or not all ", meeting.size,
               " ranks have come within ", meeting.timeout.count(), " s; see its own message");
        }
        return peer;
      }
    }
    std::this_thread::sleep_for(kRetry);
  }
  std::string where;
  for (const std::string& address : addresses) where += (where.empty() ? "" : ", ") + printable(address);
  fail(ErrorKind::peer, "ranks: rank ", meeting.rank, " of ", meeting.size, " did not find rank 0 at ", where,
       num_ports > 1 ? ", ports " : ", port ", port, num_ports > 1 ? " to " + std::to_string(port + num_ports - 1) : "",
       ", within ", meeting.timeout.count(), " s (", problem, "); see that MASTER_ADDR and MASTER_PORT name rank 0");
}

}  // namespace engine::dist
