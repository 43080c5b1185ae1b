#pragma once
// Private to engine/dist: TCP connections whose calls wait as long as the caller wants, and no longer.
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace engine::dist {

using Clock = std::chrono::steady_clock;

// Asked again and again while a call waits; false ends it with Io::expired. It may throw.
using KeepWaiting = std::function<bool()>;
KeepWaiting until(Clock::time_point deadline);

enum class Io { done, closed, expired };

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void close();

  Io send(const void* data, size_t bytes, const KeepWaiting& keep_waiting) const;
  Io receive(void* data, size_t bytes, const KeepWaiting& keep_waiting) const;
  // What has arrived, up to `bytes`, without waiting: 0 if nothing has, -1 if the other side is gone.
  std::ptrdiff_t receive_some(void* data, size_t bytes) const;

 private:
  int fd_ = -1;
};

// On every address of this host, IPv4 and IPv6. Port 0: any that is free. Not open if the port is taken; `error` then
// says why.
Socket listen_on(int port, std::string* error);
int port_of(const Socket& listener);
// Not open if nobody has come.
Socket accept_from(const Socket& listener);
// To a name or address of either kind. Not open if that fails; `error` then says why.
Socket connect_to(const std::string& address, int port, const KeepWaiting& keep_waiting, std::string* error);

std::string host_name();
// Of this host's network interfaces that are up, the loopback left out.
std::vector<std::string> own_addresses();

}  // namespace engine::dist
