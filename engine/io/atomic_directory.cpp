#include "engine/io/atomic_directory.h"

#include <cerrno>
#include <new>

#include "engine/io/file.h"

namespace engine {
namespace {

// Best effort, for destructors and for old content that nobody needs any more: what stays is removed at the next start.
void discard(const std::filesystem::path& directory, FileOps& ops) noexcept {
  try {
    std::vector<std::string> names;
    if (ops.list(directory, names) != 0) return;
    for (const std::string& name : names) ops.unlink(directory / name);
    ops.remove_directory(directory);
  } catch (const std::bad_alloc&) {
  }
}

bool cannot_exchange(int error) {
  return error == ENOSYS || error == EINVAL || error == EOPNOTSUPP;
}

PathKind kind_of(const std::filesystem::path& path, ErrorKind kind, FileOps& ops) {
  PathKind result;
  if (ops.kind(path, result) != 0) fail_with_errno(kind, "stat", path, errno, ops);
  return result;
}

}  // namespace

AtomicDirectory::AtomicDirectory(std::filesystem::path target, ErrorKind kind, FileOps& ops)
    : target_(std::move(target)), temporary_(temporary_sibling(target_, "tmp")), kind_(kind), ops_(ops) {
  if (ops_.make_directory(temporary_) != 0) fail_with_errno(kind_, "create directory", temporary_, errno, ops_);
}

AtomicDirectory::~AtomicDirectory() {
  if (!committed_) discard(temporary_, ops_);
}

void AtomicDirectory::commit() {
  fsync_directory(temporary_, kind_, ops_);
  if (kind_of(target_, kind_, ops_) == PathKind::absent) {
    if (ops_.rename(temporary_, target_) != 0) fail_with_errno(kind_, "rename to", target_, errno, ops_);
  } else if (ops_.exchange(temporary_, target_) == 0) {
    replaced_ = temporary_;
  } else if (cannot_exchange(errno)) {
    step_aside_and_rename();
  } else {
    fail_with_errno(kind_, "replace", target_, errno, ops_);
  }
  committed_ = true;
  // If this sync fails, nobody knows which of the two survives a power loss: both stay.
  fsync_directory(temporary_.parent_path(), kind_, ops_);
  if (!replaced_.empty()) discard(replaced_, ops_);
}

void AtomicDirectory::step_aside_and_rename() {
  const std::filesystem::path aside = temporary_sibling(target_, "old");
  if (ops_.rename(target_, aside) != 0) fail_with_errno(kind_, "rename aside", target_, errno, ops_);
  if (ops_.rename(temporary_, target_) != 0) {
    const int error = errno;
    ops_.rename(aside, target_);
    fail_with_errno(kind_, "rename to", target_, error, ops_);
  }
  replaced_ = aside;
}

std::string leftover_target(const std::string& name, const std::string& tag) {
  const std::size_t at = name.rfind("." + tag + "-");
  if (name.empty() || name.front() != '.' || at == std::string::npos || at < 2) return "";
  const std::string numbers = name.substr(at + tag.size() + 2);
  if (numbers.empty() || numbers.find_first_not_of("0123456789-") != std::string::npos) return "";
  return name.substr(1, at - 1);
}

std::vector<std::string> remove_leftovers(const std::filesystem::path& parent, FileOps& ops) {
  constexpr ErrorKind kKind = ErrorKind::checkpoint;
  std::vector<std::string> done;
  if (kind_of(parent, kKind, ops) == PathKind::absent) return done;
  std::vector<std::string> names;
  if (ops.list(parent, names) != 0) fail_with_errno(kKind, "list", parent, errno, ops);
  // An exchange that is visible but not yet durable would lose both directories if the old one were removed now.
  fsync_directory(parent, kKind, ops);
  for (const std::string& name : names) {
    const std::filesystem::path path = parent / name;
    const std::string stepped_aside = leftover_target(name, "old");
    if (!stepped_aside.empty() && kind_of(parent / stepped_aside, kKind, ops) == PathKind::absent) {
      if (ops.rename(path, parent / stepped_aside) != 0) fail_with_errno(kKind, "rename back", path, errno, ops);
      fsync_directory(parent, kKind, ops);
      done.push_back("gave " + path.string() + " its name " + stepped_aside + " back, left by a killed process");
    } else if (!stepped_aside.empty() || !leftover_target(name, "tmp").empty()) {
      if (kind_of(path, kKind, ops) == PathKind::directory) {
        remove_flat_directory(path, kKind, ops);
      } else if (ops.unlink(path) != 0) {
        fail_with_errno(kKind, "remove", path, errno, ops);
      }
      done.push_back("removed " + path.string() + ", left unfinished by a killed process");
    }
  }
  return done;
}

void remove_flat_directory(const std::filesystem::path& directory, ErrorKind kind, FileOps& ops) {
  std::vector<std::string> names;
  if (ops.list(directory, names) != 0) fail_with_errno(kind, "list", directory, errno, ops);
  for (const std::string& name : names)
    if (ops.unlink(directory / name) != 0) fail_with_errno(kind, "remove", directory / name, errno, ops);
  if (ops.remove_directory(directory) != 0) fail_with_errno(kind, "remove directory", directory, errno, ops);
}

}  // namespace engine
