#include "engine/data/pack.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "engine/data/jpeg_encode.h"
#include "engine/data/packed_format.h"
#include "engine/data/resize.h"
#include "engine/error.h"
#include "engine/io/crc32c.h"
#include "engine/io/file.h"

namespace engine {
namespace {

using Bytes = std::vector<uint8_t>;

template <class Number>
void append(Bytes& bytes, Number value) {
  for (size_t i = 0; i < sizeof(Number); ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void append_text(Bytes& bytes, std::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

// Names come from describe(), which has escaped what a terminal must not see; an escape is not cut in two.
void append_name(Bytes& bytes, std::string_view text) {
  text = text.substr(0, packed::kMaxNameBytes);
  append(bytes, static_cast<uint32_t>(text.size()));
  append_text(bytes, text);
}

struct Record {
  Bytes bytes;
  std::string name;
  uint32_t label = 0;
  uint16_t width = 0, height = 0;  // of raw pixels
  bool encoded = false;
  std::string error;  // why it is left out
};

class PackWriter {
 public:
  explicit PackWriter(const std::string& path) : file_(path, ErrorKind::data) {
    Bytes header;
    append_text(header, packed::kHeaderMagic);
    append(header, packed::kVersion);
    append(header, uint32_t{0});
    write(header);
  }

  void add(const Record& record) {
    append(entries_, offset_);
    append(entries_, static_cast<uint32_t>(record.bytes.size()));
    append(entries_, crc32c(std::as_bytes(std::span(record.bytes))));
    append(entries_, record.label);
    append(entries_, record.width);
    append(entries_, record.height);
    write(record.bytes);
    append(names_, static_cast<uint16_t>(record.name.size()));
    append_text(names_, record.name);
  }

  // Returns the size of the file.
  uint64_t commit(const std::vector<std::pair<std::string, int64_t>>& parts, const std::vector<std::string>& classes) {
    Bytes index;
    append(index, static_cast<uint32_t>(parts.size()));
    uint64_t num_records = 0;
    for (const auto& [name, count] : parts) {
      append_name(index, name);
      append(index, static_cast<uint64_t>(count));
      num_records += static_cast<uint64_t>(count);
    }
    append(index, static_cast<uint32_t>(classes.size()));
    for (const std::string& name : classes) append_name(index, name);
    index.insert(index.end(), entries_.begin(), entries_.end());
    index.insert(index.end(), names_.begin(), names_.end());

    Bytes footer;
    append(footer, offset_);
    append(footer, static_cast<uint64_t>(index.size()));
    append(footer, num_records);
    append(footer, crc32c(std::as_bytes(std::span(index))));
    append(footer, crc32c(std::as_bytes(std::span(footer))));
    append_text(footer, packed::kFooterMagic);
    write(index);
    write(footer);
    file_.commit();
    return offset_;
  }

 private:
  void write(const Bytes& bytes) {
    file_.writer().write(std::as_bytes(std::span(bytes)));
    offset_ += bytes.size();
  }

  AtomicFile file_;
  Bytes entries_, names_;
  uint64_t offset_ = 0;
};

// Runs `make` for 0 ... count-1 on threads and `take` on this one in that order, at most `ahead` results apart.
class InOrder {
 public:
  InOrder(int threads, size_t ahead) : threads_(threads), slots_(ahead) {}

  void run(int64_t count, const std::function<Record(int64_t)>& make, const std::function<void(Record)>& take) {
    std::vector<std::jthread> team;
    const Stop stop{*this};
    for (int i = 0; i < threads_; ++i) {
      team.emplace_back([&] { work(count, make); });
    }
    for (int64_t i = 0; i < count; ++i) {
      std::unique_lock lock(mutex_);
      Slot& slot = slots_[static_cast<size_t>(i) % slots_.size()];
      changed_.wait(lock, [&] { return slot.record || slot.error; });
      if (slot.error) std::rethrow_exception(slot.error);
      Record record = *std::move(slot.record);
      slot.record.reset();
      ++taken_;
      lock.unlock();
      changed_.notify_all();
      take(std::move(record));
    }
  }

 private:
  struct Slot {
    std::optional<Record> record;
    std::exception_ptr error;
  };
  struct Stop {  // before the threads are waited for
    InOrder& owner;
    ~Stop() {
      const std::lock_guard lock(owner.mutex_);
      owner.stopped_ = true;
      owner.changed_.notify_all();
    }
  };

  void work(int64_t count, const std::function<Record(int64_t)>& make) {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] {
        return stopped_ || claimed_ == count || claimed_ < taken_ + static_cast<int64_t>(slots_.size());
      });
      if (stopped_ || claimed_ == count) return;
      const int64_t i = claimed_++;
      lock.unlock();
      Slot made;
      try {
        made.record = make(i);
      } catch (...) {
        made.error = std::current_exception();
      }
      lock.lock();
      slots_[static_cast<size_t>(i) % slots_.size()] = std::move(made);
      changed_.notify_all();
    }
  }

  const int threads_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<Slot> slots_;
  int64_t claimed_ = 0, taken_ = 0;
  bool stopped_ = false;
};

// The size that the options leave an image.
ImageSize reduced(const Image& image, const PackOptions& options) {
  const int longer = std::max(image.width, image.height), shorter = std::min(image.width, image.height);
  double factor = 1;
  if (options.max_side > 0) factor = std::min(factor, static_cast<double>(options.max_side) / longer);
  if (options.resize > 0) factor = std::min(factor, static_cast<double>(options.resize) / shorter);
  const auto side = [&](int length) { return std::max(1, static_cast<int>(length * factor + 0.5)); };
  return {side(image.width), side(image.height)};
}

class Packer {
 public:
  explicit Packer(const PackOptions& options) : options_(options) {}

  Record make(const Dataset& dataset, int64_t index) const {
    Record record{.label = static_cast<uint32_t>(dataset.label(index))};
    try {
      Picture picture = dataset.read(index);
      record.name = dataset.describe(index);
      if (record.name.starts_with(options_.root)) record.name.erase(0, options_.root.size());
      record.name.resize(std::min(record.name.size(), packed::kMaxNameBytes));
      add_picture(record, std::move(picture));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data || !options_.skip_bad) throw;
      record.error = error.what();
    }
    return record;
  }

 private:
  void add_picture(Record& record, Picture picture) const {
    const bool is_file = picture.encoded();
    Image image = is_file ? decode_image(picture.file, picture.name) : std::move(picture.image);
    const ImageSize size = reduced(image, options_);
    const bool same = size.width == image.width && size.height == image.height;
    if (options_.format == PackOptions::Format::original && same && is_file) {
      record.bytes = std::move(picture.file);
      return;
    }
    if (!same) {
      image = resize(image, {.width = size.width, .height = size.height, .interpolation = Interpolation::bicubic});
    }
    const bool raw =
        options_.format == PackOptions::Format::raw || (options_.format == PackOptions::Format::original && !is_file);
    if (raw) {
      constexpr int kMaxSide = 65535;
      if (size.width > kMaxSide || size.height > kMaxSide) {
        fail(ErrorKind::data, picture.name, ": an image of ", size.width, "x", size.height,
             " cannot be packed raw, at most ", kMaxSide, " a side; use --max-side or --format jpeg");
      }
      record.width = static_cast<uint16_t>(size.width);
      record.height = static_cast<uint16_t>(size.height);
      record.bytes = std::move(image.pixels);
      return;
    }
    record.bytes = encode_jpeg(image, options_.quality);
    record.encoded = true;
  }

  const PackOptions& options_;
};

void check_options(const PackOptions& options) {
  check(options.max_side >= 0, "pack: a longest side of ", options.max_side, ", but 1 or more is needed");
  check(options.resize >= 0, "pack: a short side of ", options.resize, ", but 1 or more is needed");
  check(options.quality >= 1 && options.quality <= 100, "pack: JPEG quality ", options.quality,
        ", but 1 to 100 are possible");
  check(options.workers >= 1 && options.workers <= 1024, "pack: ", options.workers,
        " workers, but 1 to 1024 are possible");
}

}  // namespace

PackReport pack_dataset(const DatasetPair& data, const std::string& path, const PackOptions& options) {
  check_options(options);
  const Packer packer(options);
  PackWriter writer(path);
  PackReport report;
  std::vector<std::pair<std::string, int64_t>> parts;
  const int64_t all = data.train->size() + (data.val ? data.val->size() : 0);
  int64_t done = 0;
  for (const bool training : {true, false}) {
    const DatasetPtr& dataset = training ? data.train : data.val;
    const char* name = training ? "train" : "val";
    if (!dataset) continue;
    int64_t packed = 0;
    const auto take = [&](const Record& record) {
      if (options.progress) options.progress(++done, all);
      if (!record.error.empty()) return report.left.push_back(record.error);
      writer.add(record);
      ++packed;
      report.encoded += record.encoded;
    };
    InOrder(options.workers, static_cast<size_t>(8 * options.workers))
        .run(
            dataset->size(), [&](int64_t index) { return packer.make(*dataset, index); }, take);
    if (packed == 0) fail(ErrorKind::data, "pack: no picture of the part '", name, "' could be read");
    parts.emplace_back(name, packed);
    report.pictures += packed;
  }
  report.bytes = writer.commit(parts, data.train->class_names());
  return report;
}

}  // namespace engine
