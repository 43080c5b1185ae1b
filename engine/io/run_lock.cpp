#include "engine/io/run_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

namespace engine {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

struct Holder {
  long pid = 0;
  std::string host;
};

Holder read_holder(OpenFile& file) {
  char text[512] = {};
  const std::ptrdiff_t got = ::pread(file.fd(), text, sizeof text - 1, 0);
  Holder holder;
  if (got > 0) std::istringstream(std::string(text, static_cast<std::size_t>(got))) >> holder.pid >> holder.host;
  return holder;
}

[[noreturn]] void fail_held(const std::filesystem::path& run_dir, const Holder& holder) {
  std::ostringstream who;
  if (holder.pid > 0)
    who << "process " << holder.pid << " on " << holder.host;
  else
    who << "another process";
  fail(ErrorKind::usage, "run directory ", run_dir.string(), " is in use by ", who.str(),
       "; wait for it to end, stop it, or choose another --output-dir");
}

// Only where flock() is not supported. A process of another host cannot be asked: it counts as alive.
bool recorded_holder_lives(const Holder& holder) {
  if (holder.pid <= 0 || holder.pid == ::getpid()) return false;
  if (holder.host != host_name()) return true;
  return ::kill(static_cast<pid_t>(holder.pid), 0) == 0 || errno == EPERM;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& run_dir) : file_(run_dir / ".lock", O_RDWR | O_CREAT, ErrorKind::usage) {
  int result;
  do result = ::flock(file_.fd(), LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result != 0) {
    const int error = errno;
    const Holder holder = read_holder(file_);
    if (error == EWOULDBLOCK || recorded_holder_lives(holder)) fail_held(run_dir, holder);
  }
  const std::string text = std::to_string(::getpid()) + ' ' + host_name() + '\n';
  file_.truncate(0);
  file_.write_all(std::as_bytes(std::span(text)));
}

RunLock::~RunLock() {
  // The file itself stays: unlinking it would let two processes lock two files of one name.
  try {
    file_.truncate(0);
  } catch (const Error&) {
  }
}

}  // namespace engine
