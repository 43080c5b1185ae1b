#include "engine/dist/socket.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace engine::dist {
namespace {

constexpr int kPollMs = 20;

// True when `events` have happened, or an error that the next call will tell.
bool wait_for(int fd, short events, const KeepWaiting& keep_waiting) {
  for (;;) {
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    if (::poll(&entry, 1, kPollMs) > 0) return true;
    if (!keep_waiting()) return false;
  }
}

Socket prepared(int fd) {
  const int on = 1;
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return Socket(fd);
}

bool may_come_later(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

KeepWaiting until(Clock::time_point deadline) {
  return [deadline] { return Clock::now() < deadline; };
}

void Socket::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Io Socket::send(const void* data, size_t bytes, const KeepWaiting& keep_waiting) const {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const std::ptrdiff_t sent = ::send(fd_, next, bytes, MSG_NOSIGNAL);
    if (sent < 0 && !may_come_later(errno)) return Io::closed;
    if (sent > 0) {
      next += sent;
      bytes -= static_cast<size_t>(sent);
    } else if (!wait_for(fd_, POLLOUT, keep_waiting)) {
      return Io::expired;
    }
  }
  return Io::done;
}

Io Socket::receive(void* data, size_t bytes, const KeepWaiting& keep_waiting) const {
  auto* next = static_cast<char*>(data);
  while (bytes > 0) {
    const std::ptrdiff_t got = receive_some(next, bytes);
    if (got < 0) return Io::closed;
    if (got > 0) {
      next += got;
      bytes -= static_cast<size_t>(got);
    } else if (!wait_for(fd_, POLLIN, keep_waiting)) {
      return Io::expired;
    }
  }
  return Io::done;
}

std::ptrdiff_t Socket::receive_some(void* data, size_t bytes) const {
  const std::ptrdiff_t got = ::recv(fd_, data, bytes, 0);
  if (got > 0) return got;
  return got < 0 && may_come_later(errno) ? 0 : -1;
}

Socket listen_on(int port, std::string* error) {
  for (const int family : {AF_INET6, AF_INET}) {
    const int fd = ::socket(family, SOCK_STREAM, 0);
    if (fd < 0) {
      *error = std::strerror(errno);
      continue;
    }
    Socket socket = prepared(fd);
    const int on = 1, off = 0;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(static_cast<uint16_t>(port));
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = six.sin6_port;
    if (family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    const int bound = family == AF_INET6 ? ::bind(fd, reinterpret_cast<const sockaddr*>(&six), sizeof six)
                                         : ::bind(fd, reinterpret_cast<const sockaddr*>(&four), sizeof four);
    if (bound == 0 && ::listen(fd, SOMAXCONN) == 0) return socket;
    *error = std::strerror(errno);
    if (errno == EADDRINUSE || errno == EACCES) break;
  }
  return {};
}

int port_of(const Socket& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

Socket accept_from(const Socket& listener) {
  const int fd = ::accept(listener.fd(), nullptr, nullptr);
  return fd < 0 ? Socket() : prepared(fd);
}

Socket connect_to(const std::string& address, int port, const KeepWaiting& keep_waiting, std::string* error) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0) {
    *error = ::gai_strerror(code);
    return {};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, ::freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    const int fd = ::socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol);
    if (fd < 0) continue;
    Socket socket = prepared(fd);
    int code = ::connect(fd, entry->ai_addr, entry->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
      socklen_t size = sizeof code;
      if (!wait_for(fd, POLLOUT, keep_waiting)) {
        code = ETIMEDOUT;
      } else if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) {
        code = errno;
      }
    }
    if (code == 0) return socket;
    *error = std::strerror(code);
  }
  return {};
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> result;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return result;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, ::freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    char text[NI_MAXHOST] = {};
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (::getnameinfo(entry->ifa_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      result.emplace_back(text);
  }
  return result;
}

}  // namespace engine::dist
