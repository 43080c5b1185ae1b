#include "engine/data/cifar.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>

#include "engine/data/read_file.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 32;
constexpr int64_t kPlane = kSide * kSide;
constexpr int64_t kImageBytes = 3 * kPlane;
// The largest published file, CIFAR-100's training pickle, is 155 MB.
constexpr int64_t kMaxFileBytes = int64_t{512} << 20;

int64_t num_classes(Cifar which) {
  return which == Cifar::ten ? 10 : 100;
}

// What distinguishes the four archives.
struct Layout {
  Cifar which;
  bool pickled;
  std::vector<std::string> train;
  std::string test;
  std::string names;
};

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> kLayouts = {
      {Cifar::ten,
       false,
       {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
       "test_batch.bin",
       "batches.meta.txt"},
      {Cifar::ten,
       true,
       {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"},
       "test_batch",
       "batches.meta"},
      {Cifar::hundred, false, {"train.bin"}, "test.bin", "fine_label_names.txt"},
      {Cifar::hundred, true, {"train"}, "test", "meta"},
  };
  return kLayouts;
}

class CifarDataset : public Dataset {
 public:
  explicit CifarDataset(std::vector<std::string> class_names) : class_names_(std::move(class_names)) {}

  void add(const std::string& file, CifarRecords records) {
    if (pixels_.empty()) {
      pixels_ = std::move(records.pixels);  // 150 MB of CIFAR-100
    } else {
      pixels_.insert(pixels_.end(), records.pixels.begin(), records.pixels.end());
    }
    labels_.insert(labels_.end(), records.labels.begin(), records.labels.end());
    files_.push_back({file, size()});
  }

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  bool resident() const override { return true; }

  Image load(int64_t index) const override {
    Image image;
    image.width = image.height = kSide;
    const auto first = pixels_.begin() + index * kImageBytes;
    image.pixels.assign(first, first + kImageBytes);
    return image;
  }

  std::string describe(int64_t index) const override {
    int64_t begin = 0;
    for (const File& file : files_) {
      if (index < file.end) return file.name + " record " + std::to_string(index - begin);
      begin = file.end;
    }
    return "record " + std::to_string(index);
  }

 private:
  struct File {
    std::string name;
    int64_t end;  // sample number
  };

  std::vector<std::string> class_names_;
  std::vector<uint8_t> pixels_;
  std::vector<int64_t> labels_;
  std::vector<File> files_;
};

// One name a line. CIFAR-10's file ends with an empty line.
std::vector<std::string> parse_name_lines(const std::vector<uint8_t>& bytes, const std::string& name, int64_t classes) {
  std::istringstream lines(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(printable(line));
  }
  if (static_cast<int64_t>(names.size()) != classes) {
    fail(ErrorKind::data, name, ": ", names.size(), " class names, but ", classes, " are expected");
  }
  return names;
}

class Opener {
 public:
  Opener(const std::string& folder, const Layout& layout) : folder_(folder), layout_(layout) {}

  DatasetPair open() const {
    const std::vector<std::string> names = read_names();
    const auto train = std::make_shared<CifarDataset>(names);
    for (const std::string& file : layout_.train) read_into(*train, file);
    const auto val = std::make_shared<CifarDataset>(names);
    read_into(*val, layout_.test);
    std::ostringstream summary;
    summary << "CIFAR-" << num_classes(layout_.which) << (layout_.pickled ? " (python)" : " (binary)") << ": "
            << train->size() << " training and " << val->size() << " test pictures";
    return {.train = train, .val = val, .summary = summary.str()};
  }

 private:
  std::string shown(const std::string& file) const { return printable(folder_ + "/" + file); }

  std::vector<uint8_t> read(const std::string& file) const {
    return read_file(folder_ + "/" + file, shown(file), kMaxFileBytes);
  }

  void read_into(CifarDataset& dataset, const std::string& file) const {
    const auto parse = layout_.pickled ? parse_cifar_pickle : parse_cifar_binary;
    dataset.add(shown(file), parse(read(file), shown(file), layout_.which));
  }

  std::vector<std::string> read_names() const {
    const auto bytes = read(layout_.names);
    return layout_.pickled ? parse_cifar_meta_pickle(bytes, shown(layout_.names), layout_.which)
                           : parse_name_lines(bytes, shown(layout_.names), num_classes(layout_.which));
  }

  const std::string& folder_;
  const Layout& layout_;
};

}  // namespace

CifarRecords parse_cifar_binary(std::span<const uint8_t> bytes, const std::string& name, Cifar which) {
  const int64_t label_bytes = which == Cifar::ten ? 1 : 2;
  const int64_t stride = label_bytes + kImageBytes;
  const int64_t other_stride = 3 - label_bytes + kImageBytes;
  const auto size = static_cast<int64_t>(bytes.size());
  const int64_t classes = num_classes(which);
  if (size == 0) fail(ErrorKind::data, name, ": is empty, but holds CIFAR-", classes, " records of ", stride, " bytes");
  const int64_t count = size / stride;
  if (size % stride != 0) {
    const std::string hint = size % other_stride == 0 ? "; it would be " + std::to_string(size / other_stride) +
                                                            " records of the other CIFAR"
                                                      : "; download it again";
    fail(ErrorKind::data, name, ": is ", size, " bytes, but ", count, " CIFAR-", classes, " records of ", stride,
         " bytes are ", count * stride, " and ", count + 1, " are ", (count + 1) * stride, hint);
  }

  CifarRecords records;
  records.labels.reserve(static_cast<size_t>(count));
  records.pixels.resize(static_cast<size_t>(count * kImageBytes));
  const uint8_t* record = bytes.data();
  uint8_t* out = records.pixels.data();
  for (int64_t i = 0; i < count; ++i, record += stride) {
    const int64_t label = record[label_bytes - 1];
    if (label >= classes) {
      fail(ErrorKind::data, name, " record ", i, ": label ", label, ", but CIFAR-", classes, " has labels 0 to ",
           classes - 1);
    }
    records.labels.push_back(label);
    const uint8_t* planes = record + label_bytes;
    for (int64_t pixel = 0; pixel < kPlane; ++pixel) {
      for (int64_t channel = 0; channel < 3; ++channel) *out++ = planes[channel * kPlane + pixel];
    }
  }
  return records;
}

std::optional<DatasetPair> open_cifar(const std::string& folder) {
  const auto has = [&](const std::string& file) {
    std::error_code missing;
    return fs::is_regular_file(fs::path(folder) / file, missing);
  };
  for (const Layout& layout : layouts()) {
    // `train` alone may be anything; no other first file is likely to be something else.
    if (has(layout.train.front()) && (layout.train.front() != "train" || has(layout.names))) {
      return Opener(folder, layout).open();
    }
  }
  return std::nullopt;
}

}  // namespace engine
