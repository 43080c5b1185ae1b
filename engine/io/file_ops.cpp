#include "engine/io/file_ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace engine {
namespace {

class RealFileOps final : public FileOps {
 public:
  int open(const std::filesystem::path& path, int flags, unsigned mode) override {
    return ::open(path.c_str(), flags | O_CLOEXEC, mode);
  }
  std::ptrdiff_t read(int fd, void* data, std::size_t size) override { return ::read(fd, data, size); }
  std::ptrdiff_t write(int fd, const void* data, std::size_t size) override { return ::write(fd, data, size); }
  std::int64_t size(int fd) override {
    struct stat status;
    return ::fstat(fd, &status) == 0 ? std::int64_t{status.st_size} : -1;
  }
  int truncate(int fd, std::int64_t size) override { return ::ftruncate(fd, size); }
  int fsync(int fd) override { return ::fsync(fd); }
  int close(int fd) override { return ::close(fd); }

  int rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return ::rename(from.c_str(), to.c_str());
  }
  int exchange(const std::filesystem::path& a, const std::filesystem::path& b) override {
    return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  }
  int link(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return ::link(from.c_str(), to.c_str());
  }
  int unlink(const std::filesystem::path& path) override { return ::unlink(path.c_str()); }
  int make_directory(const std::filesystem::path& path) override { return ::mkdir(path.c_str(), 0777); }
  int remove_directory(const std::filesystem::path& path) override { return ::rmdir(path.c_str()); }

  int list(const std::filesystem::path& path, std::vector<std::string>& names) override {
    DIR* directory = ::opendir(path.c_str());
    if (!directory) return -1;
    names.clear();
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    const int error = errno;
    ::closedir(directory);
    std::sort(names.begin(), names.end());
    errno = error;
    return error ? -1 : 0;
  }

  int kind(const std::filesystem::path& path, PathKind& kind) override {
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) {
      kind = PathKind::absent;
      return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    }
    kind = S_ISREG(status.st_mode) ? PathKind::file : S_ISDIR(status.st_mode) ? PathKind::directory : PathKind::other;
    return 0;
  }

  std::int64_t free_bytes(const std::filesystem::path& path) override {
    struct statvfs status;
    if (::statvfs(path.c_str(), &status) != 0) return -1;
    return static_cast<std::int64_t>(status.f_bavail) * static_cast<std::int64_t>(status.f_frsize);
  }
};

}  // namespace

FileOps& FileOps::real() {
  static RealFileOps ops;
  return ops;
}

}  // namespace engine
