#include "engine/dist/communicator.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <thread>

#include "engine/dist/rendezvous.h"
#include "engine/dist/transport.h"
#include "engine/dist/watch.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

using dist::Clock;
using dist::Io;
using dist::Peer;
using dist::Socket;

// The others leave the verdict on who is missing to rank 0, which sees all, this long.
constexpr std::chrono::seconds kVerdictTime{2};
constexpr size_t kPieceFloats = size_t{1} << 16;
constexpr size_t kMaxListed = 5;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

// Adds the time of a scope.
class Timed {
 public:
  explicit Timed(double& seconds) : seconds_(seconds) {}
  ~Timed() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double& seconds_;
  const Clock::time_point start_ = Clock::now();
};

class ConnectedRanks final : public Communicator {
 public:
  ConnectedRanks(const Launch& launch, const CommunicatorOptions& options)
      : Communicator(launch.rank, launch.size), timeout_(options.timeout_seconds) {
    dist::Meeting meeting{
        .rank = launch.rank, .size = launch.size, .run_id = launch.run_id, .build = options.build, .timeout = timeout_};
    if (launch.kind == LaunchKind::mpi) transport_ = dist::start_mpi(launch);
    std::vector<Peer> peers;
    if (is_first()) {
      const Socket listener = listen(launch);
      if (transport_) transport_->broadcast(own_place(listener));
      peers = dist::gather_ranks(listener, meeting);
      peers[0].host = dist::host_name();
      peers[0].pid = ::getpid();
    } else {
      std::vector<std::string> addresses = {launch.address};
      int port = launch.port, num_ports = launch.num_ports;
      if (transport_) {
        addresses = split(transport_->broadcast(""), ' ');
        if (addresses.size() < 2) fail(ErrorKind::peer, "ranks: rank 0 has ended before it said where it listens");
        port = std::stoi(addresses[0]);
        // On one host the loopback does, whatever the names and interfaces.
        addresses.erase(addresses.begin());
        if (addresses[0] == dist::host_name()) addresses.insert(addresses.begin(), "localhost");
        num_ports = 1;
      }
      peers.push_back(dist::join_ranks(addresses, port, num_ports, meeting));
      peers[0].host.clear();
    }
    for (Peer& peer : peers) data_.push_back(std::move(peer.data));
    watch_ = std::make_unique<dist::Watch>(
        std::move(peers), dist::WatchOptions{.rank = rank(),
                                             .timeout = timeout_,
                                             .stop_signal = options.stop_signal,
                                             .stop = options.stop,
                                             .give_up = [words = options.last_words](const std::string& sentence) {
                                               if (words) words("ranks: " + sentence);
                                               ::_exit(static_cast<int>(ErrorKind::peer));
                                             }});
  }

  std::string description() const override {
    return std::to_string(size()) + " ranks by " + (transport_ ? transport_->name() : "TCP");
  }

  void sum(std::span<float> values) override {
    const Timed timed(seconds_);
    check_peers();
    if (transport_) return transport_->sum(values, keep_waiting_for());
    if (!is_first()) {
      send(0, values.data(), values.size_bytes());
      return receive(0, values.data(), values.size_bytes());
    }
    std::vector<float> piece(std::min(kPieceFloats, values.size()));
    for (int from = 1; from < size(); ++from) {
      for (size_t at = 0; at < values.size(); at += piece.size()) {
        const size_t count = std::min(piece.size(), values.size() - at);
        receive(from, piece.data(), count * sizeof(float));
        for (size_t i = 0; i < count; ++i) values[at + i] += piece[i];
      }
    }
    for (int to = 1; to < size(); ++to) send(to, values.data(), values.size_bytes());
  }

  void all_gather(std::span<const float> mine, std::span<float> all) override {
    const Timed timed(seconds_);
    check_peers();
    if (transport_) return transport_->all_gather(mine, all, keep_waiting_for());
    if (!is_first()) {
      send(0, mine.data(), mine.size_bytes());
      return receive(0, all.data(), all.size_bytes());
    }
    std::copy(mine.begin(), mine.end(), all.begin());
    for (int from = 1; from < size(); ++from)
      receive(from, all.data() + static_cast<size_t>(from) * mine.size(), mine.size_bytes());
    for (int to = 1; to < size(); ++to) send(to, all.data(), all.size_bytes());
  }

  std::vector<std::string> gather(std::string_view mine) override {
    const Timed timed(seconds_);
    check_peers();
    if (!is_first()) {
      send_text(0, mine);
      return {};
    }
    std::vector<std::string> all = {std::string(mine)};
    for (int from = 1; from < size(); ++from) all.push_back(receive_text(from));
    return all;
  }

  std::vector<std::string> all_gather(std::string_view mine) override {
    std::vector<std::string> all = gather(mine);
    const Timed timed(seconds_);
    all.resize(static_cast<size_t>(size()));
    for (std::string& text : all) {
      if (!is_first()) text = receive_text(0);
      for (int to = 1; is_first() && to < size(); ++to) send_text(to, text);
    }
    return all;
  }

  std::string broadcast(std::string_view text) override {
    const Timed timed(seconds_);
    check_peers();
    if (!is_first()) return receive_text(0);
    for (int to = 1; to < size(); ++to) send_text(to, text);
    return std::string(text);
  }

  void check_peers() const override {
    if (watch_->any_lost()) fail(ErrorKind::peer, "ranks: ", printable(watch_->lost()));
  }

  void finish() override {
    barrier();
    watch_->leave();
    if (transport_) transport_->finish();
  }

  void abandon(const std::string& error) override { watch_->leave(error); }

 private:
  static Socket listen(const Launch& launch) {
    std::string error;
    if (launch.kind == LaunchKind::mpi) {
      Socket listener = dist::listen_on(0, &error);
      check(listener.is_open(), "ranks: rank 0 cannot listen on this host: ", error);
      return listener;
    }
    for (int i = 0; i < launch.num_ports; ++i) {
      Socket listener = dist::listen_on(launch.port + i, &error);
      if (listener.is_open()) return listener;
    }
    fail(ErrorKind::usage, "ranks: rank 0 cannot listen on port ", launch.port, " of ", dist::host_name(), ": ", error,
         "; set MASTER_PORT (with torchrun: ENGINE_PORT) to one that is free");
  }

  // "PORT HOST ADDRESS ADDRESS..."
  static std::string own_place(const Socket& listener) {
    std::string text = std::to_string(dist::port_of(listener)) + ' ' + dist::host_name();
    for (const std::string& address : dist::own_addresses()) text += ' ' + address;
    return text;
  }

  // Throws when a rank is lost, or what is waited for has not come from `from` in time.
  dist::Transport::KeepWaitingFor keep_waiting_for() const {
    const std::chrono::duration<double> patience = is_first() ? timeout_ : timeout_ + kVerdictTime;
    return [this, patience, start = Clock::now()](int from) {
      check_peers();
      if (Clock::now() - start < patience) return;
      std::ostringstream why;
      why << "has not come to a common operation within " << timeout_.count()
          << " s, though its process is alive: see where it hangs";
      watch_->declare_lost(from, why.str());
      check_peers();
    };
  }
  dist::KeepWaiting keep_waiting(int from) const {
    return [ask = keep_waiting_for(), from] {
      ask(from);
      return true;
    };
  }

  // A connection that closes is that of a rank that has died, of which the watch knows why in a moment.
  [[noreturn]] void fail_closed(int rank) const {
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(1);
    while (!watch_->any_lost() && Clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    watch_->declare_lost(rank, "has closed its connection");
    check_peers();
    fail(ErrorKind::peer, "ranks: rank ", rank, " has closed its connection");
  }

  void send(int to, const void* data, size_t bytes) const {
    if (data_[static_cast<size_t>(to)].send(data, bytes, keep_waiting(to)) != Io::done) fail_closed(to);
  }
  void receive(int from, void* data, size_t bytes) const {
    if (data_[static_cast<size_t>(from)].receive(data, bytes, keep_waiting(from)) != Io::done) fail_closed(from);
  }
  void send_text(int to, std::string_view text) const {
    const uint64_t size = text.size();
    std::string message(sizeof size, '\0');
    std::memcpy(message.data(), &size, sizeof size);
    message += text;
    send(to, message.data(), message.size());
  }
  std::string receive_text(int from) const {
    uint64_t size = 0;
    receive(from, &size, sizeof size);
    std::string text(size, '\0');
    receive(from, text.data(), size);
    return text;
  }

  const std::chrono::duration<double> timeout_;
  std::unique_ptr<dist::Transport> transport_;  // null: by the connections below
  std::vector<Socket> data_;                    // by rank; on the others to rank 0 only
  std::unique_ptr<dist::Watch> watch_;
};

}  // namespace

std::unique_ptr<Communicator> Communicator::connect(const Launch& launch, const CommunicatorOptions& options) {
  return std::make_unique<ConnectedRanks>(launch, options);
}

void expect_same(Communicator& ranks, const std::vector<std::pair<std::string, std::string>>& facts) {
  // Each value on a line of its own behind its name, so that every rank can say what differs.
  std::string mine;
  for (const auto& [name, value] : facts) mine += name + '\t' + printable(value) + '\n';
  const std::vector<std::string> all = ranks.all_gather(mine);
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    const std::vector<std::string> here = split(all[rank], '\n'), first = split(all[0], '\n');
    std::string text;
    size_t count = 0;
    for (size_t i = 0; i < std::max(here.size(), first.size()); ++i) {
      const std::string a = i < here.size() ? here[i] : "", b = i < first.size() ? first[i] : "";
      if (a == b || ++count > kMaxListed) continue;
      const size_t tab = std::min(a.find('\t'), a.size()), other = std::min(b.find('\t'), b.size());
      text += (count > 1 ? "; " : "") + a.substr(0, tab) + " is " + a.substr(std::min(tab + 1, a.size())) +
              ", rank 0 has " + b.substr(std::min(other + 1, b.size()));
    }
    if (count > kMaxListed) text += "; and " + std::to_string(count - kMaxListed) + " more";
    fail(ErrorKind::usage, "ranks: rank ", rank, " differs from rank 0: ", text,
         "; start all ranks with the same command, data and files");
  }
}

}  // namespace engine
