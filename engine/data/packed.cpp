#include "engine/data/packed.h"

#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/input_file.h"
#include "engine/data/packed_format.h"
#include "engine/error.h"
#include "engine/io/crc32c.h"
#include "engine/text.h"

namespace engine {
namespace {

using Bytes = std::span<const uint8_t>;

uint32_t checksum(Bytes bytes) {
  return crc32c(std::as_bytes(bytes));
}

template <class Number>
Number little_endian(const uint8_t* bytes) {
  Number value = 0;
  for (size_t i = sizeof(Number); i-- > 0;) value = static_cast<Number>(value << 8 | bytes[i]);
  return value;
}

// Takes numbers and texts off the front of an index; none reaches beyond its end.
class IndexReader {
 public:
  IndexReader(Bytes bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  size_t left() const { return bytes_.size(); }

  Bytes take(size_t count) {
    if (count > bytes_.size()) broken("it ends early");
    const Bytes taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  template <class Number>
  Number number() {
    return little_endian<Number>(take(sizeof(Number)).data());
  }
  std::string text() { return printable(chars(number<uint32_t>())); }
  std::string_view chars(size_t count) {
    if (count > packed::kMaxNameBytes) broken("it has a name of ", count, " bytes");
    const Bytes bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  template <class... Parts>
  [[noreturn]] void broken(const Parts&... parts) const {
    fail(ErrorKind::data, name_, ": the index of the packed data set is damaged, ", parts..., "; pack it again");
  }

 private:
  Bytes bytes_;
  const std::string& name_;
};

class PackedFile {
 public:
  struct Part {
    std::string name;
    int64_t count = 0;
  };

  explicit PackedFile(const std::string& path) : file_(path, printable(path)) {
    uint8_t header[packed::kHeaderBytes], footer[packed::kFooterBytes];
    const std::string& name = file_.name();
    if (file_.size() < sizeof header + sizeof footer) {
      fail(ErrorKind::data, name, ": is ", file_.size(), " bytes, too few for a packed data set; copy it again");
    }
    file_.read(0, header);
    if (std::memcmp(header, packed::kHeaderMagic.data(), 8) != 0) {
      fail(ErrorKind::data, name, ": is no packed data set; resnet-pack writes one");
    }
    const auto version = little_endian<uint32_t>(header + 8);
    if (version != packed::kVersion) {
      fail(ErrorKind::data, name, ": is a packed data set of version ", version, ", but version ", packed::kVersion,
           " is read; pack it again");
    }
    const uint64_t records_end = file_.size() - sizeof footer;
    file_.read(records_end, footer);
    if (std::memcmp(footer + 32, packed::kFooterMagic.data(), 8) != 0 ||
        little_endian<uint32_t>(footer + 28) != checksum(Bytes(footer, 28))) {
      fail(ErrorKind::data, name, ": the end of the packed data set is missing or damaged; copy it again");
    }
    const auto offset = little_endian<uint64_t>(footer), bytes = little_endian<uint64_t>(footer + 8);
    if (offset < sizeof header || offset > records_end || bytes != records_end - offset) {
      fail(ErrorKind::data, name, ": the index of the packed data set is said to be ", bytes, " bytes at ", offset,
           " of ", file_.size(), "; copy it again");
    }
    const std::vector<uint8_t> index = file_.read(offset, bytes);
    if (checksum(index) != little_endian<uint32_t>(footer + 24)) {
      fail(ErrorKind::data, name, ": the checksum of the packed data set's index is wrong; copy it again");
    }
    parse_index(index, offset, little_endian<uint64_t>(footer + 16));
  }

  const std::vector<Part>& parts() const { return parts_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  const std::string& name() const { return file_.name(); }
  int64_t label(int64_t record) const { return entry(record).label; }

  Picture read(int64_t record) const {
    const Entry& entry = this->entry(record);
    std::string name = describe(record);
    std::vector<uint8_t> bytes;
    try {
      bytes = file_.read(entry.offset, entry.bytes);
    } catch (const Error& error) {
      fail(error.kind(), name, ": ", error.what());
    }
    if (checksum(bytes) != entry.crc) fail(ErrorKind::data, name, ": the checksum is wrong; copy the file again");
    check_not_empty(bytes, name);
    if (entry.width == 0) return {.image = {}, .file = std::move(bytes), .name = std::move(name)};
    if (bytes.size() != size_t{3} * entry.width * entry.height) {
      fail(ErrorKind::data, name, ": has ", bytes.size(), " bytes for ", entry.width, "x", entry.height,
           " pixels of 3; pack it again");
    }
    return {.image = {entry.width, entry.height, std::move(bytes)}, .file = {}, .name = std::move(name)};
  }

  std::string describe(int64_t record) const {
    const auto at = static_cast<size_t>(record);
    const std::string_view name =
        std::string_view(names_).substr(name_begins_[at], name_begins_[at + 1] - name_begins_[at]);
    return file_.name() + " record " + std::to_string(record) + " (" + printable(name) + ")";
  }

 private:
  struct Entry {
    uint64_t offset;
    uint32_t bytes, crc, label;
    uint16_t width, height;
  };

  const Entry& entry(int64_t record) const { return entries_[static_cast<size_t>(record)]; }

  void parse_index(Bytes bytes, uint64_t records_end, uint64_t num_records) {
    IndexReader index(bytes, file_.name());
    uint64_t in_parts = 0;
    for (auto left = index.number<uint32_t>(); left > 0; --left) {
      std::string name = index.text();
      const auto count = index.number<uint64_t>();
      if (count == 0 || count > num_records - in_parts) index.broken("part '", name, "' has ", count, " records");
      in_parts += count;
      parts_.push_back({std::move(name), static_cast<int64_t>(count)});
    }
    const bool known = parts_.size() == 1 || (parts_.size() == 2 && parts_[1].name == "val");
    if (!known || parts_[0].name != "train") index.broken("its parts are not 'train' or 'train' and 'val'");
    for (auto left = index.number<uint32_t>(); left > 0; --left) class_names_.push_back(index.text());
    if (in_parts != num_records || num_records > index.left() / packed::kEntryBytes) {
      index.broken("it has ", index.left(), " bytes for ", num_records, " records, ", in_parts, " of them in parts");
    }
    entries_.reserve(num_records);
    uint64_t end = packed::kHeaderBytes;  // of the record before
    while (entries_.size() < num_records) {
      Entry entry{.offset = index.number<uint64_t>(),
                  .bytes = index.number<uint32_t>(),
                  .crc = index.number<uint32_t>(),
                  .label = index.number<uint32_t>(),
                  .width = index.number<uint16_t>(),
                  .height = index.number<uint16_t>()};
      if (entry.offset < end || entry.offset > records_end || entry.bytes > records_end - entry.offset) {
        index.broken("record ", entries_.size(), " of ", entry.bytes, " bytes at ", entry.offset,
                     " overlaps the one before or leaves the file");
      }
      if (entry.label >= class_names_.size()) {
        index.broken("record ", entries_.size(), " has label ", entry.label, " of ", class_names_.size(), " classes");
      }
      if ((entry.width == 0) != (entry.height == 0)) {
        index.broken("record ", entries_.size(), " is ", entry.width, "x", entry.height);
      }
      end = entry.offset + entry.bytes;
      entries_.push_back(entry);
    }
    names_.reserve(index.left());
    name_begins_.reserve(num_records + 1);
    for (uint64_t record = 0; record < num_records; ++record) {
      name_begins_.push_back(names_.size());
      names_ += index.chars(index.number<uint16_t>());
    }
    name_begins_.push_back(names_.size());
    if (index.left() > 0) index.broken(index.left(), " bytes follow its last name");
  }

  InputFile file_;
  std::vector<Part> parts_;
  std::vector<std::string> class_names_;
  // 32 bytes a record and its name: 90 MB of ImageNet.
  std::vector<Entry> entries_;
  std::string names_;
  std::vector<uint64_t> name_begins_;  // and one for the end
};

class PackedPart : public Dataset {
 public:
  PackedPart(std::shared_ptr<const PackedFile> file, int64_t first, int64_t count)
      : file_(std::move(file)), first_(first), count_(count) {}

  int64_t size() const override { return count_; }
  const std::vector<std::string>& class_names() const override { return file_->class_names(); }
  int64_t label(int64_t index) const override { return file_->label(first_ + index); }
  Image load(int64_t index) const override { return decode_picture(read(index)); }
  Picture read(int64_t index) const override { return file_->read(first_ + index); }
  std::string describe(int64_t index) const override { return file_->describe(first_ + index); }

 private:
  std::shared_ptr<const PackedFile> file_;
  int64_t first_, count_;
};

}  // namespace

bool is_packed(const std::string& path) {
  std::error_code missing;
  if (!std::filesystem::is_regular_file(path, missing)) return false;
  uint8_t magic[8];
  const InputFile file(path, printable(path));
  return file.read_some(0, magic) == sizeof magic && std::memcmp(magic, packed::kHeaderMagic.data(), 8) == 0;
}

DatasetPair open_packed(const std::string& path) {
  const auto file = std::make_shared<const PackedFile>(path);
  DatasetPair pair;
  std::ostringstream summary;
  summary << "packed file '" << file->name() << "': " << file->class_names().size() << " classes";
  int64_t first = 0;
  for (const PackedFile::Part& part : file->parts()) {
    (part.name == "train" ? pair.train : pair.val) = std::make_shared<PackedPart>(file, first, part.count);
    summary << ", " << part.count << (part.name == "train" ? " training" : " validation") << " pictures";
    first += part.count;
  }
  if (file->class_names().size() < 2) {
    fail(ErrorKind::data, file->name(), ": has ", file->class_names().size(),
         " classes, but a classifier needs 2 or more");
  }
  pair.summary = summary.str();
  return pair;
}

int64_t verify_packed(const std::string& path, const std::function<void(const std::string&)>& on_bad) {
  const PackedFile file(path);
  int64_t sound = 0;
  for (int64_t record = 0; record < file.size(); ++record) {
    try {
      decode_picture(file.read(record));
      ++sound;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      on_bad(error.what());
    }
  }
  return sound;
}

}  // namespace engine
