#include "engine/train/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <spng.h>

#include <cmath>
#include <limits>
#include <memory>

#include "engine/io/file.h"
#include "engine/train/report_parts.h"
#include "tests/io/io_testing.h"

namespace engine {
namespace {

using test::error_of;
using testing::HasSubstr;
using testing::Not;

std::size_t occurrences(const std::string& text, const std::string& of) {
  std::size_t count = 0;
  for (std::size_t at = text.find(of); at != std::string::npos; at = text.find(of, at + of.size())) ++count;
  return count;
}

ReportImage picture(std::int64_t width, std::int64_t height) {
  ReportImage image{width, height, {}};
  for (std::int64_t i = 0; i < width * height * 3; ++i) image.rgb.push_back(static_cast<std::uint8_t>(i * 7));
  return image;
}

// A run with one of everything.
ReportData sample() {
  ReportData data;
  data.run = "cats-and-dogs";
  data.model = "resnet20";
  data.outcome = "finished";
  data.best_val_acc1 = 82.34;
  data.val_samples = 5000;
  data.epochs = 2;
  data.steps = 1234567;
  data.seconds = 432.7;
  data.steps_per_epoch = 100;
  for (int step = 1; step <= 200; ++step) data.train_loss.push_back({static_cast<double>(step), 2.0 / step});
  data.val_loss = {{100, 0.5}, {200, 0.25}};
  data.val_acc1 = {{100, 70.0}, {200, 82.34}};
  data.class_names = {"cat", "dog"};
  data.confusion = {90, 10, 1, 99};
  data.mistakes = {{picture(32, 32), 0, 1, 0.987, "val/cat/7.png"}};
  data.configuration = {{"lr", "0.1"}};
  return data;
}

TEST(Report, TellsTheRun) {
  const std::string html = report_html(sample());
  EXPECT_THAT(html, HasSubstr("<title>cats-and-dogs</title>"));
  EXPECT_THAT(html, HasSubstr("82.34<small> % ± 1.06</small>"));  // 95 % Wilson interval of 4117 of 5000
  EXPECT_THAT(html, HasSubstr("1,234,567 steps"));
  EXPECT_THAT(html, HasSubstr("7 min 13 s"));
  EXPECT_THAT(html, HasSubstr(">best 82.34</text>"));
  EXPECT_THAT(html, HasSubstr("title=\"cat taken for dog: 10 of 100 (10.0 %)\">10</td>"));
  EXPECT_THAT(html, HasSubstr("true class"));
  EXPECT_THAT(html, HasSubstr("98.7 %"));
  EXPECT_THAT(html, HasSubstr("<dt>lr</dt><dd>0.1</dd>"));
}

TEST(Report, ShowsTheCourseOfTheRun) {
  ReportData data = sample();
  data.comparable = "no (held-out pictures)";
  data.peak_memory = 123 << 20;
  data.grad_norm = {{100, 1.5}, {200, 0.5}};
  data.ema_val_acc1 = {{100, 60.0}, {200, 83.5}};
  data.reference = "airbench-like";
  data.reference_acc1 = {{100, 52.0}, {200, 56.3}};
  data.times = {.data = 0.25, .device = 0.75};
  data.by_epoch = {{.epoch = 1, .train_loss = 1.25, .val_acc1 = 70, .lr = 0.1}};
  data.filters = {picture(3, 3), picture(3, 3)};
  const std::string html = report_html(data);
  EXPECT_THAT(html, HasSubstr("paper-comparable: no (held-out pictures)"));
  EXPECT_THAT(html, HasSubstr("<dd>123<small> MiB</small></dd>"));
  EXPECT_THAT(html, HasSubstr("<b>Gradient norm</b>"));
  EXPECT_THAT(html, HasSubstr("<span class=\"key ema\">averaged weights <b>83.50</b>"));
  EXPECT_THAT(html, HasSubstr("<span class=\"key reference dashed\">airbench-like <b>56.30</b>"));
  EXPECT_THAT(html, HasSubstr("data (waiting for pictures) <b>25.0 %</b>"));
  EXPECT_THAT(html, Not(HasSubstr("between ranks")));
  EXPECT_THAT(html, HasSubstr("<td class=number>1.2500</td>"));
  EXPECT_THAT(html, Not(HasSubstr("<th class=number>averaged weights</th>")));
  EXPECT_EQ(occurrences(html, "alt=\"filter "), 2u);
  EXPECT_THAT(html, HasSubstr(">best 82.34</text>"));
}

TEST(Report, NeedsNothingFromElsewhere) {
  const std::string html = report_html(sample());
  EXPECT_EQ(occurrences(html, "http"), 1u);  // the XML name of SVG, which is never fetched
  EXPECT_THAT(html, HasSubstr("http://www.w3.org/2000/svg"));
  for (const char* remote : {"<link", "@import", "url(", "src=\"/", "<iframe", "fetch("})
    EXPECT_THAT(html, Not(HasSubstr(remote)));
  EXPECT_THAT(html, HasSubstr("src=\"data:image/png;base64,iVBOR"));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
}

TEST(Report, EveryStringIsEscaped) {
  const std::string evil = "</title></script><script>alert(\"1\")</script>&'\x01\xff";
  ReportData data = sample();
  data.run = data.model = data.data = data.outcome = data.command_line = evil;
  data.class_names = {evil, evil};
  data.mistakes[0].source = evil;
  data.configuration = data.versions = {{evil, evil}};
  const std::string html = report_html(data);
  EXPECT_EQ(occurrences(html, "<script>"), 1u);
  EXPECT_THAT(html, Not(HasSubstr("alert(\"1\")")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39; \xef\xbf\xbd"));
}

TEST(Report, WhatIsNotKnownIsNotShown) {
  ReportData data;
  data.run = "empty";
  const std::string html = report_html(data);
  for (const char* section :
       {"Curves", "Confusion", "Worst mistakes", "Configuration", "Versions", "Command", "nan", "inf"})
    EXPECT_THAT(html.substr(html.find("<body>"), html.find("<script>") - html.find("<body>")), Not(HasSubstr(section)));
}

TEST(Report, ManyClassesBecomeAListOfPairs) {
  ReportData data = sample();
  data.class_names.clear();
  for (int k = 0; k < 100; ++k) data.class_names.push_back("class" + std::to_string(k));
  data.confusion.assign(100 * 100, 0);
  for (std::size_t k = 0; k < 100; ++k) data.confusion[k * 100 + k] = 50;
  data.confusion[7 * 100 + 8] = 25;
  const std::string html = report_html(data);
  EXPECT_THAT(html, Not(HasSubstr("<table class=matrix>")));
  EXPECT_THAT(html, HasSubstr("<td>class7</td><td>class8</td><td class=number>25</td><td class=number>33.3 %</td>"));
  EXPECT_THAT(html, HasSubstr("The 24 least recognised of 100 classes"));
}

TEST(Report, PartsThatDoNotFitAreRefused) {
  ReportData data = sample();
  data.confusion.pop_back();
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { report_html(data); }),
              HasSubstr("confusion matrix has 3 entries, expected 2x2"));
  data = sample();
  data.mistakes[0].predicted = 2;
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { report_html(data); }), HasSubstr("names class 2, but there are 2"));
  data = sample();
  data.mistakes[0].image.rgb.pop_back();
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { report_html(data); }), HasSubstr("picture of 32x32 has 3071 bytes"));
}

TEST(Report, IsWrittenWhole) {
  test::TemporaryDirectory directory;
  write_report(directory.path() / "report.html", sample());
  EXPECT_EQ(read_text_file(directory.path() / "report.html"), report_html(sample()));
}

TEST(ReportChart, LeavesOutWhatIsNotFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const ReportCurve broken{{1, 2.0}, {2, nan}, {3, infinity}, {4, 1.0}}, hopeless{{1, nan}};
  const report::ChartSeries series[] = {{"loss", "train", &broken}};
  const std::string svg = report::line_chart(series, {.title = "Loss", .unit = ""});
  EXPECT_EQ(occurrences(svg, "<circle"), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  const report::ChartSeries nothing[] = {{"loss", "train", &hopeless}};
  EXPECT_EQ(report::line_chart(nothing, {.title = "Loss", .unit = ""}), "");
}

TEST(ReportChart, OnePointAndConstantCurvesHaveAxes) {
  const ReportCurve one{{0, 0.0}}, constant{{1, 5.0}, {2, 5.0}};
  for (const ReportCurve* curve : {&one, &constant}) {
    const report::ChartSeries series[] = {{"lr", "other", curve}};
    const std::string svg = report::line_chart(series, {.title = "x", .unit = ""});
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_GE(occurrences(svg, "class=grid"), 3u);
  }
}

TEST(ReportChart, LongCurvesAreAveragedInABand) {
  ReportCurve noisy;
  for (int step = 0; step < 96000; ++step) noisy.push_back({static_cast<double>(step), step % 2 ? 1.0 : 3.0});
  const report::ChartSeries series[] = {{"loss", "train", &noisy}};
  const std::string svg = report::line_chart(series, {.title = "Loss", .unit = "", .from_zero = true});
  EXPECT_LT(svg.size(), 40000u);
  EXPECT_THAT(svg, HasSubstr("<polygon class=\"band train\""));
  EXPECT_THAT(svg, HasSubstr("loss <b>2</b> <small>mean and range</small>"));
}

TEST(ReportText, NumbersAndBase64) {
  EXPECT_EQ(report::grouped(0), "0");
  EXPECT_EQ(report::grouped(-1234), "-1,234");
  EXPECT_EQ(report::grouped(25557032), "25,557,032");
  EXPECT_EQ(report::compact(0.1), "0.1");
  const auto encoded = [](const std::string& text) {
    return report::base64(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  };
  EXPECT_EQ(encoded(""), "");  // RFC 4648, section 10
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

std::vector<std::uint8_t> from_base64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint8_t> bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<std::uint32_t>(digits.find(c));
    count += 6;
    if (count >= 8) bytes.push_back(static_cast<std::uint8_t>(bits >> (count -= 8)));
  }
  return bytes;
}

ReportImage decoded(const std::string& uri) {
  const std::vector<std::uint8_t> png = from_base64(uri.substr(uri.find(',') + 1));
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  spng_ihdr header{};
  std::size_t size = 0;
  EXPECT_EQ(spng_set_png_buffer(context.get(), png.data(), png.size()), 0);
  EXPECT_EQ(spng_get_ihdr(context.get(), &header), 0);
  EXPECT_EQ(spng_decoded_image_size(context.get(), SPNG_FMT_RGB8, &size), 0);
  ReportImage image{header.width, header.height, std::vector<std::uint8_t>(size)};
  EXPECT_EQ(spng_decode_image(context.get(), image.rgb.data(), size, SPNG_FMT_RGB8, 0), 0);
  return image;
}

TEST(ReportPicture, SmallOnesKeepEveryPixel) {
  const ReportImage image = picture(33, 17);
  const ReportImage again = decoded(report::png_data_uri(image, 192));
  EXPECT_EQ(again.width, 33);
  EXPECT_EQ(again.height, 17);
  EXPECT_EQ(again.rgb, image.rgb);
}

TEST(ReportPicture, LargeOnesAreReducedByAveraging) {
  ReportImage image{400, 200, {}};
  for (int i = 0; i < 400 * 200; ++i)
    for (int channel = 0; channel < 3; ++channel) image.rgb.push_back(static_cast<std::uint8_t>(i % 2 ? 200 : 100));
  const ReportImage small = decoded(report::png_data_uri(image, 100));
  EXPECT_EQ(small.width, 100);
  EXPECT_EQ(small.height, 50);
  EXPECT_THAT(small.rgb, testing::Each(150));
  EXPECT_EQ(decoded(report::png_data_uri(picture(1000, 1), 100)).height, 1);
}

}  // namespace
}  // namespace engine
