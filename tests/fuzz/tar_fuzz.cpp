// Any bytes as a tar of pictures: its samples lie inside of it, or it is refused by Error(data). Tried a second time
// with the checksums of its headers put right.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/data/tar_shards.h"
#include "engine/error.h"
#include "tests/fuzz/memory_file.h"

namespace {

void open(std::span<const uint8_t> file) {
  using namespace engine;
  const test::MemoryFile memory(file);
  try {
    const DatasetPtr data = open_tar_shards({memory.path()});
    if (data->size() > static_cast<int64_t>(file.size() / 512)) std::abort();
    for (int64_t i = 0; i < std::min<int64_t>(data->size(), 16); ++i) {
      if (data->label(i) < 0 || data->label(i) >= data->num_classes() || data->describe(i).empty()) std::abort();
      try {
        if (data->read(i).file.size() > file.size()) std::abort();
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::data) std::abort();
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  open({data, size});
  constexpr size_t kBlock = 512, kSum = 148, kSumBytes = 8, kMagic = 257;
  std::vector<uint8_t> mended(data, data + size);
  for (size_t at = 0; at + kBlock <= size; at += kBlock) {
    if (std::memcmp(&mended[at + kMagic], "ustar", 5) != 0) continue;
    std::memset(&mended[at + kSum], ' ', kSumBytes);
    unsigned sum = 0;
    for (size_t i = 0; i < kBlock; ++i) sum += mended[at + i];
    char text[kSumBytes + 1];
    std::snprintf(text, sizeof text, "%06o", sum);
    std::memcpy(&mended[at + kSum], text, 7);
  }
  if (!std::equal(mended.begin(), mended.end(), data)) open(mended);
  return 0;
}
