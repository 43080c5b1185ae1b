// Any bytes either read as a pickle whose values refer to each other and to the input only, or are refused by
// Error(data).
#include <cstdlib>

#include "engine/data/pickle.h"
#include "engine/error.h"

namespace {

bool inside(std::string_view text, std::span<const uint8_t> input) {
  const auto* begin = reinterpret_cast<const char*>(input.data());
  return text.empty() || (text.data() >= begin && text.data() + text.size() <= begin + input.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  try {
    const engine::Pickle pickle(input, "input");
    std::vector<const engine::PickleValue*> pending = {&pickle.root()};
    for (size_t visited = 0; !pending.empty() && visited < 10000; ++visited) {  // there may be cycles
      const engine::PickleValue& value = *pending.back();
      pending.pop_back();
      if (!inside(value.text, input) || !inside(value.bytes, input)) std::abort();
      for (uint32_t item : value.items) pending.push_back(&pickle[item]);
    }
    pickle.find(pickle.root(), "data");
  } catch (const engine::Error& error) {
    if (error.kind() != engine::ErrorKind::data) std::abort();
  }
  return 0;
}
