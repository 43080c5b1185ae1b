// The report as a page: a bar for each layer, split by direction, with a mark at the layer's floor; its rows unfold.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "bench/layer_report.h"

namespace engine::bench {
namespace {

constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1c2330;--soft:#5d6778;--line:#e1e5eb;--mark:#1c2330;
--fprop:#4f7cc0;--dgrad:#d9762b;--wgrad:#8a5fb0;--other:#6f8f52}
@media (prefers-color-scheme:dark){:root{--page:#12161d;--card:#1a2029;--ink:#e4e8ee;--soft:#97a2b3;--line:#2b3340;
--mark:#fff;--fprop:#6f9be0;--dgrad:#f0975a;--wgrad:#b18ad6;--other:#9dbd7c}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:24px 18px 60px}
h1{font-size:24px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:16px;margin:26px 0 8px}
h2 small,.soft{color:var(--soft);font-weight:400;font-size:13px}
article+article{margin-top:56px}
dl{display:flex;flex-wrap:wrap;gap:10px;margin:18px 0 0}
dl div{flex:1 1 118px;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:9px 12px}
dt{color:var(--soft);font-size:12.5px}
dd{margin:0;font-size:17px;font-weight:600;white-space:nowrap}
.doubt{background:var(--card);border:1px solid var(--dgrad);border-radius:8px;padding:9px 13px;margin:14px 0 0}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;margin:16px 0 0;color:var(--soft);font-size:13px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;overflow-x:auto}
summary{display:grid;grid-template-columns:200px minmax(160px,1fr) 90px 60px 60px;gap:10px;align-items:center;padding:4px 12px;
cursor:pointer;border-top:1px solid var(--line);list-style:none}
details:first-child summary{border-top:0}
summary b{font-weight:500;overflow-wrap:anywhere}
summary span{text-align:right}
.bar{position:relative;display:flex;height:13px}
.bar i{height:100%;min-width:1px}
.bar em{position:absolute;top:-3px;bottom:-3px;width:2px;background:var(--mark)}
.fprop{background:var(--fprop)}.dgrad{background:var(--dgrad)}.wgrad{background:var(--wgrad)}.other{background:var(--other)}
table{border-collapse:collapse;margin:2px 12px 12px 28px;font-size:13px}
th{font-weight:500;color:var(--soft);text-align:left}
td,th{padding:2px 12px 2px 0;vertical-align:top;white-space:nowrap}
td.n,th.n{text-align:right}
)css";

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...) {
  char buffer[128];
  va_list args;
  va_start(args, format);
  std::vsnprintf(buffer, sizeof buffer, format, args);
  va_end(args);
  return buffer;
}

struct Group {  // the rows of a layer, or the layers of a stage
  std::string name;
  std::vector<const LayerRow*> rows;
  double seconds() const {
    double sum = 0;
    for (const LayerRow* row : rows) sum += row->seconds;
    return sum;
  }
  double floor() const {
    double sum = 0;
    for (const LayerRow* row : rows) sum += row->floor_seconds;
    return sum;
  }
};

// In the order of their first rows.
template <class NameOf>
std::vector<Group> grouped(const std::vector<const LayerRow*>& rows, const NameOf& name_of) {
  std::vector<Group> groups;
  for (const LayerRow* row : rows) {
    const std::string name = name_of(*row);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == name; });
    if (group == groups.end()) group = groups.insert(groups.end(), {.name = name, .rows = {}});
    group->rows.push_back(row);
  }
  return groups;
}

// "layer1" of "layer1.0.conv2" and of "after layer1.0.bn2".
std::string stage_of(const LayerRow& row) {
  std::string name = row.layer.rfind("after ", 0) == 0 ? row.layer.substr(6) : row.layer;
  if (name == "conv1" || name == "bn1" || name == "input") return "stem";
  if (name == "fc" || name == "loss") return "head";
  return name.substr(0, name.find('.'));
}

const char* colour_of(const LayerRow& row) {
  const auto ends = [&](std::string_view end) {
    return row.kind.size() >= end.size() && row.kind.compare(row.kind.size() - end.size(), end.size(), end) == 0;
  };
  if (ends("fprop") || ends("forward")) return "fprop";
  if (ends("dgrad") || ends("backward")) return "dgrad";
  return ends("wgrad") ? "wgrad" : "other";
}

std::string rows_table(const std::vector<const LayerRow*>& rows) {
  std::string html =
      "<table><tr><th>operation</th><th>shape</th><th class=\"n\">ms</th><th class=\"n\">MB</th><th "
      "class=\"n\">GFLOP</th>"
      "<th class=\"n\">GB/s</th><th class=\"n\">TFLOP/s</th><th class=\"n\">floor ms</th><th>implementation</th>"
      "<th>by themselves, ms</th></tr>\n";
  for (const LayerRow* row : rows) {
    html += "<tr><td>" + escape(row->kind) + (row->calls > 1 ? text(" &#215;%d", row->calls) : "") + "</td><td>" +
            escape(row->shape) + "</td>";
    html += text("<td class=\"n\">%.3f</td><td class=\"n\">%.2f</td><td class=\"n\">%.2f</td>", row->seconds * 1e3,
                 row->cost.bytes() * 1e-6, row->cost.flops * 1e-9);
    html +=
        text("<td class=\"n\">%.1f</td><td class=\"n\">%.3f</td><td class=\"n\">%.3f</td>",
             row->cost.bytes() / row->seconds * 1e-9, row->cost.flops / row->seconds * 1e-12, row->floor_seconds * 1e3);
    html += "<td>" + escape(row->implementation) + "</td><td>";
    for (const Candidate& candidate : row->candidates)
      html += (&candidate == row->candidates.data() ? "" : "<br/>") + text("%.3f ", candidate.seconds * 1e3) +
              escape(candidate.name);
    html += "</td></tr>\n";
  }
  return html + "</table>";
}

std::string layer_html(const Group& layer, double longest, double step) {
  std::string html = "<details><summary><b>" + escape(layer.name) + "</b><div class=\"bar\">";
  for (const LayerRow* row : layer.rows)
    html += "<i class=\"" + std::string(colour_of(*row)) + "\" title=\"" + escape(row->kind) +
            text("\" style=\"width:%.3f%%\"></i>", 100 * row->seconds / longest);
  html += text("<em title=\"floor\" style=\"left:%.3f%%\"></em></div>", 100 * std::min(layer.floor() / longest, 1.0));
  html += text("<span>%.3f ms</span><span>%.1f%%</span><span class=\"soft\">%.0f%%</span></summary>\n",
               layer.seconds() * 1e3, 100 * layer.seconds() / step, 100 * layer.floor() / layer.seconds());
  return html + rows_table(layer.rows) + "</details>\n";
}

std::string tile(const char* name, const std::string& value) {
  return "<div><dt>" + std::string(name) + "</dt><dd>" + value + "</dd></div>";
}

std::string report_html(const LayerReport& r) {
  std::string html = "<article>\n<h1>" + escape(r.model + " " + r.mode + " " + r.precision) + "</h1>\n";
  html += "<p class=\"soft\">" +
          text("batch %ld of %ld&#215;%ld, ", static_cast<long>(r.batch), static_cast<long>(r.image_size),
               static_cast<long>(r.image_size)) +
          escape(r.device + ": " + r.description) + "</p>\n<dl>";
  html += tile("step", text("%.2f ms", r.step_seconds * 1e3));
  html += tile("images a second", text("%.1f", static_cast<double>(r.batch) / r.step_seconds));
  html += tile("operations / step", text("%.1f%%", 100 * r.operations_seconds / r.step_seconds));
  html += tile("between them", text("%.2f ms", r.outside_seconds * 1e3));
  html +=
      tile("floor of the step", text("%.2f ms, %.0f%%", r.floor.seconds * 1e3, 100 * r.floor.seconds / r.step_seconds));
  html += tile("copy", text("%.1f GB/s", r.ceilings.bytes_per_s * 1e-9));
  html += tile("matrix product", text("%.3f TFLOP/s", r.ceilings.flops_per_s * 1e-12)) + "</dl>\n";
  if (r.emulated)
    html += "<p class=\"doubt\">The device is emulated: none of these figures says anything about a GPU.</p>\n";
  if (const std::string doubt = disagreement(r); !doubt.empty())
    html += "<p class=\"doubt\">DOUBTFUL: " + escape(doubt) + "</p>\n";
  html +=
      "<p class=\"legend\"><span><i class=\"fprop\"></i>forward</span><span><i class=\"dgrad\"></i>backward, "
      "data</span>"
      "<span><i class=\"wgrad\"></i>backward, weights</span><span><i class=\"other\"></i>other</span>"
      "<span>line: the floor of its operations. Last columns: share of the step, and floor over time; above 100% where "
      "caches or Winograd spare what the floor counts. Each layer unfolds.</span></p>\n";

  std::vector<const LayerRow*> rows;
  for (const LayerRow& row : r.rows) rows.push_back(&row);
  const auto layer_name = [](const LayerRow& row) { return row.layer; };
  double longest = 0;
  for (const Group& layer : grouped(rows, layer_name)) longest = std::max(longest, layer.seconds());
  for (const Group& stage : grouped(rows, stage_of)) {
    html += "<h2>" + escape(stage.name) +
            text(" <small>%.2f ms, %.1f%%</small></h2>\n<section>\n", stage.seconds() * 1e3,
                 100 * stage.seconds() / r.profiled_seconds);
    for (const Group& layer : grouped(stage.rows, layer_name)) html += layer_html(layer, longest, r.profiled_seconds);
    html += "</section>\n";
  }
  return html + "</article>\n";
}

}  // namespace

std::string layers_html(const std::vector<LayerReport>& reports) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n<title>Where the time "
      "goes</title>\n<style>";
  html += std::string(kStyle) + "</style>\n</head>\n<body>\n<main>\n";
  for (const LayerReport& report : reports) html += report_html(report);
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace engine::bench
