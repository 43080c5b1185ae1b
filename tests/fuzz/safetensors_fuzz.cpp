// Any bytes either parse as a safetensors file whose views lie inside it and whose metadata come back, or are refused
// by Error(checkpoint).
#include <cstdlib>

#include "engine/io/safetensors.h"
#include "engine/train/weights_info.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = engine::SafetensorsFile::parse({bytes.begin(), bytes.end()}, "fuzz");
    std::size_t total = 0;
    for (const engine::TensorView& view : file.entries()) {
      std::size_t elements = 1;
      for (const std::int64_t dim : view.shape) elements *= static_cast<std::size_t>(dim);
      if (elements * engine::size_of(view.dtype) != view.data.size()) std::abort();
      if (file.find(view.name) != &view) std::abort();
      for (const std::byte byte : view.data) total += std::to_integer<std::size_t>(byte);
    }
    if (total > 255 * size) std::abort();
    const engine::WeightsInfo info = engine::weights_info(file.metadata(), "fuzz");
    if (info.model.empty()) return 0;
    const engine::WeightsInfo again = engine::weights_info(engine::to_metadata(info), "again");
    if (again.class_names != info.class_names || again.normalization.mean != info.normalization.mean) std::abort();
  } catch (const engine::Error& error) {
    if (error.kind() != engine::ErrorKind::checkpoint) std::abort();
  }
  return 0;
}
