// The python form of CIFAR: what its pickles must hold.
#include <sstream>

#include "engine/data/cifar.h"
#include "engine/data/pickle.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

using Kind = PickleValue::Kind;

constexpr int64_t kPlane = 32 * 32;
constexpr int64_t kValues = 3 * kPlane;

const PickleValue& require(const Pickle& pickle, const std::string& key, Kind kind, const std::string& name,
                           const char* what) {
  const PickleValue* value = pickle.find(pickle.root(), key);
  if (value == nullptr) fail(ErrorKind::data, name, ": the pickled dict has no '", key, "'");
  if (value->kind != kind) fail(ErrorKind::data, name, ": '", key, "' is not ", what);
  return *value;
}

}  // namespace

CifarRecords parse_cifar_pickle(std::span<const uint8_t> bytes, const std::string& name, Cifar which) {
  const Pickle pickle(bytes, name);
  const PickleValue& data = require(pickle, "data", Kind::array, name, "a numpy array");
  const std::string key = which == Cifar::ten ? "labels" : "fine_labels";
  const PickleValue& labels = require(pickle, key, Kind::list, name, "a list");
  const int64_t classes = which == Cifar::ten ? 10 : 100;

  if (data.text != "u1" && data.text != "uint8" && data.text != "|u1") {
    fail(ErrorKind::data, name, ": 'data' has elements of type ", printable(data.text), ", but u1 is expected");
  }
  std::vector<int64_t> shape;
  for (uint32_t number : data.items) {
    if (pickle[number].kind != Kind::integer) fail(ErrorKind::data, name, ": 'data' has a shape of no numbers");
    shape.push_back(pickle[number].integer);
  }
  if (shape.size() != 2 || shape[0] < 1 || shape[1] != kValues) {
    std::ostringstream text;
    for (size_t i = 0; i < shape.size(); ++i) text << (i == 0 ? "" : ",") << shape[i];
    fail(ErrorKind::data, name, ": 'data' has shape [", text.str(), "], but [N,3072] is expected");
  }
  const auto count = static_cast<int64_t>(data.bytes.size()) / kValues;
  if (count != shape[0] || data.bytes.size() % kValues != 0) {
    fail(ErrorKind::data, name, ": 'data' holds ", data.bytes.size(), " bytes, but its shape [", shape[0],
         ",3072] needs ", kValues, " for each record");
  }
  if (static_cast<int64_t>(labels.items.size()) != count) {
    fail(ErrorKind::data, name, ": ", labels.items.size(), " labels, but ", count, " pictures");
  }

  CifarRecords records;
  records.labels.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const PickleValue& label = pickle[labels.items[static_cast<size_t>(i)]];
    if (label.kind != Kind::integer) fail(ErrorKind::data, name, " record ", i, ": the label is not an integer");
    if (label.integer < 0 || label.integer >= classes) {
      fail(ErrorKind::data, name, " record ", i, ": label ", label.integer, ", but CIFAR-", classes,
           " has labels 0 to ", classes - 1);
    }
    records.labels.push_back(label.integer);
  }
  // A record is [3, 32, 32]; ours are [32, 32, 3].
  records.pixels.resize(data.bytes.size());
  uint8_t* out = records.pixels.data();
  const int64_t record_stride = data.fortran_order ? 1 : kValues;
  const int64_t value_stride = data.fortran_order ? count : 1;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t pixel = 0; pixel < kPlane; ++pixel) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        const int64_t value = channel * kPlane + pixel;
        *out++ = static_cast<uint8_t>(data.bytes[static_cast<size_t>(i * record_stride + value * value_stride)]);
      }
    }
  }
  return records;
}

std::vector<std::string> parse_cifar_meta_pickle(std::span<const uint8_t> bytes, const std::string& name, Cifar which) {
  const Pickle pickle(bytes, name);
  const std::string key = which == Cifar::ten ? "label_names" : "fine_label_names";
  const size_t classes = which == Cifar::ten ? 10 : 100;
  const PickleValue& list = require(pickle, key, Kind::list, name, "a list");
  if (list.items.size() != classes) {
    fail(ErrorKind::data, name, ": '", key, "' has ", list.items.size(), " names, but ", classes, " are expected");
  }
  std::vector<std::string> names;
  for (uint32_t number : list.items) {
    if (pickle[number].kind != Kind::text) fail(ErrorKind::data, name, ": '", key, "' holds something but names");
    names.push_back(printable(pickle[number].text));
  }
  return names;
}

}  // namespace engine
