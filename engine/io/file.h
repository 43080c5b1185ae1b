#pragma once
// Reading and writing of files with every outcome accounted for: interrupted and short calls are continued, every other
// failure is an Error that names the operation, the path and what to do. A file that must never be seen half-written
// goes through AtomicFile or write_file_atomically.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/io/checksum.h"
#include "engine/io/file_ops.h"

namespace engine {

// "fsync runs/a/x: No space left on device (12.0 MB free); free some space or ..." from the given errno.
[[noreturn]] void fail_with_errno(ErrorKind kind, std::string_view operation, const std::filesystem::path& path,
                                  int error, FileOps& ops = FileOps::real());

// "1.5 GB", in powers of 1000, as disks are sold and df -H prints.
std::string human_bytes(std::uint64_t bytes);

// An open file, closed at the end of the scope.
class OpenFile {
 public:
  // Throws Error(kind). `kind` is also what every later failure is thrown as.
  OpenFile(std::filesystem::path path, int flags, ErrorKind kind, FileOps& ops = FileOps::real());
  ~OpenFile();
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&&) = delete;

  // At most one buffer full; 0 at the end of the file.
  std::size_t read_some(std::span<std::byte> buffer);
  // Everything or an Error.
  void write_all(std::span<const std::byte> bytes);
  std::uint64_t size();
  void truncate(std::uint64_t size);
  void fsync();
  // Throws where close() itself reports a lost write (network file systems); the destructor stays silent.
  void close();

  int fd() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  ErrorKind kind_;
  FileOps* ops_;
  int fd_ = -1;
};

struct ReadOptions {
  ErrorKind kind = ErrorKind::data;
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();  // a longer file is refused unread
};

// The whole file in memory. Never allocates more than the file holds.
std::vector<std::byte> read_file(const std::filesystem::path& path, ReadOptions options = {},
                                 FileOps& ops = FileOps::real());
std::string read_text_file(const std::filesystem::path& path, ReadOptions options = {}, FileOps& ops = FileOps::real());

struct FileDigest {
  std::uint64_t bytes = 0;
  std::string xxh3_128;
};

// Writes a new file (an old one is emptied) through a buffer and sums what passes through.
class FileWriter {
 public:
  FileWriter(const std::filesystem::path& path, ErrorKind kind, FileOps& ops = FileOps::real());

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  // Flushes, syncs and closes; the file is durable once its directory is synced too.
  FileDigest finish();

 private:
  void flush();

  OpenFile file_;
  std::vector<std::byte> buffer_;
  Xxh3Hasher hasher_;
  std::uint64_t bytes_ = 0;
};

// A file that appears under its name only when it is complete and on disk: written as `.<name>.tmp-<pid>-<n>` beside
// it, synced, renamed over the old one, directory synced. Without commit() nothing remains.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path, ErrorKind kind = ErrorKind::checkpoint,
                      FileOps& ops = FileOps::real());
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  FileWriter& writer() { return writer_; }
  FileDigest commit();

 private:
  std::filesystem::path path_, temporary_;
  ErrorKind kind_;
  FileOps& ops_;
  FileWriter writer_;
  bool committed_ = false;
};

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes,
                           ErrorKind kind = ErrorKind::checkpoint, FileOps& ops = FileOps::real());
void write_file_atomically(const std::filesystem::path& path, std::string_view text,
                           ErrorKind kind = ErrorKind::checkpoint, FileOps& ops = FileOps::real());

// Makes the entries of a directory durable. File systems that cannot sync a directory (EINVAL) are taken at their word.
void fsync_directory(const std::filesystem::path& directory, ErrorKind kind, FileOps& ops = FileOps::real());

// Creates `directory` and its parents and proves by a file that it can be written to. Throws Error(usage): to be called
// before any work is done.
void make_writable_directory(const std::filesystem::path& directory, FileOps& ops = FileOps::real());

// `.<name>.<tag>-<pid>-<n>` beside `path`, new with every call.
std::filesystem::path temporary_sibling(const std::filesystem::path& path, std::string_view tag);

}  // namespace engine
