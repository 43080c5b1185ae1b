// What a libengine_cuda.so of another version looks like from outside.
extern "C" __attribute__((visibility("default"))) const void* engine_cuda_module() {
  static const int abi = 999;
  return &abi;
}
