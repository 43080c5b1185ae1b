// Any bytes as each of the CIFAR files: they either give as many pictures as labels, all in range, or are
// refused by Error(data). The first byte chooses the file's kind.
#include <cstdlib>

#include "engine/data/cifar.h"
#include "engine/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace engine;
  if (size == 0) return 0;
  const std::span<const uint8_t> file(data + 1, size - 1);
  const Cifar which = data[0] & 1 ? Cifar::hundred : Cifar::ten;
  const size_t classes = which == Cifar::ten ? 10 : 100;
  try {
    if (data[0] & 4) {
      if (parse_cifar_meta_pickle(file, "input", which).size() != classes) std::abort();
      return 0;
    }
    const auto parse = data[0] & 2 ? parse_cifar_pickle : parse_cifar_binary;
    const CifarRecords records = parse(file, "input", which);
    if (records.labels.empty() || records.pixels.size() != records.labels.size() * 3072) std::abort();
    for (int64_t label : records.labels) {
      if (label < 0 || label >= static_cast<int64_t>(classes)) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
  return 0;
}
