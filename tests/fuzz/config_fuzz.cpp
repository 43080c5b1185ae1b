// Any text as a --config file: it either sets a configuration that is written and read back alike, or is refused by
// Error(usage).
#include <cstdlib>
#include <string_view>

#include "engine/error.h"
#include "engine/train/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace engine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    TrainConfig config;
    apply_config_json(config, text, "input");
    const std::string written = config_json(config);
    TrainConfig again;
    apply_config_json(again, written, "again");
    if (config_json(again) != written) std::abort();
    check_config(config);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) std::abort();
  }
  return 0;
}
