#include "bench/result_table.h"

#include <algorithm>
#include <set>

#include "bench/step_workload.h"

namespace engine::bench {
namespace {

constexpr const char* kHeader =
    "model              bench     prec  batch size     img/s    step ms  +-%      p5     p95 TFLOP/s mat% mem% floor%"
    "    MiB";

void print_percent(std::FILE* out, int width, bool known, double share) {
  if (known)
    std::fprintf(out, " %*.0f", width, 100 * share);
  else
    std::fprintf(out, " %*s", width, "-");
}

void note(std::FILE* out, const char* kind, const std::string& text) {
  std::fprintf(out, "  %s: %s\n", kind, text.c_str());
}

void print_parts(std::FILE* out, const StepParts& p) {
  const double sum = p.forward + p.backward + p.optimiser;
  std::fprintf(out, "  parts: forward %.2f ms (%.0f%%), backward %.2f ms (%.0f%%), optimiser %.2f ms (%.0f%%)\n",
               1e3 * p.forward, 100 * p.forward / sum, 1e3 * p.backward, 100 * p.backward / sum, 1e3 * p.optimiser,
               100 * p.optimiser / sum);
}

}  // namespace

void print_table_header(std::FILE* out) {
  std::fprintf(out, "%s\n", kHeader);
}

void print_table_row(std::FILE* out, const CellResult& r) {
  const WorkloadOptions& work = r.cell.work;
  std::fprintf(out, "%-18s %-9s %-4s %6ld %4ld", work.model.c_str(), name_of(work.mode), precision_name(work.precision),
               static_cast<long>(work.batch), static_cast<long>(work.image_size));
  if (!r.error.empty()) {
    std::fputs("  FAILED\n", out);
    return note(out, "FAILED", r.error);
  }
  const Summary& s = r.evidence.summary;
  std::fprintf(out, " %9.1f %10.2f", static_cast<double>(work.batch) / s.median, 1e3 * s.median);
  if (s.interval)
    std::fprintf(out, " %4.1f", 50 * (s.interval->high - s.interval->low) / s.median);
  else
    std::fprintf(out, " %4s", "-");
  std::fprintf(out, " %7.2f %7.2f", 1e3 * s.p5, 1e3 * s.p95);
  const bool known = r.floor && r.ceilings;
  if (known)
    std::fprintf(out, " %7.3f", 1e-12 * r.floor->flops / s.median);
  else
    std::fprintf(out, " %7s", "-");
  print_percent(out, 4, known, known ? r.floor->flops / s.median / r.ceilings->flops_per_s : 0);
  print_percent(out, 4, known, known ? r.floor->bytes / s.median / r.ceilings->bytes_per_s : 0);
  print_percent(out, 6, known, known ? r.floor->seconds / s.median : 0);
  std::fprintf(out, " %6.0f\n", r.peak_bytes / (1 << 20));

  std::fprintf(out, "  %zu steps after %zu of warm-up, the first in %.2f s", s.steps, r.warmup.size(),
               r.first_step_seconds);
  if (r.kernels) std::fprintf(out, "; %ld kernels a step", static_cast<long>(*r.kernels));
  if (!r.evidence.clocks.mhz.empty()) std::fprintf(out, "; %.0f MHz", quantile(r.evidence.clocks.mhz, 0.5));
  if (r.watts) std::fprintf(out, ", %.0f W", *r.watts);
  if (r.celsius) std::fprintf(out, ", %.0f C", *r.celsius);
  std::fputs("\n", out);
  if (r.data) {
    std::fprintf(out, "  with data: %.1f img/s through the loader, %d workers; %.0f%% of the time waits for pictures\n",
                 r.data->img_per_s, r.data->workers, 100 * r.data->wait_share);
  }
  if (r.parts && work.mode == Mode::train) print_parts(out, *r.parts);
  for (const auto& [reason, count] : r.fallbacks)
    note(out, ("fallback, " + std::to_string(count) + " times").c_str(), reason);
  for (const Doubt& doubt : r.doubts) note(out, "DOUBTFUL", doubt.sentence);
}

void print_table_footer(std::FILE* out, const std::vector<CellResult>& results) {
  std::set<DType> seen;
  for (const CellResult& r : results) {
    if (!r.ceilings || !seen.insert(r.ceilings->dtype).second) continue;
    std::fprintf(out, "measured ceilings: copy %.1f GB/s (mem%%), %s matrix product %.3f TFLOP/s (mat%%)\n",
                 1e-9 * r.ceilings->bytes_per_s, precision_name(r.ceilings->dtype), 1e-12 * r.ceilings->flops_per_s);
  }
  if (seen.empty()) return;
  std::fputs(
      "FLOP: 2 a multiply-add, of the direct algorithm. floor%: how fast the same step could be, every kernel at\n"
      "one of the ceilings, over its time.\n",
      out);
}

void print_input_table(std::FILE* out, const std::vector<InputStage>& stages) {
  std::fprintf(out, "%-22s %7s %10s %12s\n", "stage", "threads", "img/s", "img/s/thread");
  for (const InputStage& stage : stages) {
    std::fprintf(out, "%-22s %7d %10.1f %12.1f\n", stage.name.c_str(), stage.threads, stage.img_per_s,
                 stage.img_per_s / stage.threads);
  }
}

}  // namespace engine::bench
