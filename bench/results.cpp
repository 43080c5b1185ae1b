#include "bench/results.h"

#include <nlohmann/json.hpp>

#include "bench/commit.h"
#include "engine/backend.h"
#include "engine/io/file.h"
#include "engine/train/version.h"

namespace engine::bench {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

const char* math_mode(Precision precision) {
  if (precision.tf32) return "tf32 products, fp32 sums";
  switch (precision.dtype) {
    case DType::bf16:
      return "bf16 products, fp32 sums";
    case DType::f16:
      return "fp16 products, fp32 sums";
    default:
      return "fp32 products without TF32, fp32 sums";
  }
}

std::string joined(const std::vector<Doubt>& doubts) {
  std::string codes;
  for (const Doubt& doubt : doubts) codes += (codes.empty() ? "" : " ") + doubt.code;
  return codes;
}

// The columns of timm's benchmark.py. It names them by what was measured; those of the other mode are null.
void add_timm_columns(Json& row, const CellResult& r) {
  const WorkloadOptions& work = r.cell.work;
  const bool measured = r.error.empty();
  double seconds = 0;
  for (const double step : r.steps) seconds += step;
  const auto steps = static_cast<double>(r.steps.size());
  for (const auto& [mode, name] : {std::pair{Mode::inference, "infer"}, std::pair{Mode::train, "train"}}) {
    const std::string prefix = std::string(name) + "_";
    const bool here = measured && work.mode == mode;
    const auto number = [&](bool known, double value) { return here && known ? Json(value) : Json(); };
    row[prefix + "samples_per_sec"] = number(true, steps * static_cast<double>(work.batch) / seconds);
    row[prefix + "step_time"] = number(true, 1e3 * seconds / steps);
    if (mode == Mode::train) {
      const StepParts parts = r.parts.value_or(StepParts{});
      row[prefix + "fwd_time"] = number(r.parts.has_value(), 1e3 * parts.forward);
      row[prefix + "bwd_time"] = number(r.parts.has_value(), 1e3 * parts.backward);
      row[prefix + "opt_time"] = number(r.parts.has_value(), 1e3 * parts.optimiser);
    }
    row[prefix + "batch_size"] = here ? Json(work.batch) : Json();
    row[prefix + "img_size"] = here ? Json(work.image_size) : Json();
    if (mode == Mode::inference) {
      row["infer_gmacs"] = number(true, 1e-9 * r.macs);
      row["infer_macts"] = number(true, 1e-6 * r.activations);
    }
  }
  row["param_count"] = r.parameters > 0 ? Json(1e-6 * r.parameters) : Json();
}

void add_times(Json& row, const CellResult& r) {
  const Summary& s = r.evidence.summary;
  const bool measured = r.error.empty();
  const auto number = [&](double value) { return measured ? Json(value) : Json(); };
  const auto per_step = static_cast<double>(r.cell.work.batch);
  row["img_per_s"] = number(per_step / s.median);
  row["step_ms_median"] = number(1e3 * s.median);
  row["step_ms_p5"] = number(1e3 * s.p5);
  row["step_ms_p95"] = number(1e3 * s.p95);
  row["step_ms_low"] = measured && s.interval ? Json(1e3 * s.interval->low) : Json();
  row["step_ms_high"] = measured && s.interval ? Json(1e3 * s.interval->high) : Json();
  row["steps"] = measured ? Json(r.steps.size()) : Json();
  row["warmup_steps"] = measured ? Json(r.warmup.size()) : Json();
  row["first_step_ms"] = number(1e3 * r.first_step_seconds);
  const bool data = measured && r.data.has_value();
  row["data_img_per_s"] = data ? Json(r.data->img_per_s) : Json();
  row["data_wait_percent"] = data ? Json(100 * r.data->wait_share) : Json();
  row["data_workers"] = data ? Json(r.data->workers) : Json();
}

void add_rates(Json& row, const CellResult& r) {
  const bool known = r.error.empty() && r.floor && r.ceilings;
  const double seconds = r.evidence.summary.median;
  const auto number = [&](const auto& value) { return known ? Json(value()) : Json(); };
  row["tflop_per_s"] = number([&] { return 1e-12 * r.floor->flops / seconds; });
  row["matrix_tflop_per_s"] = number([&] { return 1e-12 * r.ceilings->flops_per_s; });
  row["matrix_percent"] = number([&] { return 100 * r.floor->flops / seconds / r.ceilings->flops_per_s; });
  row["gb_per_s"] = number([&] { return 1e-9 * r.floor->bytes / seconds; });
  row["bandwidth_gb_per_s"] = number([&] { return 1e-9 * r.ceilings->bytes_per_s; });
  row["bandwidth_percent"] = number([&] { return 100 * r.floor->bytes / seconds / r.ceilings->bytes_per_s; });
  row["floor_ms"] = number([&] { return 1e3 * r.floor->seconds; });
  row["floor_percent"] = number([&] { return 100 * r.floor->seconds / seconds; });
  row["floor_regime"] = number([&] { return std::string(r.floor->regime); });
}

void add_machine(Json& row, const CellResult& r) {
  const bool measured = r.error.empty();
  const Evidence& e = r.evidence;
  const auto number = [&](bool known, double value) { return measured && known ? Json(value) : Json(); };
  row["peak_memory_mib"] = number(true, r.peak_bytes / (1 << 20));
  row["peak_resident_mib"] = number(r.peak_resident_bytes > 0, r.peak_resident_bytes / (1 << 20));
  row["kernels"] = measured ? or_null(r.kernels) : Json();
  int64_t count = 0;
  std::string reasons;
  for (const auto& [reason, times] : r.fallbacks) {
    count += times;
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  row["fallbacks"] = measured ? Json(count) : Json();
  row["fallback_reasons"] = text_or_null(reasons);
  row["math_mode"] = math_mode(r.cell.work.precision);
  const std::vector<double>& mhz = e.clocks.mhz;
  row["clock_mhz"] = number(!mhz.empty(), mhz.empty() ? 0 : quantile(mhz, 0.5));
  row["clock_mhz_min"] = number(!mhz.empty(), mhz.empty() ? 0 : quantile(mhz, 0));
  row["power_w"] = measured ? or_null(r.watts) : Json();
  row["temperature_c"] = measured ? or_null(r.celsius) : Json();
  row["throttled"] = measured && e.clocks.watched ? Json(!throttling(e.clocks).empty()) : Json();
  row["other_cpu_percent"] = number(true, 100 * (e.other_cpu + e.stolen_cpu));
  const bool calibrated = e.calibration_before > 0 && e.calibration_after > 0;
  row["calibration_s"] = number(calibrated, e.calibration_before);
  row["calibration_change_percent"] = number(calibrated, 100 * (e.calibration_after / e.calibration_before - 1));
}

std::string csv_field(const Json& value) {
  if (value.is_null()) return {};
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

Json result_row(const CellResult& r, const RunFacts& facts) {
  const WorkloadOptions& work = r.cell.work;
  Json row = {{"model", work.model},
              {"bench", name_of(work.mode)},
              {"precision", precision_name(work.precision)},
              {"device", to_string(work.device)},
              {"threads", r.cell.threads},
              {"force_impl", text_or_null(r.cell.force_impl)},
              {"batch_size", work.batch},
              {"image_size", work.image_size},
              {"status", !r.error.empty()    ? "failed"
                         : !r.doubts.empty() ? "doubtful"
                         : facts.quick       ? "quick"
                                             : "ok"},
              {"doubts", joined(r.doubts)},
              {"error", text_or_null(r.error)}};
  add_timm_columns(row, r);
  add_times(row, r);
  add_rates(row, r);
  add_machine(row, r);
  row["device_name"] = backend(work.device).description();
  row["driver"] = or_null(facts.driver);
  row["version"] = version();
  row["build"] = build_description();
  row["commit"] = commit();
  row["command_line"] = facts.command_line;
  row["started"] = facts.started;
  return row;
}

Json input_row(const InputStage& stage) {
  return {{"stage", stage.name},
          {"threads", stage.threads},
          {"img_per_s", stage.img_per_s},
          {"img_per_s_per_thread", stage.img_per_s / stage.threads}};
}

Results::Results(const std::filesystem::path& file, const std::string& key) : file_(file), key_(key) {
  if (!file.empty()) make_writable_directory(std::filesystem::absolute(file).parent_path());
  content_.push_back({{"schema", 1}, {"program", "resnet-bench"}, {"complete", false}, {"rows", Json::array()}});
}

void Results::add(Json row) {
  attach(key_, std::move(row));
}

void Results::attach(const std::string& key, Json value) {
  content_[0][key].push_back(std::move(value));
  write();
}

void Results::finish() {
  content_[0]["complete"] = true;
  write();
}

std::string Results::json() const {
  return content_[0].dump(1) + "\n";
}

void Results::write() const {
  if (file_.empty()) return;
  const std::string text = file_.extension() == ".csv" ? to_csv(content_[0].value(key_, Json::array())) : json();
  write_file_atomically(file_, text, ErrorKind::usage);
}

std::string to_csv(const Json& rows) {
  if (rows.empty()) return {};
  std::string text;
  for (const auto& [key, value] : rows[0].items()) text += (text.empty() ? "" : ",") + key;
  for (const Json& row : rows) {
    std::string line;
    for (const auto& [key, value] : row.items()) line += (&value == &row.front() ? "" : ",") + csv_field(value);
    text += "\n" + line;
  }
  return text + "\n";
}

}  // namespace engine::bench
