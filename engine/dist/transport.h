#pragma once
// Private to engine/dist: how large arrays get from rank to rank. Sums are taken in the order of the ranks, so that all
// transports give the same bits.
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/dist/launch.h"
#include "engine/dist/rendezvous.h"

namespace engine::dist {

class Transport {
 public:
  virtual ~Transport() = default;
  virtual const char* name() const = 0;
  // `keep_waiting(rank)` is asked while something of that rank has not come. It throws when that has taken too long.
  using KeepWaitingFor = std::function<void(int rank)>;
  virtual void sum(std::span<float> values, const KeepWaitingFor& keep_waiting) = 0;
  virtual void all_gather(std::span<const float> mine, std::span<float> all, const KeepWaitingFor& keep_waiting) = 0;
  // Where rank 0 listens, from rank 0 to all: before there is any other connection. Only where there is no address.
  virtual std::string broadcast(const std::string& text) = 0;
  virtual void finish() = 0;
};

// By MPI, which this starts. Throws Error(device) with the reason if libengine_mpi.so or MPI is missing.
std::unique_ptr<Transport> start_mpi(const Launch& launch);

}  // namespace engine::dist
