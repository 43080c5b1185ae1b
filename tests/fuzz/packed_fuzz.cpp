// Any bytes as a packed data set: it either opens and each record is read or refused, or it is refused by Error(data).
// The bytes are tried a second time as index and records of a file whose checksums are right, because few inputs would
// pass those gates by themselves.
#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "engine/data/packed.h"
#include "engine/data/packed_format.h"
#include "engine/error.h"
#include "engine/io/crc32c.h"
#include "tests/fuzz/memory_file.h"

namespace {

using Bytes = std::vector<uint8_t>;

template <class Number>
void put(Bytes& bytes, size_t at, Number value) {
  for (size_t i = 0; i < sizeof(Number); ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

template <class Number>
Number get(const Bytes& bytes, size_t at) {
  Number value = 0;
  for (size_t i = sizeof(Number); i-- > 0;) value = static_cast<Number>(value << 8 | bytes[at + i]);
  return value;
}

uint32_t sum(const Bytes& bytes, size_t begin, size_t count) {
  return engine::crc32c(std::as_bytes(std::span(bytes).subspan(begin, count)));
}

void open(std::span<const uint8_t> file) {
  using namespace engine;
  const test::MemoryFile memory(file);
  try {
    const DatasetPair pair = open_packed(memory.path());
    for (const DatasetPtr& part : {pair.train, pair.val}) {
      for (int64_t i = 0; part && i < std::min<int64_t>(part->size(), 16); ++i) {
        if (part->label(i) < 0 || part->label(i) >= part->num_classes()) std::abort();
        try {
          const Picture picture = part->read(i);
          if (picture.file.size() + picture.image.pixels.size() > file.size()) std::abort();
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::data) std::abort();
        }
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
}

// Two bytes of length, one of the number of records, one of where their entries begin; an index of that length, whose
// entries get sums that fit; records.
Bytes sealed(std::span<const uint8_t> data) {
  using namespace engine::packed;
  Bytes file(kHeaderBytes);
  std::copy(kHeaderMagic.begin(), kHeaderMagic.end(), file.begin());
  put(file, 8, kVersion);
  const size_t index_bytes = std::min<size_t>(data[0] | data[1] << 8, data.size() - 4);
  const auto index = data.subspan(4, index_bytes), records = data.subspan(4 + index_bytes);
  file.insert(file.end(), records.begin(), records.end());
  const size_t index_at = file.size();
  file.insert(file.end(), index.begin(), index.end());
  const size_t count = std::min<size_t>(data[2], index_bytes / kEntryBytes);
  for (size_t at = index_at + data[3]; at + kEntryBytes <= file.size(); at += kEntryBytes) {
    const auto offset = get<uint64_t>(file, at);
    const auto bytes = get<uint32_t>(file, at + 8);
    if (offset <= index_at && bytes <= index_at - offset) put(file, at + 12, sum(file, offset, bytes));
  }
  const size_t footer = file.size();
  file.resize(footer + kFooterBytes);
  put(file, footer, static_cast<uint64_t>(index_at));
  put(file, footer + 8, static_cast<uint64_t>(index_bytes));
  put(file, footer + 16, static_cast<uint64_t>(count));
  put(file, footer + 24, sum(file, index_at, index_bytes));
  put(file, footer + 28, sum(file, footer, 28));
  std::copy(kFooterMagic.begin(), kFooterMagic.end(), file.begin() + static_cast<ptrdiff_t>(footer) + 32);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  open({data, size});
  if (size > 4) open(sealed({data, size}));
  return 0;
}
