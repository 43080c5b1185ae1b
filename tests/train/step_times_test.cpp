#include "engine/train/step_times.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace engine {
namespace {

using testing::HasSubstr;

const StepTimes kData = {.data = 4, .copy = 1, .device = 5}, kCopy = {.copy = 2, .device = 8},
                kComm = {.data = 1, .device = 5, .comm = 4}, kDevice = {.data = 0.5, .device = 2, .host = 7.5},
                kHost = {.device = 0.1, .host = 9.9};

TEST(StepTimes, NamesWhatHoldsTheStepsUp) {
  EXPECT_STREQ(bound_by(kData), "data");
  EXPECT_STREQ(bound_by(kCopy), "copy");
  EXPECT_STREQ(bound_by(kComm), "comm");
  EXPECT_STREQ(bound_by(kDevice), "device");  // the host is ahead: it has time to wait
  EXPECT_STREQ(bound_by(kHost), "host");
  EXPECT_STREQ(bound_by({}), "device");
}

TEST(StepTimes, HintsAtTheRemedy) {
  EXPECT_EQ(bound_hint(kData, {.device = "cpu", .workers = 2, .cores = 8, .img_per_s = 500}),
            "40% of the time goes to waiting for pictures, 500 img/s of 2 workers: try --workers 4");
  EXPECT_THAT(bound_hint(kData, {.device = "cpu", .workers = 2, .cores = 2, .img_per_s = 500}),
              HasSubstr("that takes about 4 of them and there are 2 cores; store smaller pictures with resnet-pack"));
  EXPECT_THAT(bound_hint(kCopy, {.device = "cuda:0"}), HasSubstr("20% of the time goes to copying pictures to cuda:0"));
  EXPECT_THAT(bound_hint(kComm, {}), HasSubstr("40% of the time goes to adding gradients over the ranks"));
  EXPECT_THAT(bound_hint(kHost, {.device = "cuda:0", .batch = 8}), HasSubstr("a batch of 8 is small for it"));
  EXPECT_THAT(bound_hint(kDevice, {.device = "cpu", .precision = "fp32", .native_bf16 = true}),
              HasSubstr("try --precision bf16"));
  EXPECT_EQ(bound_hint(kDevice, {.device = "cpu", .precision = "bf16", .threads = 1, .cores = 4}),
            "1 of 4 cores compute: try --threads 4");
  EXPECT_EQ(bound_hint(kDevice, {.device = "cuda:0", .precision = "bf16"}), "");
}

TEST(StepTimes, OfASpanAreDifferences) {
  StepTimes sum = kData;
  sum.add(kCopy);
  EXPECT_EQ(sum.total(), 20);
  EXPECT_EQ(sum.since(kData).device, kCopy.device);
}

}  // namespace
}  // namespace engine
