#include <nlohmann/json.hpp>

#include "bench/layer_report.h"

namespace engine::bench {

using Json = nlohmann::ordered_json;

Json layers_json(const LayerReport& r) {
  Json layers = Json::array();
  for (const LayerRow& row : r.rows) {
    Json candidates = Json::array();
    for (const Candidate& candidate : row.candidates)
      candidates.push_back({{"implementation", candidate.name}, {"ms", candidate.seconds * 1e3}});
    layers.push_back({{"layer", row.layer},
                      {"operation", row.kind},
                      {"shape", row.shape},
                      {"implementation", row.implementation},
                      {"calls", row.calls},
                      {"ms", row.seconds * 1e3},
                      {"bytes_read", row.cost.read},
                      {"bytes_written", row.cost.written},
                      {"flops", row.cost.flops},
                      {"gb_per_s", row.cost.bytes() / row.seconds * 1e-9},
                      {"tflop_per_s", row.cost.flops / row.seconds * 1e-12},
                      {"floor_ms", row.floor_seconds * 1e3},
                      {"share_of_floor", row.share_of_floor()},
                      {"bound_by", row.compute_bound ? "matrix rate" : "bandwidth"},
                      {"candidates", std::move(candidates)}});
  }
  return {{"model", r.model},
          {"precision", r.precision},
          {"mode", r.mode},
          {"device", r.device},
          {"description", r.description},
          {"batch", r.batch},
          {"image_size", r.image_size},
          {"threads", r.threads},
          {"copy_gb_per_s", r.ceilings.bytes_per_s * 1e-9},
          {"matrix_tflop_per_s", r.ceilings.flops_per_s * 1e-12},
          {"floor_ms", r.floor.seconds * 1e3},
          {"floor_regime", r.floor.regime},
          {"step_ms", r.step_seconds * 1e3},
          {"profiled_step_ms", r.profiled_seconds * 1e3},
          {"operations_ms", r.operations_seconds * 1e3},
          {"between_operations_ms", r.outside_seconds * 1e3},
          {"steps", r.steps},
          {"consistent", r.consistent},
          {"layers", std::move(layers)}};
}

}  // namespace engine::bench
