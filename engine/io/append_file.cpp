#include "engine/io/append_file.h"

#include <fcntl.h>

namespace engine {

AppendFile::AppendFile(const std::filesystem::path& path, LogFailure on_failure, FileOps& ops)
    : path_(path), ops_(ops), on_failure_(std::move(on_failure)) {
  try {
    file_ = std::make_unique<OpenFile>(path, O_WRONLY | O_CREAT | O_APPEND, ErrorKind::usage, ops);
    good_bytes_ = file_->size();
  } catch (const Error& error) {
    file_.reset();
    report(error);
  }
}

bool AppendFile::append(std::span<const std::byte> record) {
  try {
    if (file_ && torn_) {
      file_->truncate(good_bytes_);
      torn_ = false;
    }
    if (file_) {
      torn_ = true;
      file_->write_all(record);
      torn_ = false;
      good_bytes_ += record.size();
      return true;
    }
  } catch (const Error& error) {
    report(error);
  }
  ++dropped_;
  return false;
}

void AppendFile::sync() {
  if (!file_) return;
  try {
    file_->fsync();
    if (!entry_synced_) fsync_directory(path_.has_parent_path() ? path_.parent_path() : ".", ErrorKind::usage, ops_);
    entry_synced_ = true;
  } catch (const Error& error) {
    report(error);
  }
}

void AppendFile::report(const Error& error) {
  if (!reported_ && on_failure_) on_failure_(std::string(error.what()) + "; the work goes on without these records");
  reported_ = true;
}

}  // namespace engine
