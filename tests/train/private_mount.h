#pragma once
// A file system of a test's own, to be filled or made read-only: a tmpfs in a mount namespace that only this process
// and its children see, so it needs no rights and leaves nothing behind.
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace engine::testing {

class PrivateMount {
 public:
  // Mounts `bytes` on the existing folder. Where namespaces are not allowed, mounted() is false: skip the test.
  PrivateMount(std::filesystem::path folder, int64_t bytes) : folder_(std::move(folder)) {
    static const bool own = make_namespace();
    const std::string options = "size=" + std::to_string(bytes);
    mounted_ = own && ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~PrivateMount() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  PrivateMount(const PrivateMount&) = delete;
  PrivateMount& operator=(const PrivateMount&) = delete;

  bool mounted() const { return mounted_; }
  bool make_read_only() const {
    return ::mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  // Once a process; it has to have one thread only.
  static bool make_namespace() {
    const std::string user = std::to_string(::getuid()), group = std::to_string(::getgid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
    std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }

  std::filesystem::path folder_;
  bool mounted_ = false;
};

}  // namespace engine::testing
