#pragma once
// resnet-train --test-io: how fast the data pipeline is without a network.
#include <cstdint>
#include <optional>

#include "engine/data/dataset.h"
#include "engine/train/config.h"

namespace engine::tools {

// Measures with --workers threads (all cores if it is not given), prints a table, and with --output-dir writes
// test_io.json there. `config` is resolved but for `workers`, `given_workers` what the user said.
void test_io(const DatasetPair& data, const TrainConfig& config, std::optional<int64_t> given_workers);

}  // namespace engine::tools
