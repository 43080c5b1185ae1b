#include "engine/dist/watch.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <sstream>

namespace engine::dist {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kTurn = milliseconds(50);
constexpr auto kGrace = seconds(1);
constexpr size_t kHeaderBytes = 9;  // kind, number, length of the text
constexpr uint32_t kMaxText = 4096;

constexpr char kAlive = 'a', kStop = 's', kLost = 'l', kLeaving = 'f', kFailed = 'e';

std::string seconds_text(std::chrono::duration<double> time) {
  std::ostringstream text;
  text << time.count() << " s";
  return text.str();
}

}  // namespace

Watch::Watch(std::vector<Peer> peers, WatchOptions options) : options_(std::move(options)) {
  for (size_t i = 0; i < peers.size(); ++i) {
    if (peers[i].watch.is_open()) {
      links_.push_back(
          {.peer = std::move(peers[i]), .rank = static_cast<int>(i), .received = {}, .heard = Clock::now()});
    }
  }
  thread_ = std::jthread([this] { work(); });
}

Watch::~Watch() {
  leave("it ended before the others");
  ending_ = true;
}

void Watch::leave(const std::string& error) {
  const std::lock_guard lock(mutex_);
  if (left_) return;
  left_ = true;
  for (const Link& link : links_) tell(link, error.empty() ? kLeaving : kFailed, options_.rank, error);
}

std::string Watch::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

std::string Watch::name_of(int rank) const {
  for (const Link& link : links_)
    if (link.rank == rank && !link.peer.host.empty())
      return "rank " + std::to_string(rank) + " (process " + std::to_string(link.peer.pid) + " on " + link.peer.host +
             ")";
  return "rank " + std::to_string(rank);
}

// With the lock held. A rank that does not read for a second is left alone: its own silence is noticed.
void Watch::tell(const Link& link, char kind, int number, const std::string& text) {
  if (link.gone || !link.peer.watch.is_open()) return;
  const auto length = static_cast<uint32_t>(std::min<size_t>(text.size(), kMaxText));
  std::string message(kHeaderBytes, kind);
  std::memcpy(message.data() + 1, &number, sizeof number);
  std::memcpy(message.data() + 5, &length, sizeof length);
  message.append(text, 0, length);
  (void)link.peer.watch.send(message.data(), message.size(), until(Clock::now() + seconds(1)));
}

void Watch::declare_lost(int rank, const std::string& why) {
  lose(rank, name_of(rank) + " " + why);
}

void Watch::lose(int rank, const std::string& sentence) {
  const std::lock_guard lock(mutex_);
  if (!lost_.empty()) return;
  lost_ = sentence;
  lost_since_ = Clock::now();
  lost_rank_ = rank;
  if (options_.rank == 0)
    for (const Link& link : links_)
      if (link.rank != rank) tell(link, kLost, rank, sentence);
  is_lost_.store(true, std::memory_order_release);
}

void Watch::forget(Link& link) {
  const std::lock_guard lock(mutex_);
  link.gone = true;
}

void Watch::listen(Link& link) {
  char bytes[1024];
  for (;;) {
    const std::ptrdiff_t got = link.peer.watch.receive_some(bytes, sizeof bytes);
    if (got > 0) {
      link.received.append(bytes, static_cast<size_t>(got));
      link.heard = Clock::now();
      continue;
    }
    read_messages(link);
    if (got < 0 && !link.gone) {
      forget(link);
      if (!any_lost()) lose(link.rank, name_of(link.rank) + " has died: its connection is closed");
    }
    break;
  }
  if (!link.gone && !any_lost() && Clock::now() - link.heard > options_.timeout)
    lose(link.rank, name_of(link.rank) + " has given no sign of life for " + seconds_text(options_.timeout));
}

void Watch::read_messages(Link& link) {
  while (link.received.size() >= kHeaderBytes) {
    int number = 0;
    uint32_t length = 0;
    std::memcpy(&number, link.received.data() + 1, sizeof number);
    std::memcpy(&length, link.received.data() + 5, sizeof length);
    length = std::min(length, kMaxText);
    if (link.received.size() < kHeaderBytes + length) return;
    const char kind = link.received[0];
    const std::string text = link.received.substr(kHeaderBytes, length);
    link.received.erase(0, kHeaderBytes + length);
    if (kind == kStop && options_.stop) options_.stop(number);
    if (kind == kLost) lose(number, text);
    if (kind == kLeaving) forget(link);
    if (kind == kFailed) {
      forget(link);
      lose(link.rank, name_of(link.rank) + " has stopped: " + text);
    }
  }
}

void Watch::work() {
  const auto beat = std::min<std::chrono::duration<double>>(seconds(1), options_.timeout / 8);
  Clock::time_point last_beat{};
  Clock::time_point last_turn = Clock::now();
  int told_signal = 0;
  while (!ending_) {
    const Clock::time_point now = Clock::now();
    if (now - last_turn > options_.timeout / 2)  // this process was stopped itself, perhaps the others with it
      for (Link& link : links_) link.heard = now;
    last_turn = now;
    std::vector<pollfd> waiting;
    for (const Link& link : links_)
      if (!link.gone) waiting.push_back({.fd = link.peer.watch.fd(), .events = POLLIN, .revents = 0});
    if (waiting.empty()) {
      std::this_thread::sleep_for(kTurn);
    } else {
      ::poll(waiting.data(), waiting.size(), milliseconds(kTurn).count());
    }
    for (Link& link : links_)
      if (!link.gone) listen(link);
    const int signal = options_.stop_signal ? options_.stop_signal() : 0;
    const bool beats = Clock::now() - last_beat >= beat;
    if (beats || signal != told_signal) {
      const std::lock_guard lock(mutex_);
      for (const Link& link : links_) {
        if (left_) break;
        if (beats) tell(link, kAlive, 0, "");
        if (signal != told_signal && signal != 0) tell(link, kStop, signal, "");
      }
      told_signal = signal;
      if (beats) last_beat = Clock::now();
    }
    if (any_lost() && options_.give_up) {
      const std::string sentence = lost();
      std::unique_lock lock(mutex_);
      const bool over = Clock::now() - lost_since_ > kGrace && !left_;
      lock.unlock();
      if (over && !ending_) options_.give_up(sentence);
    }
  }
}

}  // namespace engine::dist
