#pragma once
// Who started this process, and as which of how many ranks: what mpirun, srun and torchrun leave in the environment.
#include <functional>
#include <string>

namespace engine {

enum class LaunchKind {
  single,       // nobody: one process
  environment,  // RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, as torchrun sets them
  mpi,          // mpirun or mpiexec
  slurm,        // srun, without MASTER_ADDR and MPI
};

struct Launch {
  LaunchKind kind = LaunchKind::single;
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // on this host
  std::string address;                 // of rank 0; not with mpi, which knows
  int port = 0, num_ports = 1;         // rank 0 listens on the first of these that is free
  std::string run_id;                  // tells jobs apart that use one port by mistake

  bool distributed() const { return size > 1; }
};

// Reads, in this order: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT;
// OMPI_COMM_WORLD_*; PMI_*; SLURM_* of a step that srun started (the shell of an salloc has some of them, too). Where
// torchrun's agent listens on MASTER_PORT itself the ports are the eight after it, or ENGINE_PORT. Throws Error(usage)
// for values that are no numbers or contradict each other. `get` is std::getenv but for tests.
Launch read_launch(const std::function<const char*(const char*)>& get);

// The first host of a list as Slurm writes it: "gpu-007" of "gpu-[007-009,012],cpu1".
std::string first_host(const std::string& list);

}  // namespace engine
