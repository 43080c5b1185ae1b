#include "engine/train/experiment_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/train/accuracy.h"
#include "engine/train/report_parts.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;
using report::ChartSeries;
using report::escape;

// The training error at the end is the mean over what follows this share of the steps: a single line of metrics is
// noisy.
constexpr double kLast = 0.9;

// A net's name is its kind and its depth: "plain56".
struct Course {
  std::string model, kind;
  int depth = 0;
  double steps_per_epoch = 0;
  ReportCurve train_error, test_error;  // percent by step
  double last_train_error = 0, last_test_error = 0;
  int64_t test_samples = 0;
  double epochs = 0, seconds = 0;
  std::string device;
};

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return Json::parse(file, nullptr, /*allow_exceptions=*/false);
}

std::optional<Course> read_course(const std::filesystem::path& run, const std::string& model) {
  const size_t digits = model.find_last_not_of("0123456789") + 1;
  Course course{.model = model, .kind = model.substr(0, digits)};
  course.depth = std::atoi(model.c_str() + digits);
  const Json description = read_json(run / "run.json"), summary = read_json(run / "summary.json");
  if (!description.is_object()) return std::nullopt;
  course.steps_per_epoch = description.value("steps_per_epoch", 0.0);
  course.device = description.value("device", "");
  if (summary.is_object()) course.seconds = summary.value("seconds", 0.0);
  std::ifstream lines(run / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json.contains("acc1")) continue;
    const double step = json.value("step", 0.0), error = 100 - json.value("acc1", 0.0);
    if (json.value("event", "") == "train") course.train_error.push_back({step, error});
    if (json.value("event", "") == "val") {
      course.test_error.push_back({step, error});
      course.last_test_error = error;
      course.test_samples = json.value("count", int64_t{0});
      course.epochs = json.value("epoch", 0.0);
    }
  }
  if (course.test_error.empty() || course.train_error.empty()) return std::nullopt;
  double sum = 0, count = 0;
  for (const ReportPoint& point : course.train_error) {
    if (point.step <= kLast * course.train_error.back().step) continue;
    sum += point.value;
    ++count;
  }
  course.last_train_error = sum / count;
  return course;
}

std::vector<Course> read_courses(const std::filesystem::path& folder, const std::vector<std::string>& models) {
  std::vector<Course> courses;
  for (const std::string& model : models) {
    if (std::optional<Course> course = read_course(folder / model, model)) courses.push_back(std::move(*course));
  }
  return courses;
}

std::vector<std::string> kinds_of(const std::vector<Course>& courses) {
  std::vector<std::string> kinds;
  for (const Course& course : courses) {
    if (std::find(kinds.begin(), kinds.end(), course.kind) == kinds.end()) kinds.push_back(course.kind);
  }
  return kinds;
}

std::string charts(const std::vector<Course>& courses) {
  // One scale for both kinds, so that they can be compared by eye.
  double highest = 0;
  for (const Course& course : courses)
    for (const ReportCurve* curve : {&course.train_error, &course.test_error})
      for (const ReportPoint& point : *curve) highest = std::max(highest, point.value);
  std::string html;
  for (const std::string& kind : kinds_of(courses)) {
    std::vector<ChartSeries> series;
    double steps_per_epoch = 0;
    for (const Course& course : courses) {
      if (course.kind != kind) continue;
      const bool shallow = series.empty();
      series.push_back({course.model + " training", shallow ? "shallow thin" : "deep thin", &course.train_error});
      series.push_back({course.model + " test", shallow ? "shallow" : "deep", &course.test_error});
      steps_per_epoch = course.steps_per_epoch;
    }
    html += report::line_chart(series, {.title = kind == "plain"    ? "Plain nets"
                                                 : kind == "resnet" ? "Residual nets"
                                                                    : kind,
                                        .unit = "error, %",
                                        .steps_per_epoch = steps_per_epoch,
                                        .from_zero = true,
                                        .reach = highest,
                                        .upper_limit = 100,
                                        .decimals = 2});
  }
  return html;
}

std::string table(const std::vector<Course>& courses) {
  std::string html =
      "<div class=scroll><table class=pairs><thead><tr><th>net</th><th class=number>training error</th>"
      "<th class=number>test error</th><th class=number>epochs</th><th class=number>minutes</th></tr></thead><tbody>\n";
  for (const Course& course : courses) {
    html += fmt::format(
        "<tr><td>{}</td><td class=number>{:.2f} %</td><td class=number>{:.2f} ± {:.2f} %</td><td class=number>{}</td>"
        "<td class=number>{:.1f}</td></tr>\n",
        escape(course.model), course.last_train_error, course.last_test_error,
        wilson_half_width(course.last_test_error, course.test_samples), course.epochs, course.seconds / 60);
  }
  return html + "</tbody></table></div>\n";
}

// What depth does to the training error of each kind: the deepest net against the shallowest.
std::string finding(const std::vector<Course>& courses) {
  std::string text;
  for (const std::string& kind : kinds_of(courses)) {
    const Course *shallow = nullptr, *deep = nullptr;
    for (const Course& course : courses) {
      if (course.kind != kind) continue;
      if (!shallow || course.depth < shallow->depth) shallow = &course;
      if (!deep || course.depth > deep->depth) deep = &course;
    }
    if (shallow == deep) continue;
    const double change = deep->last_train_error - shallow->last_train_error;
    if (std::abs(change) < 0.005) {
      text += fmt::format("{}{} has the training error of {}", text.empty() ? "" : "; ", deep->model, shallow->model);
      continue;
    }
    text += fmt::format("{}{} has {:.2f} points {} training error than {}", text.empty() ? "" : "; ", deep->model,
                        std::abs(change), change > 0 ? "more" : "less", shallow->model);
  }
  return text;
}

}  // namespace

std::string experiment_summary(const std::filesystem::path& folder, const std::vector<std::string>& models) {
  const std::vector<Course> courses = read_courses(folder, models);
  std::string text;
  for (const Course& course : courses) {
    text += fmt::format("{}{} {:.2f}/{:.2f}%", text.empty() ? "training/test error: " : ", ", course.model,
                        course.last_train_error, course.last_test_error);
  }
  const std::string found = finding(courses);
  return found.empty() ? text : text + "; " + found;
}

void write_experiment_report(const std::filesystem::path& folder, const std::string& title,
                             const std::vector<std::string>& models) {
  const std::vector<Course> courses = read_courses(folder, models);
  if (courses.empty()) return;
  const std::string found = finding(courses);
  std::string html = report::page_begin(title, "<span>" + escape(courses.front().device) + "</span>");
  if (!found.empty()) html += "<section><p>" + escape(found) + ".</p></section>\n";
  html +=
      "<section><h2>Error while training</h2>\n<p class=note>Thin: on the training pictures as they are trained on. "
      "Thick: on the test pictures, after each epoch.</p>\n<div class=plots>\n" +
      charts(courses) + "</div></section>\n<section><h2>After the last epoch</h2>\n" + table(courses) + "</section>\n";
  html += report::page_end();
  write_file_atomically(folder / "report.html", std::string_view(html), ErrorKind::usage);
}

}  // namespace engine
