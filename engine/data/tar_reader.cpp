#include "engine/data/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <memory>

#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

// Small, for what is read beside the headers is thrown away.
constexpr size_t kBlock = 8192;

struct CloseArchive {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

class TarLister {
 public:
  TarLister(const InputFile& file, uint64_t begin, uint64_t size)
      : file_(file), begin_(begin), size_(size), reader_(archive_read_new()) {
    if (!reader_) throw std::bad_alloc();
    archive_read_support_format_tar(reader_.get());
    archive_read_set_read_callback(reader_.get(), read);
    archive_read_set_skip_callback(reader_.get(), skip);
    archive_read_set_callback_data(reader_.get(), this);
  }

  void list(const std::function<void(const TarMember&)>& report) {
    if (archive_read_open1(reader_.get()) != ARCHIVE_OK) broken();
    TarMember pending;
    bool has_pending = false;
    for (archive_entry* entry = nullptr;;) {
      const int result = archive_read_next_header(reader_.get(), &entry);
      if (error_) std::rethrow_exception(error_);
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN && result != ARCHIVE_EOF) broken();
      if (has_pending) {
        // What libarchive passed over has to be what it announced; a member with holes is stored shorter.
        const auto next = static_cast<uint64_t>(archive_read_header_position(reader_.get()));
        constexpr uint64_t kUnit = 512;
        if (result != ARCHIVE_EOF && next != pending.offset + (pending.bytes + kUnit - 1) / kUnit * kUnit) {
          fail(ErrorKind::data, member_name(pending), ": is stored with holes, which are not read; unpack the tar");
        }
        pending.offset += begin_;
        report(pending);
      }
      if (result == ARCHIVE_EOF) return;
      has_pending = archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr;
      if (has_pending) pending = next_member(entry);
    }
  }

 private:
  TarMember next_member(archive_entry* entry) const {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr) name = archive_entry_pathname_utf8(entry);
    TarMember member{.name = name == nullptr ? "" : name,
                     .offset = static_cast<uint64_t>(archive_filter_bytes(reader_.get(), 0)),
                     .bytes = static_cast<uint64_t>(archive_entry_size(entry))};
    if (member.name.empty()) {
      fail(ErrorKind::data, file_.name(), ": the member at byte ", begin_ + member.offset, " has no readable name");
    }
    if (archive_entry_size(entry) < 0 || member.offset > size_ || member.bytes > size_ - member.offset) {
      fail(ErrorKind::data, member_name(member), ": ", archive_entry_size(entry), " bytes at ", begin_ + member.offset,
           " leave the ", file_.size(), " bytes of the tar, which was cut off or is damaged; copy it again");
    }
    if (archive_entry_sparse_count(entry) > 0) {
      fail(ErrorKind::data, member_name(member), ": is stored with holes, which are not read; unpack the tar");
    }
    return member;
  }

  std::string member_name(const TarMember& member) const { return file_.name() + " member " + printable(member.name); }

  [[noreturn]] void broken() const {
    if (error_) std::rethrow_exception(error_);
    const char* reason = archive_error_string(reader_.get());
    fail(ErrorKind::data, file_.name(), ": is no sound uncompressed tar (", reason == nullptr ? "empty" : reason,
         "); unpack it if it is compressed, else copy it again");
  }

  // Exceptions do not pass through libarchive: they wait in error_.
  static la_ssize_t read(archive*, void* self, const void** block) {
    auto& lister = *static_cast<TarLister*>(self);
    const auto count = static_cast<size_t>(std::min<uint64_t>(kBlock, lister.size_ - lister.position_));
    try {
      lister.file_.read(lister.begin_ + lister.position_, std::span(lister.block_).first(count));
    } catch (...) {
      lister.error_ = std::current_exception();
      return ARCHIVE_FATAL;
    }
    lister.position_ += count;
    *block = lister.block_.data();
    return static_cast<la_ssize_t>(count);
  }

  static la_int64_t skip(archive*, void* self, la_int64_t count) {
    auto& lister = *static_cast<TarLister*>(self);
    const uint64_t skipped =
        std::min(static_cast<uint64_t>(std::max<la_int64_t>(count, 0)), lister.size_ - lister.position_);
    lister.position_ += skipped;
    return static_cast<la_int64_t>(skipped);
  }

  const InputFile& file_;
  const uint64_t begin_, size_;
  uint64_t position_ = 0;
  std::array<uint8_t, kBlock> block_{};
  std::exception_ptr error_;
  std::unique_ptr<archive, CloseArchive> reader_;
};

}  // namespace

void list_tar(const InputFile& file, uint64_t begin, uint64_t size,
              const std::function<void(const TarMember&)>& member) {
  TarLister(file, begin, size).list(member);
}

}  // namespace engine
