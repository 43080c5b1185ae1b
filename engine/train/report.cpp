#include "engine/train/report.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/train/accuracy.h"
#include "engine/train/report_parts.h"

namespace engine {
namespace {

using report::compact;
using report::escape;
using report::grouped;

constexpr std::int64_t kMaxPictureSide = 192;  // of the data; larger pictures are reduced
constexpr std::int64_t kPixelArtSide = 96;     // smaller ones are enlarged without blurring

void check_data(const ReportData& data) {
  const std::size_t classes = data.class_names.size();
  if (!data.confusion.empty() && data.confusion.size() != classes * classes)
    fail(ErrorKind::internal, "report: the confusion matrix has ", data.confusion.size(), " entries, expected ",
         classes, "x", classes, " for ", classes, " class names");
  for (const ReportMistake& mistake : data.mistakes)
    for (const std::int64_t index : {mistake.label, mistake.predicted})
      if (index < 0 || index >= static_cast<std::int64_t>(classes))
        fail(ErrorKind::internal, "report: a mistake names class ", index, ", but there are ", classes);
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::lround(seconds));
  if (whole < 60) return fmt::format("{:.1f} s", seconds);
  if (whole < 3600) return fmt::format("{} min {:02d} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02d} min", whole / 3600, whole % 3600 / 60);
}

std::string tile(const std::string& label, const std::string& value, const std::string& note = "") {
  return fmt::format("<div class=tile><dt>{}</dt><dd>{}</dd>{}</div>\n", label, value,
                     note.empty() ? "" : "<p>" + note + "</p>");
}

std::string headline(const ReportData& data) {
  std::string html = "<dl class=tiles>\n";
  if (data.best_val_acc1) {
    std::string value = fmt::format("{:.2f}<small> %", *data.best_val_acc1);
    if (data.val_samples > 0)
      value += fmt::format(" ± {:.2f}", wilson_half_width(*data.best_val_acc1, data.val_samples));
    std::string note = data.best_epoch ? fmt::format("at epoch {}", compact(*data.best_epoch)) : "";
    if (data.val_samples > 0)
      note += fmt::format("{}{} images, 95 % interval", note.empty() ? "" : ", ", grouped(data.val_samples));
    if (!data.comparable.empty()) note += "; paper-comparable: " + escape(data.comparable);
    html += tile("best validation accuracy", value + "</small>", note);
  }
  if (data.final_val_acc1) html += tile("final accuracy", fmt::format("{:.2f}<small> %</small>", *data.final_val_acc1));
  if (data.epochs > 0)
    html += tile("epochs", compact(data.epochs), data.steps > 0 ? grouped(data.steps) + " steps" : "");
  if (data.seconds > 0) html += tile("time", duration(data.seconds));
  if (data.train_img_per_s > 0)
    html += tile("training speed", grouped(std::llround(data.train_img_per_s)) + "<small> img/s</small>");
  if (data.peak_memory > 0)
    html += tile("peak memory",
                 fmt::format("{:.0f}<small> MiB</small>", static_cast<double>(data.peak_memory) / (1 << 20)));
  if (data.parameters > 0) html += tile("parameters", grouped(data.parameters));
  return html + "</dl>\n";
}

std::string curves(const ReportData& data) {
  using report::ChartOptions;
  using report::ChartSeries;
  const std::array loss{ChartSeries{"training", "train", &data.train_loss},
                        ChartSeries{"validation", "val", &data.val_loss}};
  // The run's own validation comes last: the best of the last series is marked.
  const std::array accuracy{
      ChartSeries{data.reference + " training", "reference thin dashed", &data.reference_train_acc1},
      ChartSeries{data.reference, "reference dashed", &data.reference_acc1},
      ChartSeries{"training", "train", &data.train_acc1}, ChartSeries{"averaged weights", "ema", &data.ema_val_acc1},
      ChartSeries{"validation", "val", &data.val_acc1}};
  const std::array rate{ChartSeries{"learning rate", "other", &data.learning_rate}};
  const std::array norm{ChartSeries{"gradient norm", "other", &data.grad_norm}};
  const std::array speed{ChartSeries{"training speed", "other", &data.img_per_s}};
  const double epoch = data.steps_per_epoch;
  std::string html =
      report::line_chart(loss,
                         {.title = "Loss",
                          .unit = "nats",
                          .steps_per_epoch = epoch,
                          .from_zero = true,
                          .mark = data.val_loss.empty() ? ChartOptions::Mark::none : ChartOptions::Mark::minimum}) +
      report::line_chart(accuracy,
                         {.title = "Accuracy",
                          .unit = "%",
                          .steps_per_epoch = epoch,
                          .upper_limit = 100,
                          .mark = data.val_acc1.empty() ? ChartOptions::Mark::none : ChartOptions::Mark::maximum,
                          .decimals = 2}) +
      report::line_chart(rate, {.title = "Learning rate", .unit = "", .steps_per_epoch = epoch, .from_zero = true}) +
      report::line_chart(norm, {.title = "Gradient norm", .unit = "", .steps_per_epoch = epoch, .from_zero = true}) +
      report::line_chart(
          speed, {.title = "Speed", .unit = "img/s", .steps_per_epoch = epoch, .from_zero = true, .decimals = 0});
  return html.empty() ? "" : "<section><h2>Curves</h2>\n<div class=plots>\n" + html + "</div></section>\n";
}

std::string mistakes(const ReportData& data) {
  if (data.mistakes.empty()) return "";
  std::string html =
      "<section><h2>Worst mistakes</h2>\n<p class=note>The validation images whose true class was given the least "
      "probability.</p>\n<div class=pictures>\n";
  for (const ReportMistake& mistake : data.mistakes) {
    const std::int64_t side = std::max(mistake.image.width, mistake.image.height);
    const std::string label = escape(data.class_names[static_cast<std::size_t>(mistake.label)]);
    const std::string predicted = escape(data.class_names[static_cast<std::size_t>(mistake.predicted)]);
    html += fmt::format(
        "<figure class=picture title=\"{}\"><img{} src=\"{}\" alt=\"{}, taken for {}\">"
        "<figcaption><span class=truth>{}</span><span class=taken>{}</span><span class=value>{:.1f} "
        "%</span></figcaption></figure>\n",
        escape(mistake.source), side < kPixelArtSide ? " class=pixels" : "",
        report::png_data_uri(mistake.image, kMaxPictureSide), label, predicted, label, predicted,
        100 * mistake.probability);
  }
  return html + "</div></section>\n";
}

std::string table(const std::string& title, const ReportTable& rows) {
  if (rows.empty()) return "";
  std::string html = "<section><h2>" + title + "</h2>\n<dl class=settings>\n";
  for (const auto& [key, value] : rows)
    html += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(key), escape(value));
  return html + "</dl></section>\n";
}

}  // namespace

std::string report::page_begin(const std::string& title, const std::string& subtitle) {
  const std::string escaped = escape(title);
  std::string html =
      "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
      "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=color-scheme content=\"light dark\">\n<title>";
  html.append(escaped).append("</title>\n<style>").append(kStyle);
  html += "</style></head>\n<body><main>\n";
  return html + "<header><h1>" + escaped + "</h1><p class=subtitle>" + subtitle + "</p></header>\n";
}

std::string report::page_end() {
  return "</main>\n<script>" + std::string(kScript) + "</script>\n</body></html>\n";
}

std::string report_html(const ReportData& data) {
  check_data(data);
  std::string subtitle;
  for (const std::string& part : {data.model, data.data, data.outcome})
    if (!part.empty()) subtitle += "<span>" + escape(part) + "</span>";
  std::string html = report::page_begin(data.run, subtitle);
  html += headline(data) + curves(data) + report::time_shares(data.times) + report::epoch_table(data.by_epoch) +
          report::class_sections(data) + mistakes(data) + report::filter_pictures(data.filters);
  html += table("Configuration", data.configuration) + table("Versions", data.versions);
  if (!data.command_line.empty())
    html += "<section><h2>Command</h2>\n<pre>" + escape(data.command_line) + "</pre></section>\n";
  return html + report::page_end();
}

void write_report(const std::filesystem::path& path, const ReportData& data) {
  write_file_atomically(path, std::string_view(report_html(data)), ErrorKind::usage);
}

}  // namespace engine
