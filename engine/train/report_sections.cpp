#include <fmt/format.h>

#include <array>
#include <cmath>

#include "engine/train/report_parts.h"

namespace engine::report {
namespace {

std::string cell(double value, int decimals, const char* unit = "") {
  if (!std::isfinite(value)) return "<td class=number></td>";
  return fmt::format("<td class=number>{:.{}f}{}</td>", value, decimals, unit);
}

}  // namespace

std::string time_shares(const ReportTimes& times) {
  struct Part {
    const char* name;
    const char* meaning;
    double share;
  };
  const std::array parts{Part{"device", "computing", times.device}, Part{"data", "waiting for pictures", times.data},
                         Part{"copy", "copying them to the device", times.copy},
                         Part{"comm", "between ranks", times.comm},
                         Part{"host", "giving work to the device", times.host}};
  double total = 0;
  for (const Part& part : parts) total += part.share;
  if (!(total > 0)) return "";
  std::string bar, legend;
  for (const Part& part : parts) {
    const double percent = 100 * part.share / total;
    if (percent < 0.05) continue;
    bar += fmt::format("<span class=\"share {}\" style=\"width:{:.2f}%\" title=\"{}: {:.1f} %\"></span>", part.name,
                       percent, part.meaning, percent);
    legend += fmt::format("<span class=\"key {}\">{} ({}) <b>{:.1f} %</b></span>", part.name, part.name, part.meaning,
                          percent);
  }
  return "<section><h2>Where the time of a step goes</h2>\n<div class=shares>" + bar + "</div>\n<p class=sharelegend>" +
         legend + "</p></section>\n";
}

std::string epoch_table(const std::vector<ReportEpoch>& epochs) {
  if (epochs.empty()) return "";
  bool averaged = false;
  for (const ReportEpoch& epoch : epochs) averaged = averaged || std::isfinite(epoch.ema_acc1);
  std::string html =
      "<section><details><summary><h2>Epoch by epoch</h2></summary>\n<div class=scroll><table class=pairs><thead><tr>"
      "<th class=number>epoch</th><th class=number>training loss</th><th class=number>accuracy</th><th "
      "class=number>validation loss</th><th class=number>accuracy</th>";
  html += averaged ? "<th class=number>averaged weights</th>" : "";
  html +=
      "<th class=number>learning rate</th><th class=number>img/s</th><th "
      "class=number>validation</th></tr></thead><tbody>\n";
  for (const ReportEpoch& epoch : epochs) {
    html += "<tr>" + cell(epoch.epoch, 0) + cell(epoch.train_loss, 4) + cell(epoch.train_acc1, 2, " %") +
            cell(epoch.val_loss, 4) + cell(epoch.val_acc1, 2, " %");
    if (averaged) html += cell(epoch.ema_acc1, 2, " %");
    html += "<td class=number>" + compact(epoch.lr) + "</td>" + cell(epoch.img_per_s, 0) +
            cell(epoch.seconds, 1, " s") + "</tr>\n";
  }
  return html + "</tbody></table></div></details></section>\n";
}

std::string filter_pictures(const std::vector<ReportImage>& filters) {
  if (filters.empty()) return "";
  std::string html =
      "<section><h2>Filters of the first layer</h2>\n<p class=note>Red, green and blue weights, grey being 0, each "
      "filter "
      "on a scale of its own.</p>\n<div class=filters>\n";
  for (std::size_t i = 0; i < filters.size(); ++i)
    html += fmt::format("<img class=pixels src=\"{}\" alt=\"filter {}\" title=\"filter {}\">\n",
                        png_data_uri(filters[i], 64), i, i);
  return html + "</div></section>\n";
}

}  // namespace engine::report
