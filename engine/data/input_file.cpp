#include "engine/data/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/error.h"

namespace engine {
namespace {

[[noreturn]] void fail_errno(const std::string& name, const char* action, int error) {
  fail(ErrorKind::data, name, ": cannot ", action, ": ", std::generic_category().message(error));
}

}  // namespace

InputFile::InputFile(const std::string& path, std::string name)
    : name_(std::move(name)), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) fail_errno(name_, "open", errno);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  const int error = errno;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    if (!known) fail_errno(name_, "read", error);
    fail(ErrorKind::data, name_, ": is not a regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

size_t InputFile::read_some(uint64_t offset, std::span<uint8_t> bytes) const {
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t count =
        ::pread(descriptor_, bytes.data() + filled, bytes.size() - filled, static_cast<off_t>(offset + filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(name_, "read", errno);
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  return filled;
}

void InputFile::read(uint64_t offset, std::span<uint8_t> bytes) const {
  const size_t filled = read_some(offset, bytes);
  if (filled == bytes.size()) return;
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno(name_, "read", errno);
  fail(ErrorKind::data, name_, ": ended after ", status.st_size, " of ", offset + bytes.size(),
       " bytes; something is writing to it");
}

std::vector<uint8_t> InputFile::read(uint64_t offset, size_t count) const {
  std::vector<uint8_t> bytes(count);
  read(offset, bytes);
  return bytes;
}

}  // namespace engine
