// What ranks say to each other, and what they hear of one that is gone.
#include "engine/dist/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "engine/random.h"
#include "tests/dist/ranks.h"

namespace engine::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void expect_no_error(const std::vector<Outcome>& outcomes) {
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.message, "");
}

std::vector<float> values_of(int rank, size_t count) {
  RandomStream random(7, 0, static_cast<uint64_t>(rank), purpose::kAugmentation);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.below(1u << 24)) * 1e-3f;
  return values;
}

TEST(Communicator, SumsInTheOrderOfTheRanks) {
  for (const int size : {2, 3, 4}) {
    constexpr size_t kCount = 200001;  // more than a piece, and not a multiple
    std::vector<float> expected = values_of(0, kCount);
    for (int rank = 1; rank < size; ++rank) {
      const std::vector<float> added = values_of(rank, kCount);
      for (size_t i = 0; i < kCount; ++i) expected[i] += added[i];
    }
    expect_no_error(run_ranks(size, {}, [&](Communicator& ranks) {
      std::vector<float> values = values_of(ranks.rank(), kCount);
      ranks.sum(values);
      EXPECT_TRUE(values == expected) << "rank " << ranks.rank() << " of " << size;
      ranks.sum(std::span<float>());
    }));
  }
}

TEST(Communicator, GathersInTheOrderOfTheRanks) {
  expect_no_error(run_ranks(3, {}, [](Communicator& ranks) {
    const std::vector<float> mine = {static_cast<float>(ranks.rank()), 0.5f};
    std::vector<float> all(6);
    ranks.all_gather(mine, all);
    EXPECT_THAT(all, ElementsAre(0, 0.5f, 1, 0.5f, 2, 0.5f));
    EXPECT_THAT(ranks.all_gather(std::string(static_cast<size_t>(ranks.rank()), 'x')), ElementsAre("", "x", "xx"));
    const std::vector<std::string> on_first = ranks.gather(std::to_string(ranks.rank()));
    EXPECT_EQ(on_first, ranks.is_first() ? std::vector<std::string>({"0", "1", "2"}) : std::vector<std::string>());
    EXPECT_EQ(ranks.broadcast(ranks.is_first() ? "from the first" : "ignored"), "from the first");
    ranks.barrier();
  }));
}

TEST(Communicator, EqualFactsPass) {
  expect_no_error(run_ranks(2, {}, [](Communicator& ranks) { expect_same(ranks, {{"lr", "0.1"}, {"seed", "1\n2"}}); }));
}

TEST(Communicator, NamesWhatDiffersOnEveryRank) {
  const auto outcomes = run_ranks(3, {}, [](Communicator& ranks) {
    expect_same(ranks, {{"model", "resnet20"}, {"lr", ranks.rank() == 2 ? "0.2" : "0.1"}});
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.kind, ErrorKind::usage);
    EXPECT_THAT(outcome.message, HasSubstr("rank 2 differs from rank 0: lr is 0.2, rank 0 has 0.1; start all"));
  }
}

// The error of one rank, where the others wait for it.
TEST(Communicator, AnErrorReachesTheOthers) {
  const auto outcomes = run_ranks(3, {}, [](Communicator& ranks) {
    if (ranks.rank() == 1) {
      ranks.abandon("data: cat.jpg cannot be read");
      fail(ErrorKind::data, "data: cat.jpg cannot be read");
    }
    ranks.barrier();
  });
  EXPECT_EQ(outcomes[1].kind, ErrorKind::data);
  for (const size_t rank : {0, 2}) {
    EXPECT_EQ(outcomes[rank].kind, ErrorKind::peer);
    EXPECT_THAT(outcomes[rank].message,
                AllOf(HasSubstr("rank 1"), HasSubstr("has stopped: data: cat.jpg cannot be read")));
  }
}

TEST(Communicator, RankZeroThatEndsTooEarlyIsNamed) {
  const auto outcomes = run_ranks(2, {}, [](Communicator& ranks) {
    if (ranks.is_first()) fail(ErrorKind::internal, "the end");
    ranks.barrier();
  });
  EXPECT_EQ(outcomes[1].kind, ErrorKind::peer);
  EXPECT_THAT(outcomes[1].message, HasSubstr("rank 0 has stopped: it ended before the others"));
}

// Its thread still gives signs of life: only that it does not come tells.
TEST(Communicator, ARankThatDoesNotComeIsNamedOnAll) {
  std::atomic<int> waiting = 0;
  const auto outcomes = run_ranks(3, {.timeout_seconds = 0.5}, [&](Communicator& ranks) {
    if (ranks.rank() == 2) {
      while (waiting < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      fail(ErrorKind::internal, "woke up at last");
    }
    try {
      ranks.barrier();
    } catch (const Error&) {
      ++waiting;
      throw;
    }
  });
  for (const size_t rank : {0, 1}) {
    EXPECT_EQ(outcomes[rank].kind, ErrorKind::peer);
    EXPECT_THAT(outcomes[rank].message,
                AllOf(HasSubstr("rank 2"), HasSubstr("has not come to a common operation within 0.5 s")));
  }
}

TEST(Communicator, AStopReachesAllRanks) {
  std::atomic<bool> asked = false;
  std::atomic<int> told = 0;
  const int port = free_port();
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      std::atomic<int> signal = 0;
      const auto ranks = Communicator::connect(
          local_launch(rank, 3, port), {.stop_signal = [&, rank] { return rank == 1 && asked ? 15 : signal.load(); },
                                        .stop = [&](int number) { signal = number; }});
      ranks->barrier();
      if (rank == 1) asked = true;
      while (rank != 1 && signal == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (rank != 1) told += signal;
      ranks->finish();
    });
  }
  threads.clear();
  EXPECT_EQ(told, 30);
}

}  // namespace
}  // namespace engine::testing
