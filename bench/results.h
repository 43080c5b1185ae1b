#pragma once
// What resnet-bench hands on: rows of named values, as JSON and CSV. docs/benchmark-results.md says what each is.
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bench/measure_cell.h"

namespace engine::bench {

// What all rows of a run have in common.
struct RunFacts {
  std::string command_line, started;  // UTC, "2026-11-23T05:00:00Z"
  bool quick = false;
  std::optional<std::string> driver;
};

// Every key of the schema, in its order; what does not apply is null.
nlohmann::ordered_json result_row(const CellResult& result, const RunFacts& facts);

nlohmann::ordered_json input_row(const InputStage& stage);

// {"schema": 1, "program": "resnet-bench", "complete": ..., "rows": [...]} and what a table cannot hold.
class Results {
 public:
  // Throws Error(usage) if `file` is in a folder that cannot be written to. Empty: no file. `key` is "rows", or "input"
  // for those of --test-io.
  explicit Results(const std::filesystem::path& file, const std::string& key = "rows");

  void add(nlohmann::ordered_json row);
  // Beside the rows; not in CSV. An array of such values under `key`.
  void attach(const std::string& key, nlohmann::ordered_json value);
  void finish();
  std::string json() const;

 private:
  void write() const;

  std::filesystem::path file_;
  std::string key_;
  std::vector<nlohmann::ordered_json> content_;  // one; the type is incomplete here
};

// The header is the keys of the first row; all rows have the same. Null is empty. RFC 4180.
std::string to_csv(const nlohmann::ordered_json& rows);

}  // namespace engine::bench
