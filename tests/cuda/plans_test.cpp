// The choice between our kernels and the vendor's libraries, with a library that a test makes up: it runs our kernels,
// and a clock that a test sets says how long they take.
#include "engine/cuda/plans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/error.h"
#include "engine/fallback.h"
#include "tests/cuda/fake_module.h"

namespace engine::kernels {
struct LibraryPlan {
  LibraryConvolution problem;
};
}  // namespace engine::kernels

namespace engine::cuda {
namespace {

using ::testing::HasSubstr;

// What the made-up library and clock do.
struct World {
  bool has_library = true, supports = true, product_supported = true;
  float library_ms = 1, own_ms = 2;
  int created = 0, destroyed = 0;
  bool ran_library = false;
} world;

const kernels::ConvolutionLibrary kCudnn = {
    .name = "cuDNN",
    .load =
        [](const char** version) {
          *version = world.has_library ? "9.99.0" : "";
          return world.has_library ? Status{} : Status{Problem::unsupported, 0, "it is not installed"};
        },
    .create =
        [](const LibraryConvolution& problem, LibraryPlan** out) {
          *out = nullptr;
          if (!world.supports) return Status{Problem::unsupported, 0, "no engine"};
          ++world.created;
          *out = new LibraryPlan{problem};
          return Status{};
        },
    .workspace = [](const LibraryPlan*) { return size_t{0}; },
    .run = [](const LibraryPlan*, const kernels::LibraryConvolutionData&, Stream) { return Status{}; },
    .destroy =
        [](LibraryPlan* plan) {
          ++world.destroyed;
          delete plan;
        },
};
const kernels::MatmulLibrary kCublas = {
    .name = "cuBLASLt",
    .load = kCudnn.load,
    .multiply = [](const kernels::LibraryMatmul&, Stream) { return Status{}; },
};

class CudaPlans : public ::testing::Test {
 protected:
  CudaPlans() {
    world = {};
    folder = std::filesystem::path(::testing::TempDir()) /
             ("plans-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder);
    setenv("XDG_CACHE_HOME", folder.c_str(), 1);
    libraries = {.cudnn = &kCudnn, .cublaslt = &kCublas};
    fake.module.libraries = &libraries;
    fake.runtime.elapsed_ms = [](float* out, kernels::Event, kernels::Event) {
      *out = world.ran_library ? world.library_ms : world.own_ms;
      return Status{};
    };
    context = std::make_unique<Context>(fake.module, Device{DeviceType::cuda, 0});
  }

  // The implementation that ran last, and how often anything ran.
  std::string run(Plans& plans, bool may_measure = true, int64_t channels = 64) {
    runs = 0;
    plans.run({.shape = {.n = 2, .h = 8, .w = 8, .c = channels, .k = 64}}, false, may_measure,
              [&](const LibraryPlan* library) {
                ++runs;
                world.ran_library = library != nullptr;
                if (library != nullptr) {
                  EXPECT_EQ(library->problem.shape.c, channels);
                }
              });
    return world.ran_library ? "cudnn" : "own";
  }
  std::string run_product(Plans& plans) {
    plans.run(kernels::LibraryMatmul{.rows = 4, .columns = 5, .inner = 6}, true, [&](bool library) {
      if (library && !world.product_supported) return false;
      world.ran_library = library;
      return true;
    });
    return world.ran_library ? "cublaslt" : "own";
  }

  testing::FakeModule fake;
  kernels::Libraries libraries;
  std::filesystem::path folder;
  std::unique_ptr<Context> context;
  int runs = 0;
};

TEST_F(CudaPlans, TheFasterOneIsMeasuredOnceAndKept) {
  {
    Plans plans(*context);
    EXPECT_EQ(run(plans), "cudnn");
    EXPECT_EQ(runs, 4 + 4 + 1) << "one and three timed runs each, then the work itself";
    EXPECT_EQ(run(plans), "cudnn");
    EXPECT_EQ(runs, 1);
  }
  EXPECT_EQ(world.destroyed, world.created);
  world.own_ms = 0.1f;  // another process finds the choice on disk, whatever the clock says now
  Plans later(*context);
  EXPECT_EQ(run(later), "cudnn");
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(run(later, true, 128), "own") << "another problem";
}

TEST_F(CudaPlans, AtEqualTimesOurKernelIsTaken) {
  world.library_ms = 1.99f;
  Plans plans(*context);
  EXPECT_EQ(run(plans), "own");
}

TEST_F(CudaPlans, WhatCannotBeMeasuredIsChosenLater) {
  Plans plans(*context);
  EXPECT_EQ(run(plans, false), "own");
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(run(plans), "cudnn");
  EXPECT_EQ(run(plans, false), "cudnn");
}

TEST_F(CudaPlans, WithoutTheLibraryOurKernelDoesItAll) {
  world.has_library = false;
  Plans plans(*context);
  EXPECT_EQ(run(plans), "own");
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(plans.library_description(), "no cuDNN (it is not installed)");
}

TEST_F(CudaPlans, DeterministicMeansOurs) {
  Plans plans(*context);
  plans.set_deterministic(true);
  EXPECT_EQ(run(plans), "own");
  EXPECT_EQ(run_product(plans), "own");
  EXPECT_EQ(world.created, 0);
}

TEST_F(CudaPlans, ProductsAreChosenLikewise) {
  Plans plans(*context);
  EXPECT_EQ(run_product(plans), "cublaslt");
  Plans others(*context);
  world.product_supported = false;
  EXPECT_EQ(run_product(others), "own") << "the choice on disk does not fit here";
}

TEST_F(CudaPlans, OneCanBeForced) {
  clear_fallbacks();
  Plans plans(*context);
  plans.force("own");
  EXPECT_EQ(run(plans), "own");
  plans.force("cudnn");
  world.library_ms = 100;
  EXPECT_EQ(run(plans), "cudnn");
  EXPECT_TRUE(fallbacks().empty());
  world.supports = false;
  EXPECT_EQ(run(plans, true, 32), "own");
  ASSERT_EQ(fallbacks().size(), 1u);
  EXPECT_THAT(fallbacks().begin()->first,
              HasSubstr("cudnn was forced, but the library offers nothing for forward f32"));
  clear_fallbacks();
}

TEST_F(CudaPlans, ForcingWhatThereIsNotIsAnError) {
  Plans plans(*context);
  const auto error_of = [&](const std::string& name) {
    try {
      plans.force(name);
    } catch (const Error& error) {
      return std::to_string(static_cast<int>(error.kind())) + " " + error.what();
    }
    return std::string();
  };
  EXPECT_EQ(error_of("mine"), "2 --force-impl mine: expected own or cudnn");
  world.has_library = false;
  EXPECT_EQ(
      error_of("cudnn"),
      "5 --force-impl cudnn: cuda:0 has no cuDNN (it is not installed); install cuDNN 9 where the system's loader "
      "finds it, or use --force-impl own");
}

TEST_F(CudaPlans, ChoicesTravelInACheckpoint) {
  Plans plans(*context);
  run(plans);
  std::filesystem::remove_all(folder);
  Plans resumed(*context);
  resumed.import_json(plans.export_json());
  world.library_ms = 100;
  EXPECT_EQ(run(resumed), "cudnn");
  EXPECT_EQ(runs, 1);
}

TEST_F(CudaPlans, ACorruptFileCostsAMeasurement) {
  {
    Plans plans(*context);
    run(plans);
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) std::filesystem::resize_file(entry.path(), 20);
  Plans later(*context);
  EXPECT_EQ(run(later), "cudnn");
  EXPECT_EQ(runs, 9);
}

}  // namespace
}  // namespace engine::cuda
