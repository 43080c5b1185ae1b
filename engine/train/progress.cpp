#include "engine/train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine {
namespace {

std::string bar(double share, int cells) {
  const int full = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * cells));
  std::string text = "[";
  for (int i = 0; i < cells; ++i) text += i < full ? '=' : i == full ? '>' : ' ';
  return text + "]";
}

std::string join_within(const std::vector<std::string>& parts, int columns) {
  std::string text;
  for (const std::string& part : parts) {
    const std::string longer = text.empty() ? part : text + "  " + part;
    if (static_cast<int>(longer.size()) >= columns) break;
    text = longer;
  }
  return text;
}

constexpr int kBarCells = 20;

}  // namespace

std::string duration_text(double seconds) {
  const auto total = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  const int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60, rest = total % 60;
  if (days > 0) return fmt::format("{} d {}:{:02}:{:02}", days, hours, minutes, rest);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
  return fmt::format("{}:{:02}", minutes, rest);
}

std::string with_thousands(int64_t number) {
  std::string digits = std::to_string(number);
  const auto sign = static_cast<ptrdiff_t>(number < 0);
  for (ptrdiff_t i = static_cast<ptrdiff_t>(digits.size()) - 3; i > sign; i -= 3) {
    digits.insert(digits.begin() + i, ',');
  }
  return digits;
}

std::string rate_text(double per_second) {
  return per_second < 100 ? fmt::format("{:.1f}", per_second) : with_thousands(std::llround(per_second));
}

std::string progress_line(const Progress& p) {
  return fmt::format(
      "epoch {}/{}  step {}/{}  loss {:.4f}  acc1 {:.2f}  grad {:.3g}  z {:.1f} {:.1f}  lr {:.3g}  {} img/s  data "
      "{:.0f}%  bound={}  ETA {}",
      p.epoch, p.epochs, p.step, p.total_steps, p.loss, p.acc1, p.grad_norm, p.loss_z, p.norm_z, p.lr,
      rate_text(p.img_per_s), 100 * p.data_wait, p.bound, duration_text(p.seconds_left));
}

std::string progress_bar(const Progress& p, int columns) {
  const double share = static_cast<double>(p.step_in_epoch) / static_cast<double>(p.steps_per_epoch);
  return join_within({fmt::format("epoch {}/{} {} {:3.0f}%", p.epoch, p.epochs, bar(share, kBarCells), 100 * share),
                      fmt::format("ETA {}", duration_text(p.seconds_left)), fmt::format("step {}", p.step),
                      fmt::format("loss {:.3f}", p.loss), fmt::format("acc1 {:.1f}", p.acc1),
                      fmt::format("{} img/s", rate_text(p.img_per_s)), fmt::format("lr {:.2g}", p.lr),
                      fmt::format("data {:.0f}%", 100 * p.data_wait), fmt::format("bound={}", p.bound)},
                     columns);
}

std::string count_bar(const std::string& what, int64_t done, int64_t total, int columns) {
  const double share = static_cast<double>(done) / static_cast<double>(std::max<int64_t>(total, 1));
  return join_within({fmt::format("{} {} {:3.0f}%", what, bar(share, kBarCells), 100 * share),
                      fmt::format("{}/{}", with_thousands(done), with_thousands(total))},
                     columns);
}

}  // namespace engine
