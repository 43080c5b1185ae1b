#include "engine/io/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace engine {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;
// Linux transfers at most 0x7ffff000 bytes a call; staying below keeps a large tensor from looking like a short write.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "; free some space or choose another directory";
    case EACCES:
    case EPERM:
      return "; check the permissions or choose another directory";
    case EROFS:
      return "; the file system is read-only, choose another directory";
    case ENOENT:
    case ENOTDIR:
      return "; check the path";
    case EIO:
      return "; the device reports a fault, see the kernel log";
    case EMFILE:
    case ENFILE:
      return "; raise the limit on open files (ulimit -n)";
    default:
      return "";
  }
}

std::filesystem::path parent_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

void fail_with_errno(ErrorKind kind, std::string_view operation, const std::filesystem::path& path, int error,
                     FileOps& ops) {
  std::string space;
  if (error == ENOSPC || error == EDQUOT) {
    const std::int64_t free = ops.free_bytes(parent_of(path));
    if (free >= 0) space = fmt::format(" ({} free)", human_bytes(static_cast<std::uint64_t>(free)));
  }
  fail(kind, operation, " ", path.string(), ": ", std::strerror(error), space, remedy(error));
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes);
  for (const char* unit : {"kB", "MB", "GB"}) {
    value /= 1000;
    if (value < 999.95) return fmt::format("{:.1f} {}", value, unit);
  }
  return fmt::format("{:.1f} TB", value / 1000);
}

OpenFile::OpenFile(std::filesystem::path path, int flags, ErrorKind kind, FileOps& ops)
    : path_(std::move(path)), kind_(kind), ops_(&ops) {
  do fd_ = ops.open(path_, flags, 0666);
  while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) fail_with_errno(kind, (flags & O_ACCMODE) == O_RDONLY ? "open" : "create", path_, errno, ops);
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) ops_->close(fd_);
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : path_(std::move(other.path_)), kind_(other.kind_), ops_(other.ops_), fd_(std::exchange(other.fd_, -1)) {}

std::size_t OpenFile::read_some(std::span<std::byte> buffer) {
  std::ptrdiff_t got;
  do got = ops_->read(fd_, buffer.data(), std::min(buffer.size(), kMaxTransfer));
  while (got < 0 && errno == EINTR);
  if (got < 0) fail_with_errno(kind_, "read", path_, errno, *ops_);
  return static_cast<std::size_t>(got);
}

void OpenFile::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::ptrdiff_t put = ops_->write(fd_, bytes.data(), std::min(bytes.size(), kMaxTransfer));
    if (put > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    } else if (put == 0 || errno != EINTR) {
      // A write of 0 bytes that is no failure would loop for ever; no regular file gives it on a sound disk.
      fail_with_errno(kind_, "write", path_, put == 0 ? EIO : errno, *ops_);
    }
  }
}

std::uint64_t OpenFile::size() {
  const std::int64_t size = ops_->size(fd_);
  if (size < 0) fail_with_errno(kind_, "stat", path_, errno, *ops_);
  return static_cast<std::uint64_t>(size);
}

void OpenFile::truncate(std::uint64_t size) {
  int result;
  do result = ops_->truncate(fd_, static_cast<std::int64_t>(size));
  while (result != 0 && errno == EINTR);
  if (result != 0) fail_with_errno(kind_, "truncate", path_, errno, *ops_);
}

void OpenFile::fsync() {
  int result;
  do result = ops_->fsync(fd_);
  while (result != 0 && errno == EINTR);
  if (result != 0) fail_with_errno(kind_, "fsync", path_, errno, *ops_);
}

void OpenFile::close() {
  const int fd = std::exchange(fd_, -1);
  // After EINTR Linux has closed the descriptor: a second close could hit another thread's file.
  if (fd >= 0 && ops_->close(fd) != 0 && errno != EINTR) fail_with_errno(kind_, "close", path_, errno, *ops_);
}

std::vector<std::byte> read_file(const std::filesystem::path& path, ReadOptions options, FileOps& ops) {
  PathKind path_kind;
  if (ops.kind(path, path_kind) != 0) fail_with_errno(options.kind, "open", path, errno, ops);
  if (path_kind == PathKind::directory) fail_with_errno(options.kind, "read", path, EISDIR, ops);
  OpenFile file(path, O_RDONLY, options.kind, ops);
  const std::uint64_t size = file.size();
  if (size > options.max_bytes)
    fail(options.kind, "read ", path.string(), ": ", size, " bytes, expected at most ", options.max_bytes);
  std::vector<std::byte> bytes(size);
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const std::size_t got = file.read_some(std::span(bytes).subspan(filled));
    if (got == 0)
      fail(options.kind, "read ", path.string(), ": ends after ", filled, " of ", size,
           " bytes; the file became shorter while it was read");
    filled += got;
  }
  return bytes;
}

std::string read_text_file(const std::filesystem::path& path, ReadOptions options, FileOps& ops) {
  const std::vector<std::byte> bytes = read_file(path, options, ops);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

FileWriter::FileWriter(const std::filesystem::path& path, ErrorKind kind, FileOps& ops)
    : file_(path, O_WRONLY | O_CREAT | O_TRUNC, kind, ops) {}

void FileWriter::write(std::span<const std::byte> bytes) {
  hasher_.update(bytes);
  bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() >= kBufferBytes) {
    file_.write_all(bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void FileWriter::flush() {
  file_.write_all(buffer_);
  buffer_.clear();
}

FileDigest FileWriter::finish() {
  flush();
  file_.fsync();
  file_.close();
  return {bytes_, hasher_.hex()};
}

std::filesystem::path temporary_sibling(const std::filesystem::path& path, std::string_view tag) {
  static std::atomic<unsigned> counter{0};
  return parent_of(path) / fmt::format(".{}.{}-{}-{}", path.filename().string(), tag, ::getpid(), counter++);
}

AtomicFile::AtomicFile(std::filesystem::path path, ErrorKind kind, FileOps& ops)
    : path_(std::move(path)),
      temporary_(temporary_sibling(path_, "tmp")),
      kind_(kind),
      ops_(ops),
      writer_(temporary_, kind, ops) {}

AtomicFile::~AtomicFile() {
  if (!committed_) ops_.unlink(temporary_);
}

FileDigest AtomicFile::commit() {
  FileDigest digest = writer_.finish();
  if (ops_.rename(temporary_, path_) != 0) fail_with_errno(kind_, "rename to", path_, errno, ops_);
  committed_ = true;
  fsync_directory(parent_of(path_), kind_, ops_);
  return digest;
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes, ErrorKind kind,
                           FileOps& ops) {
  AtomicFile file(path, kind, ops);
  file.writer().write(bytes);
  file.commit();
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text, ErrorKind kind, FileOps& ops) {
  write_file_atomically(path, std::as_bytes(std::span(text)), kind, ops);
}

void fsync_directory(const std::filesystem::path& directory, ErrorKind kind, FileOps& ops) {
  OpenFile file(directory, O_RDONLY | O_DIRECTORY, kind, ops);
  int result;
  do result = ops.fsync(file.fd());
  while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EINVAL) fail_with_errno(kind, "fsync", directory, errno, ops);
}

void make_writable_directory(const std::filesystem::path& directory, FileOps& ops) {
  std::filesystem::path so_far;
  for (const std::filesystem::path& part : directory) {
    so_far /= part;
    PathKind kind;
    if (ops.kind(so_far, kind) != 0) fail_with_errno(ErrorKind::usage, "create directory", so_far, errno, ops);
    if (kind == PathKind::file || kind == PathKind::other)
      fail(ErrorKind::usage, "create directory ", directory.string(), ": ", so_far.string(),
           " is a file; choose another directory");
    if (kind == PathKind::absent && ops.make_directory(so_far) != 0 && errno != EEXIST)
      fail_with_errno(ErrorKind::usage, "create directory", so_far, errno, ops);
  }
  const std::filesystem::path probe = temporary_sibling(directory / "probe", "tmp");
  try {
    FileWriter(probe, ErrorKind::usage, ops).finish();
  } catch (...) {
    ops.unlink(probe);
    throw;
  }
  ops.unlink(probe);
}

}  // namespace engine
