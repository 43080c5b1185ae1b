// What launchers leave in the environment.
#include "engine/dist/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "engine/error.h"

namespace engine::testing {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Launch launch(const Variables& variables) {
  return read_launch([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(const Variables& variables) {
  try {
    launch(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "no error";
}

const Variables kTorchrun = {{"RANK", "5"},         {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},   {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "n0"}, {"MASTER_PORT", "29500"}};

TEST(Launch, NobodyMeansOneProcess) {
  EXPECT_EQ(launch({}).kind, LaunchKind::single);
  EXPECT_FALSE(launch({}).distributed());
}

TEST(Launch, ReadsTheVariablesOfTorchrun) {
  const Launch found = launch(kTorchrun);
  EXPECT_EQ(found.kind, LaunchKind::environment);
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 4);
  EXPECT_EQ(found.address, "n0");
  EXPECT_EQ(found.port, 29500);
  EXPECT_EQ(found.num_ports, 1);
}

TEST(Launch, LeavesThePortToTorchrunsAgent) {
  Variables variables = kTorchrun;
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  EXPECT_EQ(launch(variables).port, 29501);
  EXPECT_EQ(launch(variables).num_ports, 8);
  variables["ENGINE_PORT"] = "30000";
  EXPECT_EQ(launch(variables).port, 30000);
  EXPECT_EQ(launch(variables).num_ports, 1);
}

TEST(Launch, TorchrunsVariablesComeBeforeThoseOfMpiAndSlurm) {
  Variables variables = kTorchrun;
  variables["OMPI_COMM_WORLD_RANK"] = variables["SLURM_PROCID"] = "0";
  EXPECT_EQ(launch(variables).rank, 5);
}

TEST(Launch, ReadsTheVariablesOfMpirun) {
  const Launch found = launch({{"OMPI_COMM_WORLD_RANK", "2"},
                               {"OMPI_COMM_WORLD_SIZE", "4"},
                               {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                               {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                               {"SLURM_PROCID", "7"}});
  EXPECT_EQ(found.kind, LaunchKind::mpi);
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(found.local_size, 2);
}

TEST(Launch, ReadsTheVariablesOfSrun) {
  const Launch found = launch({{"SLURM_PROCID", "3"},
                               {"SLURM_STEP_ID", "0"},
                               {"SLURM_STEP_NUM_TASKS", "4"},
                               {"SLURM_LOCALID", "1"},
                               {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"},
                               {"SLURM_STEP_NODELIST", "gpu-[007-008]"},
                               {"SLURM_JOB_ID", "42"}});
  EXPECT_EQ(found.kind, LaunchKind::slurm);
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 2);
  EXPECT_EQ(found.address, "gpu-007");
  EXPECT_GT(found.port, 1024);
}

// A shell of salloc, and a batch script, would wait for ranks that nobody starts.
TEST(Launch, AnAllocationAloneIsNoLaunch) {
  EXPECT_EQ(launch({{"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "42"}}).kind, LaunchKind::single);
  EXPECT_EQ(launch({{"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "4294967290"}, {"SLURM_STEP_NUM_TASKS", "1"}}).kind,
            LaunchKind::single);
}

TEST(Launch, FindsTheFirstHostOfAList) {
  EXPECT_EQ(first_host("n1"), "n1");
  EXPECT_EQ(first_host("n1,n2"), "n1");
  EXPECT_EQ(first_host("gpu-[007-009,012],cpu1"), "gpu-007");
  EXPECT_EQ(first_host("r[3,5]"), "r3");
  EXPECT_EQ(first_host("r[3"), "");
}

TEST(Launch, RefusesWhatContradictsItself) {
  Variables variables = kTorchrun;
  variables["RANK"] = "8";
  EXPECT_THAT(refusal(variables), HasSubstr("RANK=8 of WORLD_SIZE=8, expected ranks from 0 to 7"));
  variables["RANK"] = "two";
  EXPECT_THAT(refusal(variables), HasSubstr("RANK is 'two', expected a number from 0"));
  EXPECT_THAT(refusal({{"RANK", "0"}}), HasSubstr("RANK is set, but WORLD_SIZE is not"));
  EXPECT_THAT(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}}), HasSubstr("MASTER_ADDR is not"));
  EXPECT_THAT(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "n0"}}), HasSubstr("MASTER_PORT is not"));
}

}  // namespace
}  // namespace engine::testing
