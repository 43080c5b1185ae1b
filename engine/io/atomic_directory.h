#pragma once
// A directory of files that replaces the one of the same name in a single step, or not at all.
//
// Protocol: everything is written into `.<name>.tmp-<pid>-<n>` beside the target, each file synced; commit() syncs that
// directory, exchanges it with the target (RENAME_EXCHANGE; a plain rename when there is no target yet), syncs the
// parent, and only then removes the old content. Where the file system cannot exchange, the old directory steps aside
// as
// `.<name>.old-<pid>-<n>` first. A crash at any point leaves the old or the new directory whole, under its name or
// under the
// `.old-` one; remove_leftovers() puts that right.
#include <filesystem>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/io/file_ops.h"

namespace engine {

class AtomicDirectory {
 public:
  // Creates the temporary directory; the parent of `target` must exist.
  explicit AtomicDirectory(std::filesystem::path target, ErrorKind kind = ErrorKind::checkpoint,
                           FileOps& ops = FileOps::real());
  // Without commit(), removes what was written.
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  // Where to write: flat, no subdirectories; each file to be synced by its writer (FileWriter::finish).
  const std::filesystem::path& directory() const { return temporary_; }
  void commit();

 private:
  void step_aside_and_rename();

  std::filesystem::path target_, temporary_;
  std::filesystem::path replaced_;  // the old content, once it is out of the way
  ErrorKind kind_;
  FileOps& ops_;
  bool committed_ = false;
};

// Removes the temporary files and directories that killed processes left in `parent`, and gives a directory that had
// stepped aside its name back if the new one never arrived. The caller holds the RunLock of the run, so no living
// process owns any of them. Returns what was done, one sentence each. An absent `parent` is no error.
std::vector<std::string> remove_leftovers(const std::filesystem::path& parent, FileOps& ops = FileOps::real());

// Removes a directory that holds only files. Throws Error(kind) at the first failure.
void remove_flat_directory(const std::filesystem::path& directory, ErrorKind kind, FileOps& ops = FileOps::real());

// For `.<name>.old-<pid>-<n>` and `.<name>.tmp-<pid>-<n>`: <name>; otherwise "".
std::string leftover_target(const std::string& name, const std::string& tag);

}  // namespace engine
