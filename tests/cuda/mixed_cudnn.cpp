// A cuDNN 9 that has met the libcudnn_cnn.so of another one.
#define PART(name, result)                                       \
  extern "C" __attribute__((visibility("default"))) int name() { \
    return result;                                               \
  }

PART(cudnnGraphVersionCheck, 0)
PART(cudnnOpsVersionCheck, 0)
PART(cudnnCnnVersionCheck, 1002)  // CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH
PART(cudnnGetErrorString, 0)
PART(cudnnCreate, 0)
PART(cudnnSetStream, 0)
PART(cudnnBackendCreateDescriptor, 0)
PART(cudnnBackendDestroyDescriptor, 0)
PART(cudnnBackendFinalize, 0)
PART(cudnnBackendSetAttribute, 0)
PART(cudnnBackendGetAttribute, 0)
PART(cudnnBackendExecute, 0)

extern "C" __attribute__((visibility("default"))) unsigned long cudnnGetVersion() {
  return 90102;
}
