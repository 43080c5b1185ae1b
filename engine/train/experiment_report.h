#pragma once
// One page on several runs of an experiment: the figure that the ResNet paper opens with.
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

// Writes <folder>/report.html from the metrics of the runs <folder>/<model>: training and test error by epoch, plain
// nets beside residual ones, and the last errors in a table. Runs without a finished epoch are left out. Throws
// Error(usage) if the disk fails.
void write_experiment_report(const std::filesystem::path& folder, const std::string& title,
                             const std::vector<std::string>& models);

// "training error plain20 31.2%, plain56 47.0%, ...: depth costs the plain net 15.8 points, the residual net gains 0.4"
std::string experiment_summary(const std::filesystem::path& folder, const std::vector<std::string>& models);

}  // namespace engine
