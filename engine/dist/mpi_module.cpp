// libengine_mpi.so: MPI behind a table of functions.
#include "engine/dist/mpi_module.h"

#include <mpi.h>

#include <climits>
#include <memory>

namespace engine::dist {

struct MpiTransfer {
  MPI_Request request = MPI_REQUEST_NULL;
};

namespace {

constexpr int kTag = 1;

int init(int* rank, int* size) {
  int given = 0;
  int error = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given);
  if (error == MPI_SUCCESS) error = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (error == MPI_SUCCESS) error = MPI_Comm_rank(MPI_COMM_WORLD, rank);
  if (error == MPI_SUCCESS) error = MPI_Comm_size(MPI_COMM_WORLD, size);
  return error;
}

void error_text(int error, char* text, int capacity) {
  char buffer[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  (void)MPI_Error_string(error, buffer, &length);
  for (int i = 0; i + 1 < capacity; ++i) text[i] = i < length ? buffer[i] : '\0';
  text[capacity - 1] = '\0';
}

template <class Start>
int begin(size_t bytes, MpiTransfer** out, const Start& start) {
  if (bytes > INT_MAX) return MPI_ERR_COUNT;
  auto transfer = std::make_unique<MpiTransfer>();
  const int error = start(static_cast<int>(bytes), &transfer->request);
  if (error == MPI_SUCCESS) *out = transfer.release();
  return error;
}

int test(MpiTransfer* transfer, int* done) {
  const int error = MPI_Test(&transfer->request, done, MPI_STATUS_IGNORE);
  if (error == MPI_SUCCESS && *done != 0) delete transfer;
  return error;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const MpiModule* engine_mpi_module() {
  static char library[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  (void)MPI_Get_library_version(library, &length);
  static const MpiModule module = {
      .abi = kMpiModuleAbi,
      .library = library,
      .init = init,
      .error_text = error_text,
      .broadcast = [](void* data,
                      size_t bytes) { return MPI_Bcast(data, static_cast<int>(bytes), MPI_BYTE, 0, MPI_COMM_WORLD); },
      .send =
          [](const void* data, size_t bytes, int to, MpiTransfer** out) {
            return begin(bytes, out, [&](int count, MPI_Request* request) {
              return MPI_Isend(data, count, MPI_BYTE, to, kTag, MPI_COMM_WORLD, request);
            });
          },
      .receive =
          [](void* data, size_t bytes, int from, MpiTransfer** out) {
            return begin(bytes, out, [&](int count, MPI_Request* request) {
              return MPI_Irecv(data, count, MPI_BYTE, from, kTag, MPI_COMM_WORLD, request);
            });
          },
      .test = test,
      .finish = [] { return MPI_Finalize(); },
  };
  return &module;
}

}  // namespace engine::dist
