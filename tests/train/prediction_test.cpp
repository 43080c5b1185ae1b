// The parts of a prediction: the most probable classes, heat maps, and the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/nn/layers.h"
#include "engine/ops/pool.h"
#include "engine/train/grad_cam.h"
#include "engine/train/metrics.h"
#include "engine/train/prediction_page.h"
#include "tests/engine/error_text.h"

namespace engine::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TopClasses, AreSoftmaxInDescendingOrder) {
  const float ln2 = std::log(2.0f);
  const auto top = top_classes(Tensor::from(std::vector<float>{0, ln2, 0, -1000, 5, 5, 5, 5}, {2, 4}), 3);
  ASSERT_EQ(top.size(), 2u);
  ASSERT_EQ(top[0].size(), 3u);
  EXPECT_EQ(top[0][0].label, 1);
  EXPECT_NEAR(top[0][0].probability, 0.5, 1e-7);
  EXPECT_EQ(top[0][1].label, 0);  // the first of equal ones
  EXPECT_EQ(top[0][2].label, 2);
  EXPECT_NEAR(top[0][2].probability, 0.25, 1e-7);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(top[1][static_cast<size_t>(i)].label, i);
  EXPECT_EQ(top_classes(Tensor::from(std::vector<float>{1, 2}, {1, 2}), 5)[0].size(), 2u);
}

TEST(TopClasses, RefusesWhatIsNotFinite) {
  const Tensor logits = Tensor::from(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, {1, 2});
  EXPECT_THAT(error_text([&] { top_classes(logits, 1); }, ErrorKind::diverged), HasSubstr("is not finite (nan)"));
}

class GradCam : public ::testing::TestWithParam<DeviceType> {};
INSTANTIATE_TEST_SUITE_P(, GradCam, ::testing::Values(DeviceType::cpu, DeviceType::emulated),
                         [](const auto& one) { return to_string(Device{one.param}); });

// Behind a global average pool and a matrix the gradient is the matrix's row over the number of places, and Grad-CAM is
// CAM (Zhou et al. 2016): relu(sum_c w[k,c]/(h*w) A_c). Small integers over a power of two: exact.
TEST_P(GradCam, IsTheClassActivationMapBehindAnAveragePool) {
  const Device device{GetParam()};
  constexpr int64_t kH = 2, kW = 4, kC = 8, kClasses = 3;
  std::vector<float> a, w;
  for (int i = 0; i < 2 * kH * kW * kC; ++i) a.push_back(static_cast<float>(i * 7 % 5));
  for (int i = 0; i < kClasses * kC; ++i) w.push_back(static_cast<float>(i * 5 % 7 - 3));
  Linear fc(kC, kClasses);
  fc.weight.copy_from(Tensor::from(w, {kClasses, kC}));
  fc.bias.copy_from(Tensor::zeros({kClasses}));
  fc.to(device);
  const std::vector<int64_t> classes = {2, 0};
  const std::vector<HeatMap> maps = grad_cam(
      Tensor::from(a, {2, kH, kW, kC}, device), [&](const Tensor& x) { return fc(global_avg_pool(x)); }, classes);
  ASSERT_EQ(maps.size(), 2u);
  bool cold = false, hot = false;
  for (int64_t n = 0; n < 2; ++n) {
    const HeatMap& map = maps[static_cast<size_t>(n)];
    ASSERT_EQ(map.values.size(), static_cast<size_t>(kH * kW));
    for (int64_t place = 0; place < kH * kW; ++place) {
      float sum = 0;
      for (int64_t c = 0; c < kC; ++c) {
        sum += w[static_cast<size_t>(classes[static_cast<size_t>(n)] * kC + c)] *
               a[static_cast<size_t>((n * kH * kW + place) * kC + c)];
      }
      (sum > 0 ? hot : cold) = true;
      EXPECT_EQ(map.values[static_cast<size_t>(place)], std::max(0.0f, sum / (kH * kW))) << n << ' ' << place;
    }
  }
  EXPECT_TRUE(cold && hot) << "the case has to show the ReLU";
}

TEST(GradCamClasses, HaveToBeOfTheNetwork) {
  const std::vector<int64_t> classes = {8};
  EXPECT_EQ(error_text(
                [&] {
                  grad_cam(Tensor::zeros({1, 2, 2, 8}), global_avg_pool, classes);
                },
                ErrorKind::usage),
            "grad_cam: class 8, but the network has 0 to 7");
}

// A gray picture of 8x4 of which the net saw the 4x4 in the middle, and a map of 2x2 that is hot at the top left.
TEST(DrawHeat, LiesOverTheWindowThatTheNetworkSaw) {
  const Image gray{8, 4, std::vector<uint8_t>(8 * 4 * 3, 100)};
  const EvalWindow seen = eval_window({.resize = 4, .size = 4}, 8, 4);
  const Image drawn = draw_heat(gray, seen, {.height = 2, .width = 2, .values = {5, 0, 0, 0}});
  const auto red = [&](int x, int y) { return drawn.pixels[static_cast<size_t>((y * 8 + x) * 3)]; };
  for (int x : {0, 1, 6, 7}) EXPECT_EQ(red(x, 0), 35) << x;  // not seen
  EXPECT_EQ(red(2, 0), 216);                                 // 100 + 0.75 * (255 - 100)
  EXPECT_EQ(red(5, 3), 100);                                 // without heat the picture stays as it is
  EXPECT_LT(red(3, 0), red(2, 0));
  EXPECT_GT(red(3, 0), red(4, 0));
}

TEST(DrawHeat, LeavesThePictureAloneWithoutHeat) {
  const Image gray{4, 4, std::vector<uint8_t>(4 * 4 * 3, 100)};
  const Image drawn = draw_heat(gray, eval_window({.resize = 4, .size = 4}, 4, 4), {1, 1, {0}});
  EXPECT_EQ(drawn.pixels, gray.pixels);
}

TEST(PredictionPage, NeedsNothingButItself) {
  const std::vector<std::string> names = {"<cat>", "dog"};
  PredictionPage page;
  page.add({.source = "a&b.jpg",
            .image = {400, 200, std::vector<uint8_t>(400 * 200 * 3, 9)},
            .heat = Image{20, 10, std::vector<uint8_t>(20 * 10 * 3, 9)},
            .top = {{1, 0.875}, {0, 0.125}},
            .class_names = &names});
  page.add_unreadable("c.jpg: <broken>");
  const std::string html = page.html({"resnet20", "a/<b>"});
  EXPECT_THAT(html, AllOf(HasSubstr("a&amp;b.jpg"), HasSubstr("&lt;cat&gt;"), HasSubstr("87.5 %"),
                          HasSubstr("width:12.5%"), HasSubstr("c.jpg: &lt;broken&gt;"), HasSubstr("a/&lt;b&gt;")));
  EXPECT_THAT(html, AllOf(HasSubstr("data:image/jpeg;base64,"), HasSubstr("data:image/png;base64,")));
  EXPECT_THAT(html, AllOf(Not(HasSubstr("<cat>")), Not(HasSubstr("src=\"http")), Not(HasSubstr("<link"))));
}

}  // namespace
}  // namespace engine::testing
