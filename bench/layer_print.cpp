// The report's table and the page of one layer, for people.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "bench/layer_report.h"
#include "engine/error.h"

namespace engine::bench {
namespace {

constexpr size_t kTopLosses = 8;

double ms(double seconds) {
  return seconds * 1e3;
}
double percent(double part, double whole) {
  return whole > 0 ? 100 * part / whole : 0;
}

void print_header(std::FILE* out, const LayerReport& r) {
  std::fprintf(out, "%s %s %s, batch %ld of %ldx%ld, %s (%s)\n", r.model.c_str(), r.mode.c_str(), r.precision.c_str(),
               static_cast<long>(r.batch), static_cast<long>(r.image_size), static_cast<long>(r.image_size),
               r.device.c_str(), r.description.c_str());
  std::fprintf(out,
               "step %.2f ms; with the clock %.2f ms: operations %.2f ms (%.1f%% of the step), between them %.2f ms\n",
               ms(r.step_seconds), ms(r.profiled_seconds), ms(r.operations_seconds),
               percent(r.operations_seconds, r.step_seconds), ms(r.outside_seconds));
  std::fprintf(out,
               "ceilings: copy %.1f GB/s, %s matrix product %.3f TFLOP/s; floor of the step (%s) %.2f ms, %.0f%% of it "
               "reached\n",
               r.ceilings.bytes_per_s * 1e-9, r.precision.c_str(), r.ceilings.flops_per_s * 1e-12, r.floor.regime,
               ms(r.floor.seconds), percent(r.floor.seconds, r.step_seconds));
  std::fputs(
      "%floor: the floor of an operation over its time; above 100% where caches or Winograd spare what it counts\n",
      out);
  if (r.emulated) std::fputs("the device is emulated: none of these figures says anything about a GPU\n", out);
}

void print_rates(std::FILE* out, const LayerRow& row) {
  std::fprintf(out, " %9.3f", ms(row.seconds));
  std::fprintf(out, " %7.1f", row.cost.bytes() / row.seconds * 1e-9);
  if (row.cost.flops > 0)
    std::fprintf(out, " %8.3f", row.cost.flops / row.seconds * 1e-12);
  else
    std::fprintf(out, " %8s", "");
  std::fprintf(out, " %5.0f%%", 100 * row.share_of_floor());
}

struct Total {
  double seconds = 0, floor = 0;
};

// By what a step consists of, and where most time is above its floor.
void print_totals(std::FILE* out, const LayerReport& r) {
  std::map<std::string, Total> kinds;
  for (const LayerRow& row : r.rows) {
    kinds[row.kind].seconds += row.seconds;
    kinds[row.kind].floor += row.floor_seconds;
  }
  std::vector<std::pair<std::string, Total>> sorted(kinds.begin(), kinds.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::fprintf(out, "\n%-26s %9s %7s %7s\n", "operation", "ms", "%step", "%floor");
  for (const auto& [kind, total] : sorted)
    std::fprintf(out, "%-26s %9.2f %6.1f%% %6.0f%%\n", kind.c_str(), ms(total.seconds),
                 percent(total.seconds, r.profiled_seconds), percent(total.floor, total.seconds));
  std::fprintf(out, "%-26s %9.2f %6.1f%%\n", "between operations", ms(r.outside_seconds),
               percent(r.outside_seconds, r.profiled_seconds));

  std::vector<const LayerRow*> losses;
  for (const LayerRow& row : r.rows) losses.push_back(&row);
  std::sort(losses.begin(), losses.end(), [](const LayerRow* a, const LayerRow* b) {
    return a->seconds - a->floor_seconds > b->seconds - b->floor_seconds;
  });
  losses.resize(std::min(losses.size(), kTopLosses));
  std::fputs("\nfurthest above their floor, in ms:\n", out);
  for (const LayerRow* row : losses)
    std::fprintf(out, "  %-24s %-20s %8.2f above %8.2f\n", row->layer.c_str(), row->kind.c_str(),
                 ms(row->seconds - row->floor_seconds), ms(row->floor_seconds));
}

}  // namespace

void print_layers(std::FILE* out, const LayerReport& r) {
  print_header(out, r);
  std::fprintf(out, "\n%-24s %-20s %-36s %9s %7s %8s %6s  %s\n", "layer", "operation", "shape", "ms", "GB/s", "TFLOP/s",
               "%floor", "implementation, and the next best by itself");
  for (const LayerRow& row : r.rows) {
    const std::string kind = row.calls > 1 ? row.kind + " x" + std::to_string(row.calls) : row.kind;
    std::fprintf(out, "%-24s %-20s %-36s", row.layer.c_str(), kind.c_str(), row.shape.c_str());
    print_rates(out, row);
    std::fprintf(out, "  %s", row.implementation.c_str());
    const Candidate *chosen = row.chosen(), *other = row.alternative();
    if (chosen != nullptr) std::fprintf(out, " %.3f", ms(chosen->seconds));
    if (other != nullptr) std::fprintf(out, " | %s %.3f", other->name.c_str(), ms(other->seconds));
    if (chosen != nullptr && other != nullptr && other->seconds < chosen->seconds)
      std::fprintf(out, " (%.2fx)", other->seconds / chosen->seconds);
    std::fputc('\n', out);
  }
  print_totals(out, r);
  if (const std::string text = disagreement(r); !text.empty()) std::fprintf(out, "\nDOUBTFUL: %s\n", text.c_str());
}

void explain_layer(std::FILE* out, const LayerReport& r, const std::string& layer) {
  std::vector<const LayerRow*> rows;
  std::string known;
  for (const LayerRow& row : r.rows) {
    if (row.layer == layer) rows.push_back(&row);
    // Those of the same block, or everything where the name is of none.
    const std::string block = layer.substr(0, layer.rfind('.'));
    if (row.layer.rfind(block, 0) == 0 && known.find(row.layer + ",") == std::string::npos) known += row.layer + ", ";
  }
  if (rows.empty()) {
    if (!known.empty()) known.resize(known.size() - 2);
    fail(ErrorKind::usage, "--explain '", layer, "': ", r.model, " has no such layer",
         known.empty() ? std::string("; --layers lists them") : ", but " + known);
  }
  print_header(out, r);
  double sum = 0;
  for (const LayerRow* row : rows) sum += row->seconds;
  std::fprintf(out, "\n%s: %.3f ms of a step, %.2f%%\n", layer.c_str(), ms(sum), percent(sum, r.profiled_seconds));
  for (const LayerRow* row : rows) {
    std::fprintf(out, "\n%s  %s\n", row->kind.c_str(), row->shape.c_str());
    std::fprintf(out, "  time            %9.3f ms in the step%s\n", ms(row->seconds),
                 row->calls > 1 ? (", " + std::to_string(row->calls) + " calls").c_str() : "");
    std::fprintf(out, "  reads           %9.3f MB, writes %.3f MB: %.1f GB/s\n", row->cost.read * 1e-6,
                 row->cost.written * 1e-6, row->cost.bytes() / row->seconds * 1e-9);
    if (row->cost.flops > 0)
      std::fprintf(out, "  multiplies      %9.3f GFLOP: %.3f TFLOP/s, %.1f flops a byte\n", row->cost.flops * 1e-9,
                   row->cost.flops / row->seconds * 1e-12, row->cost.flops / row->cost.bytes());
    std::fprintf(out, "  floor           %9.3f ms, set by the %s: %.0f%% of it reached\n", ms(row->floor_seconds),
                 row->compute_bound ? "matrix rate" : "bandwidth", 100 * row->share_of_floor());
    if (!row->implementation.empty()) std::fprintf(out, "  implementation  %s\n", row->implementation.c_str());
    if (row->candidates.empty()) continue;
    std::fputs("  by themselves, in ms:\n", out);
    for (const Candidate& candidate : row->candidates)
      std::fprintf(out, "  %c %9.3f  %s\n", candidate.name == row->implementation ? '*' : ' ', ms(candidate.seconds),
                   candidate.name.c_str());
  }
}

}  // namespace engine::bench
