#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/train/report_parts.h"

namespace engine::report {
namespace {

constexpr std::size_t kMaxMatrixClasses = 20;
constexpr std::size_t kMaxPairs = 20;
constexpr std::size_t kFewPairs = 5;  // beside a matrix
constexpr std::size_t kMaxBars = 24;

class Confusion {
 public:
  explicit Confusion(const ReportData& data) : data_(data), classes_(data.class_names.size()) {
    for (std::size_t label = 0; label < classes_; ++label) {
      const auto row = data.confusion.begin() + static_cast<std::ptrdiff_t>(label * classes_);
      samples_.push_back(std::accumulate(row, row + static_cast<std::ptrdiff_t>(classes_), std::int64_t{0}));
    }
  }

  std::size_t classes() const { return classes_; }
  std::string name(std::size_t index) const { return escape(data_.class_names[index]); }
  std::int64_t samples(std::size_t label) const { return samples_[label]; }
  std::int64_t count(std::size_t label, std::size_t predicted) const {
    return data_.confusion[label * classes_ + predicted];
  }
  double share(std::size_t label, std::size_t predicted) const {
    return samples(label) > 0 ? static_cast<double>(count(label, predicted)) / static_cast<double>(samples(label)) : 0;
  }

 private:
  const ReportData& data_;
  std::size_t classes_;
  std::vector<std::int64_t> samples_;
};

std::string matrix(const Confusion& confusion) {
  std::string html =
      "<div class=scroll><table class=matrix><thead><tr><th class=corner><span>true</span><span>predicted</span></th>";
  for (std::size_t k = 0; k < confusion.classes(); ++k)
    html += fmt::format("<th scope=col><span>{}</span></th>", confusion.name(k));
  html += "</tr></thead><tbody>\n";
  for (std::size_t label = 0; label < confusion.classes(); ++label) {
    html += fmt::format("<tr><th scope=row>{}</th>", confusion.name(label));
    for (std::size_t predicted = 0; predicted < confusion.classes(); ++predicted) {
      const std::int64_t count = confusion.count(label, predicted);
      // Square root: single mistakes must show beside a diagonal of hundreds.
      const double strength = std::sqrt(confusion.share(label, predicted));
      if (count == 0)
        html += "<td>·</td>";
      else
        html += fmt::format(
            "<td class=\"{}{}\" style=\"--v:{:.2f}\" title=\"{} taken for {}: {} of {} ({:.1f} %)\">{}</td>",
            label == predicted ? "right" : "wrong", strength > 0.6 ? " strong" : "", strength, confusion.name(label),
            confusion.name(predicted), count, confusion.samples(label), 100 * confusion.share(label, predicted), count);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string confused_pairs(const Confusion& confusion, std::size_t max_pairs) {
  struct Pair {
    std::size_t label, predicted;
  };
  std::vector<Pair> pairs;
  for (std::size_t label = 0; label < confusion.classes(); ++label)
    for (std::size_t predicted = 0; predicted < confusion.classes(); ++predicted)
      if (label != predicted && confusion.count(label, predicted) > 0) pairs.push_back({label, predicted});
  if (pairs.empty()) return "<p class=note>No sample was taken for another class.</p>\n";
  const std::size_t shown = std::min(pairs.size(), max_pairs);
  std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(shown), pairs.end(),
                    [&](const Pair& a, const Pair& b) {
                      const auto count_a = confusion.count(a.label, a.predicted),
                                 count_b = confusion.count(b.label, b.predicted);
                      return count_a != count_b ? count_a > count_b
                                                : std::pair(a.label, a.predicted) < std::pair(b.label, b.predicted);
                    });
  std::string html =
      "<div class=scroll><table class=pairs><thead><tr><th>true class</th><th>taken for</th><th class=number>times</th>"
      "<th class=number>of the class</th></tr></thead><tbody>\n";
  for (std::size_t i = 0; i < shown; ++i) {
    const auto [label, predicted] = pairs[i];
    html += fmt::format("<tr><td>{}</td><td>{}</td><td class=number>{}</td><td class=number>{:.1f} %</td></tr>\n",
                        confusion.name(label), confusion.name(predicted), confusion.count(label, predicted),
                        100 * confusion.share(label, predicted));
  }
  return html + "</tbody></table></div>\n";
}

std::string class_bars(const Confusion& confusion) {
  std::vector<std::size_t> order;
  for (std::size_t k = 0; k < confusion.classes(); ++k)
    if (confusion.samples(k) > 0) order.push_back(k);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return confusion.share(a, a) < confusion.share(b, b); });
  std::string note;
  if (order.size() > kMaxBars) {
    note = fmt::format("<p class=note>The {} least recognised of {} classes.</p>\n", kMaxBars, order.size());
    order.resize(kMaxBars);
  }
  std::string html = note + "<div class=bars>\n";
  for (const std::size_t k : order)
    html += fmt::format(
        "<div class=bar title=\"{} of {} right\"><span class=name>{}</span><span class=track><span class=fill "
        "style=\"width:{:.1f}%\"></span></span>"
        "<span class=value>{:.1f} %</span></div>\n",
        confusion.count(k, k), confusion.samples(k), confusion.name(k), 100 * confusion.share(k, k),
        100 * confusion.share(k, k));
  return html + "</div>\n";
}

}  // namespace

std::string class_sections(const ReportData& data) {
  if (data.confusion.empty()) return "";
  const Confusion confusion(data);
  const std::string bars = "<h2>Accuracy by class</h2>\n" + class_bars(confusion);
  if (confusion.classes() > kMaxMatrixClasses)
    return "<div class=columns><section><h2>Most confused pairs</h2>\n" + confused_pairs(confusion, kMaxPairs) +
           "</section>\n<section>" + bars + "</section></div>\n";
  return "<div class=columns><section><h2>Confusion matrix</h2>\n" + matrix(confusion) + "</section>\n<section>" +
         bars + "<h3>Most confused pairs</h3>\n" + confused_pairs(confusion, kFewPairs) + "</section></div>\n";
}

}  // namespace engine::report
