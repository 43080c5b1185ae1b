#pragma once
// CIFAR files made for tests.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace engine::test {

using Bytes = std::vector<uint8_t>;

inline constexpr int64_t kCifarImageBytes = 3072;

// Plane c of record i, at pixel p.
inline uint8_t cifar_value(int64_t i, int64_t c, int64_t p) {
  return static_cast<uint8_t>(7 * i + 50 * c + p);
}

inline Bytes cifar_planes(int64_t i) {
  Bytes planes;
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t p = 0; p < 1024; ++p) planes.push_back(cifar_value(i, c, p));
  }
  return planes;
}

inline Bytes cifar10_binary(const std::vector<int>& labels) {
  Bytes file;
  for (size_t i = 0; i < labels.size(); ++i) {
    file.push_back(static_cast<uint8_t>(labels[i]));
    const Bytes planes = cifar_planes(static_cast<int64_t>(i));
    file.insert(file.end(), planes.begin(), planes.end());
  }
  return file;
}

inline Bytes cifar100_binary(const std::vector<int>& labels) {
  Bytes file;
  for (size_t i = 0; i < labels.size(); ++i) {
    file.push_back(static_cast<uint8_t>(labels[i] / 5));  // some coarse label
    file.push_back(static_cast<uint8_t>(labels[i]));
    const Bytes planes = cifar_planes(static_cast<int64_t>(i));
    file.insert(file.end(), planes.begin(), planes.end());
  }
  return file;
}

// Writes pickles with the opcodes that Python 2's cPickle chose for the published files.
class PickleWriter {
 public:
  PickleWriter& op(const std::string& text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return *this;
  }
  PickleWriter& text(const std::string& value) {
    if (value.size() < 256) {
      op("U").byte(value.size());
    } else {
      op("T").u32(value.size());
    }
    return op(value).memoize();
  }
  PickleWriter& integer(int64_t value) {
    if (value >= 0 && value < 256) return op("K").byte(static_cast<uint64_t>(value));
    if (value >= 0 && value < 65536) {
      return op("M").byte(static_cast<uint64_t>(value) & 255).byte(static_cast<uint64_t>(value) >> 8);
    }
    return op("J").u32(static_cast<uint64_t>(value));
  }
  PickleWriter& byte(uint64_t value) {
    bytes_.push_back(static_cast<uint8_t>(value));
    return *this;
  }
  PickleWriter& u32(uint64_t value) {
    for (int shift = 0; shift < 32; shift += 8) byte(value >> shift & 255);
    return *this;
  }
  PickleWriter& memoize() {
    const uint64_t slot = memo_++;
    return slot < 256 ? op("q").byte(slot) : op("r").u32(slot);
  }
  // An array of uint8, as numpy 1 pickles it.
  PickleWriter& array(const std::vector<int64_t>& shape, const std::string& elements, const std::string& type = "u1",
                      bool fortran_order = false) {
    op("cnumpy.core.multiarray\n_reconstruct\n").memoize();
    op("cnumpy\nndarray\n").memoize();
    integer(0).op("\x85").memoize().text("b").op("\x87").memoize().op("R").memoize();
    op("(").integer(1);
    if (shape.size() == 2) {
      integer(shape[0]).integer(shape[1]).op("\x86");
    } else {
      op("(");
      for (int64_t extent : shape) integer(extent);
      op("t");
    }
    memoize().op("cnumpy\ndtype\n").memoize().text(type).integer(0).integer(1).op("\x87").memoize();
    op("R").memoize().op("(").integer(3).text("|").op("NNN").integer(-1).integer(-1).integer(0).op("t").memoize();
    return op("b").op(fortran_order ? "\x88" : "\x89").text(elements).op("t").memoize().op("b");
  }
  PickleWriter& labels(const std::vector<int>& values) {
    op("]").memoize().op("(");
    for (int value : values) integer(value);
    return op("e");
  }
  PickleWriter& texts(const std::vector<std::string>& values) {
    op("]").memoize().op("(");
    for (const std::string& value : values) text(value);
    return op("e");
  }
  // The bytes so far as a whole pickle; the writer may go on.
  Bytes finish() const {
    Bytes whole(bytes_.size() + 3);
    whole[0] = 0x80;
    whole[1] = 2;
    std::copy(bytes_.begin(), bytes_.end(), whole.begin() + 2);
    whole.back() = '.';
    return whole;
  }

 private:
  Bytes bytes_;
  uint64_t memo_ = 0;
};

inline std::string cifar_elements(int64_t count) {
  std::string elements;
  for (int64_t i = 0; i < count; ++i) {
    for (uint8_t value : cifar_planes(i)) elements += static_cast<char>(value);
  }
  return elements;
}

// data_batch_N of CIFAR-10, or with "fine_labels" CIFAR-100's train and test.
inline Bytes cifar_pickle(const std::vector<int>& labels, const std::string& label_key = "labels") {
  const auto count = static_cast<int64_t>(labels.size());
  PickleWriter writer;
  writer.op("}").memoize().op("(").text("batch_label").text("training batch 1 of 5");
  writer.text(label_key).labels(labels).text("data").array({count, kCifarImageBytes}, cifar_elements(count));
  writer.text("filenames").texts(std::vector<std::string>(labels.size(), "camion_s_000148.png"));
  return writer.op("u").finish();
}

inline Bytes cifar_meta_pickle(const std::vector<std::string>& names, const std::string& key = "label_names") {
  PickleWriter writer;
  writer.op("}").memoize().op("(").text("num_cases_per_batch").integer(10000).text(key).texts(names);
  return writer.text("num_vis").integer(3072).op("u").finish();
}

inline std::vector<std::string> numbered_names(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back("name" + std::to_string(i));
  return names;
}

}  // namespace engine::test
