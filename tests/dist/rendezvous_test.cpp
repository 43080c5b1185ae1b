// How ranks meet, and what else may come to the port.
#include "engine/dist/rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/error.h"
#include "engine/random.h"
#include "tests/dist/ranks.h"

namespace engine::testing {
namespace {

using dist::Channel;
using dist::Hello;
using dist::Io;
using dist::Meeting;
using dist::Peer;
using dist::Socket;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string message_of(const std::function<void()>& work, ErrorKind kind) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

Meeting meeting(int rank, int size, double seconds = 30) {
  return {
      .rank = rank, .size = size, .run_id = "run", .build = "1.0", .timeout = std::chrono::duration<double>(seconds)};
}

TEST(Hello, SurvivesTheWire) {
  const Hello hello{
      .rank = 3, .size = 8, .channel = Channel::watch, .pid = 99, .run_id = "a", .host = "b", .build = "c"};
  const std::optional<Hello> decoded = dist::decode_hello(dist::encode(hello));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->rank, 3u);
  EXPECT_EQ(decoded->size, 8u);
  EXPECT_EQ(decoded->channel, Channel::watch);
  EXPECT_EQ(decoded->pid, 99);
  EXPECT_EQ(decoded->run_id + decoded->host + decoded->build, "abc");
}

TEST(Hello, IsNothingElse) {
  std::vector<std::byte> bytes = dist::encode({});
  EXPECT_FALSE(dist::decode_hello(std::span(bytes).first(bytes.size() - 1)).has_value());
  for (const size_t at : {size_t{0}, size_t{7}, size_t{8}, size_t{20}}) {  // magic, version, channel
    std::vector<std::byte> changed = bytes;
    changed[at] ^= std::byte{0x40};
    EXPECT_FALSE(dist::decode_hello(changed).has_value()) << at;
  }
}

// Whatever the bytes are: a hello or none, no text beyond its field.
TEST(Hello, AnyBytesAreReadSafely) {
  RandomStream random(1, 0, 0, purpose::kAugmentation);
  std::vector<std::byte> bytes = dist::encode({});
  for (int round = 0; round < 20000; ++round) {
    for (int i = 0; i < 8; ++i) bytes[24 + random.below(dist::kHelloBytes - 24)] = std::byte(random.below(256));
    const std::optional<Hello> hello = dist::decode_hello(bytes);
    ASSERT_TRUE(!hello || hello->run_id.size() + hello->host.size() + hello->build.size() <= 3 * 128);
  }
}

TEST(Rendezvous, DropsWhatIsNoRank) {
  std::string error;
  const Socket listener = dist::listen_on(0, &error);
  const int port = dist::port_of(listener);
  std::vector<Peer> peers;
  std::jthread first([&] { peers = dist::gather_ranks(listener, meeting(0, 2)); });
  const auto wait = dist::until(dist::Clock::now() + std::chrono::seconds(10));
  const Socket silent = dist::connect_to("localhost", port, wait, &error);
  const Socket stranger = dist::connect_to("localhost", port, wait, &error);
  const std::string junk(1000, 'G');
  EXPECT_EQ(stranger.send(junk.data(), junk.size(), wait), Io::done);
  char byte = 0;
  EXPECT_EQ(stranger.receive(&byte, 1, wait), Io::closed);
  const Peer peer = dist::join_ranks({"localhost"}, port, 1, meeting(1, 2));
  first.join();
  EXPECT_TRUE(peer.data.is_open() && peer.watch.is_open());
  EXPECT_TRUE(peers[1].data.is_open() && peers[1].watch.is_open());
}

TEST(Rendezvous, GoesOnToThePortWhereRankZeroIs) {
  std::string error;
  Socket other, listener;
  int port = 0;
  for (port = 42000; !listener.is_open(); port += 2) {
    other = dist::listen_on(port, &error);
    if (other.is_open()) listener = dist::listen_on(port + 1, &error);
  }
  port -= 2;
  other.close();
  std::jthread first([&] { (void)dist::gather_ranks(listener, meeting(0, 2)); });
  EXPECT_TRUE(dist::join_ranks({"localhost"}, port, 8, meeting(1, 2)).data.is_open());
}

TEST(Rendezvous, RefusesAnotherBuildOnBothSides) {
  std::string error;
  const Socket listener = dist::listen_on(0, &error);
  const char* reason = "rank 1 on ";
  std::jthread first([&] {
    EXPECT_THAT(message_of([&] { (void)dist::gather_ranks(listener, meeting(0, 2)); }, ErrorKind::usage),
                AllOf(HasSubstr(reason), HasSubstr("is engine 2.0, rank 0 is engine 1.0")));
  });
  Meeting other = meeting(1, 2);
  other.build = "2.0";
  EXPECT_THAT(
      message_of([&] { (void)dist::join_ranks({"localhost"}, dist::port_of(listener), 1, other); }, ErrorKind::usage),
      AllOf(HasSubstr("rank 0 refuses rank 1"), HasSubstr("is engine 2.0, rank 0 is engine 1.0")));
}

TEST(Rendezvous, RefusesAnotherNumberOfRanks) {
  std::string error;
  const Socket listener = dist::listen_on(0, &error);
  std::jthread first([&] {
    EXPECT_THAT(message_of([&] { (void)dist::gather_ranks(listener, meeting(0, 2)); }, ErrorKind::usage),
                HasSubstr("was started as one of 3 ranks, rank 0 as one of 2"));
  });
  EXPECT_THAT(message_of([&] { (void)dist::join_ranks({"localhost"}, dist::port_of(listener), 1, meeting(1, 3)); },
                         ErrorKind::usage),
              HasSubstr("was started as one of 3 ranks"));
}

TEST(Rendezvous, ARankOfAnotherRunIsSentAway) {
  std::string error;
  const Socket listener = dist::listen_on(0, &error);
  const int port = dist::port_of(listener);
  std::jthread first([&] { (void)dist::gather_ranks(listener, meeting(0, 2)); });
  Meeting other = meeting(1, 2);
  other.run_id = "another";
  EXPECT_THAT(message_of([&] { (void)dist::join_ranks({"localhost"}, port, 1, other); }, ErrorKind::usage),
              HasSubstr("the ranks of another run meet here"));
  EXPECT_TRUE(dist::join_ranks({"localhost"}, port, 1, meeting(1, 2)).data.is_open());
}

TEST(Rendezvous, NamesTheRanksThatDoNotCome) {
  std::string error;
  const Socket listener = dist::listen_on(0, &error);
  EXPECT_THAT(message_of([&] { (void)dist::gather_ranks(listener, meeting(0, 3, 0.2)); }, ErrorKind::peer),
              HasSubstr("ranks 1, 2 of 3 did not connect to port "));
}

TEST(Rendezvous, NamesThePlaceWhereNobodyIs) {
  EXPECT_THAT(
      message_of([] { (void)dist::join_ranks({"localhost"}, free_port(), 1, meeting(1, 2, 0.2)); }, ErrorKind::peer),
      AllOf(HasSubstr("rank 1 of 2 did not find rank 0 at localhost"), HasSubstr("MASTER_ADDR and MASTER_PORT")));
}

TEST(Rendezvous, APortThatIsTakenIsNamed) {
  std::string error;
  const Socket other = dist::listen_on(0, &error);
  const int port = dist::port_of(other);
  EXPECT_THAT(message_of([&] { (void)Communicator::connect(local_launch(0, 2, port), {.timeout_seconds = 1}); },
                         ErrorKind::usage),
              AllOf(HasSubstr("cannot listen on port " + std::to_string(port)), HasSubstr("set MASTER_PORT")));
}

}  // namespace
}  // namespace engine::testing
