#include "engine/data/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "engine/error.h"

namespace engine {
namespace {

class File {
 public:
  explicit File(const std::string& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

[[noreturn]] void fail_errno(const std::string& name, const char* action) {
  fail(ErrorKind::data, name, ": cannot ", action, ": ", std::generic_category().message(errno));
}

}  // namespace

std::vector<uint8_t> read_file(const std::string& path, const std::string& name, int64_t max_bytes) {
  const File file(path);
  if (file.descriptor() < 0) fail_errno(name, "open");
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) fail_errno(name, "read");
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::data, name, ": is not a regular file");
  if (status.st_size > max_bytes) {
    fail(ErrorKind::data, name, ": is ", status.st_size, " bytes, but at most ", max_bytes, " are read");
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t count = ::read(file.descriptor(), bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(name, "read");
    if (count == 0) {
      fail(ErrorKind::data, name, ": ended after ", filled, " of ", bytes.size(), " bytes; something is writing to it");
    }
    filled += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace engine
