#pragma once
// The system calls that the library makes on files and directories, behind one small interface, so that tests can let
// the i-th call fail, shorten a write, or lose what was not synced.
//
// Every call follows POSIX: -1 and errno on failure. Callers use file.h; nothing else calls these directly.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

enum class PathKind { absent, file, directory, other };

class FileOps {
 public:
  virtual ~FileOps() = default;

  virtual int open(const std::filesystem::path& path, int flags, unsigned mode) = 0;
  virtual std::ptrdiff_t read(int fd, void* data, std::size_t size) = 0;
  virtual std::ptrdiff_t write(int fd, const void* data, std::size_t size) = 0;
  virtual std::int64_t size(int fd) = 0;
  virtual int truncate(int fd, std::int64_t size) = 0;
  virtual int fsync(int fd) = 0;
  virtual int close(int fd) = 0;

  virtual int rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  // Swaps two existing entries in one step; ENOSYS, EINVAL or EOPNOTSUPP where the file system cannot.
  virtual int exchange(const std::filesystem::path& a, const std::filesystem::path& b) = 0;
  virtual int link(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual int unlink(const std::filesystem::path& path) = 0;
  virtual int make_directory(const std::filesystem::path& path) = 0;
  virtual int remove_directory(const std::filesystem::path& path) = 0;
  // Names in `path` without "." and "..", sorted bytewise.
  virtual int list(const std::filesystem::path& path, std::vector<std::string>& names) = 0;
  // Follows symbolic links; an absent path is PathKind::absent, not a failure.
  virtual int kind(const std::filesystem::path& path, PathKind& kind) = 0;
  virtual std::int64_t free_bytes(const std::filesystem::path& path) = 0;

  // The operating system's.
  static FileOps& real();
};

}  // namespace engine
