#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/train/report_parts.h"

namespace engine::report {
namespace {

// The drawing area in user units; the SVG scales to its column.
constexpr double kWidth = 560, kHeight = 270, kLeft = 50, kRight = 16, kTop = 14, kBottom = 38;
// More points than this are drawn as means over equal ranges of steps, in a band from the least to the greatest.
constexpr std::size_t kMaxPoints = 240;
constexpr std::size_t kMaxDots = 40;  // curves of so few points show each of them

struct Bucket {
  double x, mean, low, high;
};

struct Axis {
  double low, high, step;
};

// Ends and distance of round ticks (1, 2 or 5 times a power of ten) around [low, high].
Axis round_axis(double low, double high, int ticks) {
  if (!(high > low)) {
    const double margin = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= margin;
    high += margin;
  }
  const double raw = (high - low) / ticks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double ratio = raw / power;
  const double step = (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10) * power;
  return {std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step, step};
}

std::string tick_label(double value, double step) {
  if (std::abs(value) < step / 2) return "0";
  if (step < 1e-4 || std::abs(value) >= 1e6) return compact(value, 3);
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  return fmt::format("{:.{}f}", value, decimals);
}

std::vector<Bucket> buckets_of(const ReportCurve& curve, double x_scale) {
  ReportCurve finite;
  for (const ReportPoint& point : curve)
    if (std::isfinite(point.value) && std::isfinite(point.step)) finite.push_back(point);
  const std::size_t count = std::min(finite.size(), kMaxPoints);
  std::vector<Bucket> buckets;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = i * finite.size() / count, end = (i + 1) * finite.size() / count;
    Bucket bucket{0, 0, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
    for (std::size_t k = begin; k < end; ++k) {
      bucket.x += finite[k].step * x_scale;
      bucket.mean += finite[k].value;
      bucket.low = std::min(bucket.low, finite[k].value);
      bucket.high = std::max(bucket.high, finite[k].value);
    }
    bucket.x /= static_cast<double>(end - begin);
    bucket.mean /= static_cast<double>(end - begin);
    buckets.push_back(bucket);
  }
  return buckets;
}

class Chart {
 public:
  Chart(std::span<const ChartSeries> series, const ChartOptions& options) : options_(options) {
    const double x_scale = options.steps_per_epoch > 0 ? 1 / options.steps_per_epoch : 1;
    for (const ChartSeries& one : series) {
      std::vector<Bucket> buckets = buckets_of(*one.curve, x_scale);
      if (!buckets.empty()) lines_.push_back({&one, std::move(buckets), one.curve->size() > kMaxPoints});
    }
  }

  std::string figure() {
    if (lines_.empty()) return "";
    choose_axes();
    std::string svg = fmt::format(
        "<svg class=chart viewBox=\"0 0 {} {}\" role=img aria-label=\"{}\" data-bounds=\"{} {} {} {}\" "
        "data-x=\"{}\">\n",
        kWidth, kHeight, escape(options_.title), kLeft, kTop, kWidth - kRight, kHeight - kBottom, x_name());
    svg += axes();
    for (const Line& line : lines_) svg += band(line);
    for (const Line& line : lines_) svg += path(line);
    svg += mark();
    return fmt::format(
        "<figure class=plot><figcaption><b>{}</b>{}<span class=legend>{}</span></figcaption>\n{}</svg></figure>\n",
        escape(options_.title), options_.unit.empty() ? "" : " <i>" + escape(options_.unit) + "</i>", legend(), svg);
  }

 private:
  struct Line {
    const ChartSeries* series;
    std::vector<Bucket> buckets;
    bool averaged;
  };

  const char* x_name() const { return options_.steps_per_epoch > 0 ? "epoch" : "step"; }
  double px(double x) const { return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight); }
  double py(double y) const {
    return kHeight - kBottom -
           (std::clamp(y, y_.low, y_.high) - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }
  std::string shown(double value) const {
    return options_.decimals >= 0 ? fmt::format("{:.{}f}", value, options_.decimals) : compact(value);
  }

  void choose_axes() {
    double x_high = 0, low = std::numeric_limits<double>::infinity(), high = -low;
    for (const Line& line : lines_)
      for (const Bucket& bucket : line.buckets) {
        x_high = std::max(x_high, bucket.x);
        low = std::min(low, bucket.low);
        high = std::max(high, bucket.high);
      }
    if (options_.reach > 0) high = std::max(high, options_.reach);
    x_ = round_axis(0, x_high > 0 ? x_high : 1, 6);
    // The curve fills the width and only the ticks are round, unless the next tick is about there.
    const double next_tick = std::ceil(x_high / x_.step - 1e-9) * x_.step;
    if (x_high > 0) x_.high = next_tick <= 1.03 * x_high ? next_tick : x_high;
    y_ = round_axis(options_.from_zero ? std::min(0.0, low) : low, high, 5);
    if (options_.upper_limit > 0) y_.high = std::min(y_.high, std::max(high, options_.upper_limit));
  }

  std::string axes() const {
    std::string svg = "<g class=axis>\n";
    const auto y_ticks = static_cast<int>(std::floor((y_.high - y_.low) / y_.step + 1e-6));
    for (int i = 0; i <= y_ticks; ++i) {
      const double value = y_.low + i * y_.step, y = py(value);
      svg += fmt::format(
          "<line class=grid x1={} x2={} y1={:.1f} y2={:.1f} /><text x={} y={:.1f} text-anchor=end>{}</text>\n", kLeft,
          kWidth - kRight, y, y, kLeft - 7, y + 4, tick_label(value, y_.step));
    }
    const auto x_ticks = static_cast<int>(std::floor(x_.high / x_.step + 1e-6));
    for (int i = 0; i <= x_ticks; ++i) {
      const double value = i * x_.step, x = px(value);
      svg += fmt::format("<line x1={:.1f} x2={:.1f} y1={} y2={} /><text x={:.1f} y={} text-anchor=middle>{}</text>\n",
                         x, x, kHeight - kBottom, kHeight - kBottom + 4, x, kHeight - kBottom + 17,
                         tick_label(value, x_.step));
    }
    svg += fmt::format("<line x1={} x2={} y1={} y2={} /><text x={} y={} text-anchor=middle>{}</text></g>\n", kLeft,
                       kWidth - kRight, kHeight - kBottom, kHeight - kBottom, (kLeft + kWidth - kRight) / 2,
                       kHeight - 5, x_name());
    return svg;
  }

  std::string band(const Line& line) const {
    if (!line.averaged) return "";
    std::string points;
    for (const Bucket& bucket : line.buckets) points += fmt::format("{:.1f},{:.1f} ", px(bucket.x), py(bucket.high));
    for (auto bucket = line.buckets.rbegin(); bucket != line.buckets.rend(); ++bucket)
      points += fmt::format("{:.1f},{:.1f} ", px(bucket->x), py(bucket->low));
    return fmt::format("<polygon class=\"band {}\" points=\"{}\" />\n", line.series->style, points);
  }

  std::string path(const Line& line) const {
    std::string d, values;
    for (const Bucket& bucket : line.buckets) {
      const double x = px(bucket.x), y = py(bucket.mean);
      d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? 'M' : 'L', x, y);
      values += fmt::format("{:.1f},{:.1f},{},{};", x, y, compact(bucket.x, 5), shown(bucket.mean));
    }
    const bool all = line.buckets.size() <= kMaxDots;
    std::string dots;
    for (std::size_t i = all ? 0 : line.buckets.size() - 1; i < line.buckets.size(); ++i)
      dots += fmt::format("<circle class=\"end {}\" cx={:.1f} cy={:.1f} r=3 />", line.series->style,
                          px(line.buckets[i].x), py(line.buckets[i].mean));
    return fmt::format("<path class=\"line {}\" d=\"{}\" data-name=\"{}\" data-values=\"{}\" />{}\n",
                       line.series->style, d, escape(line.series->name), values, dots);
  }

  std::string mark() const {
    if (options_.mark == ChartOptions::Mark::none) return "";
    const Line& line = lines_.back();
    const bool maximum = options_.mark == ChartOptions::Mark::maximum;
    const auto best = maximum ? std::max_element(line.buckets.begin(), line.buckets.end(),
                                                 [](const Bucket& a, const Bucket& b) { return a.mean < b.mean; })
                              : std::min_element(line.buckets.begin(), line.buckets.end(),
                                                 [](const Bucket& a, const Bucket& b) { return a.mean < b.mean; });
    const double x = px(best->x), y = py(best->mean);
    // Below a maximum and above a minimum there may be curves; the far side of the extremum is free, if it is inside.
    const bool above = maximum ? y > kTop + 20 : y > kHeight - kBottom - 22;
    return fmt::format(
        "<circle class=\"best {}\" cx={:.1f} cy={:.1f} r=5.5 /><text class=best x={:.1f} y={:.1f} text-anchor={}>best "
        "{}</text>\n",
        line.series->style, x, y, x, above ? y - 11 : y + 20,
        x > kWidth - kRight - 40 ? "end"
        : x < kLeft + 40         ? "start"
                                 : "middle",
        shown(best->mean));
  }

  std::string legend() const {
    std::string html;
    for (const Line& line : lines_)
      html += fmt::format("<span class=\"key {}\">{} <b>{}</b>{}</span>", line.series->style, escape(line.series->name),
                          shown(line.buckets.back().mean), line.averaged ? " <small>mean and range</small>" : "");
    return html;
  }

  ChartOptions options_;
  std::vector<Line> lines_;
  Axis x_{}, y_{};
};

}  // namespace

std::string line_chart(std::span<const ChartSeries> series, const ChartOptions& options) {
  return Chart(series, options).figure();
}

}  // namespace engine::report
