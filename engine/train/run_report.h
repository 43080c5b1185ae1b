#pragma once
#include <filesystem>
#include <string>

#include "engine/data/dataset.h"
#include "engine/train/evaluate.h"
#include "engine/train/run_files.h"

namespace engine {

// Writes <run_dir>/report.html from metrics.jsonl, the state and the last evaluation; a disk that fails is warned of.
void write_run_report(const std::filesystem::path& run_dir, const RunDescription& run, const RunSummary& summary,
                      const Evaluation& evaluation, const Dataset& val);

}  // namespace engine
