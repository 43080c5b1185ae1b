#pragma once
// A disk in memory that can lose power, and a wrapper that lets the i-th call fail.
//
// What a power loss may do is taken as weakly as POSIX allows: bytes written but not fsynced are kept, dropped or torn,
// write by write; a change of a directory (create, rename, exchange, link, unlink) that its fsync did not cover is kept
// or dropped independently of the others, as long as it still makes sense.
#include <cerrno>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/io/file_ops.h"

namespace engine::test {

class SimulatedDisk : public FileOps {
 public:
  SimulatedDisk();

  // What the disk may hold after the power came back. Everything is durable then.
  SimulatedDisk after_power_loss(std::mt19937& random) const;
  // All of it reaches the disk.
  void sync_everything();

  bool exchange_supported = true;
  bool link_supported = true;
  std::string text_of(const std::filesystem::path& path) const;  // "" when absent
  void flip_bit(const std::filesystem::path& path, std::size_t bit);
  std::size_t file_size(const std::filesystem::path& path) const { return text_of(path).size(); }

  int open(const std::filesystem::path& path, int flags, unsigned mode) override;
  std::ptrdiff_t read(int fd, void* data, std::size_t size) override;
  std::ptrdiff_t write(int fd, const void* data, std::size_t size) override;
  std::int64_t size(int fd) override;
  int truncate(int fd, std::int64_t size) override;
  int fsync(int fd) override;
  int close(int fd) override;
  int rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  int exchange(const std::filesystem::path& a, const std::filesystem::path& b) override;
  int link(const std::filesystem::path& from, const std::filesystem::path& to) override;
  int unlink(const std::filesystem::path& path) override;
  int make_directory(const std::filesystem::path& path) override;
  int remove_directory(const std::filesystem::path& path) override;
  int list(const std::filesystem::path& path, std::vector<std::string>& names) override;
  int kind(const std::filesystem::path& path, PathKind& kind) override;
  std::int64_t free_bytes(const std::filesystem::path&) override { return 12'000'000; }

 private:
  static constexpr int kNone = -1;
  struct Write {
    std::size_t offset;
    std::string bytes;
    bool is_truncation;
  };
  struct Inode {
    bool is_directory = false;
    std::map<std::string, int> entries{}, durable_entries{};
    std::string data{}, durable_data{};
    std::vector<Write> unsynced{};
  };
  struct EntryChange {
    int directory;
    std::string name;
    int before, after;  // inodes, kNone for no entry
  };
  using Transaction = std::vector<EntryChange>;  // what one call changes, at once
  struct Descriptor {
    int inode;
    std::size_t offset;
    bool append;
  };

  int find(const std::filesystem::path& path) const;
  int find_parent(const std::filesystem::path& path) const;
  void apply(Transaction transaction);
  static int entry(const std::map<std::string, int>& entries, const std::string& name);
  static void set_entry(std::map<std::string, int>& entries, const std::string& name, int inode);

  std::vector<Inode> inodes_;
  std::vector<Transaction> unsynced_;
  std::map<int, Descriptor> descriptors_;
  int next_fd_ = 3;
};

enum class Fault {
  fail_once,     // call i fails, the next ones work
  fail_for_good  // call i and all later ones fail and change nothing: the process or the disk is dead
};

// Passes calls on to `inner`; call number `at` (counted from 0) fails with `error`.
class FaultyFileOps : public FileOps {
 public:
  FaultyFileOps(FileOps& inner, Fault fault, int at, int error = EIO)
      : inner_(inner), fault_(fault), at_(at), error_(error) {}

  int calls() const { return calls_; }
  bool reached() const { return calls_ > at_; }

  int open(const std::filesystem::path& path, int flags, unsigned mode) override {
    return fails() ? -1 : inner_.open(path, flags, mode);
  }
  std::ptrdiff_t read(int fd, void* data, std::size_t size) override {
    return fails() ? -1 : inner_.read(fd, data, size);
  }
  std::ptrdiff_t write(int fd, const void* data, std::size_t size) override {
    return fails() ? -1 : inner_.write(fd, data, size);
  }
  std::int64_t size(int fd) override { return fails() ? -1 : inner_.size(fd); }
  int truncate(int fd, std::int64_t size) override { return fails() ? -1 : inner_.truncate(fd, size); }
  int fsync(int fd) override { return fails() ? -1 : inner_.fsync(fd); }
  int close(int fd) override { return fails() ? -1 : inner_.close(fd); }
  int rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return fails() ? -1 : inner_.rename(from, to);
  }
  int exchange(const std::filesystem::path& a, const std::filesystem::path& b) override {
    return fails() ? -1 : inner_.exchange(a, b);
  }
  int link(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return fails() ? -1 : inner_.link(from, to);
  }
  int unlink(const std::filesystem::path& path) override { return fails() ? -1 : inner_.unlink(path); }
  int make_directory(const std::filesystem::path& path) override { return fails() ? -1 : inner_.make_directory(path); }
  int remove_directory(const std::filesystem::path& path) override {
    return fails() ? -1 : inner_.remove_directory(path);
  }
  int list(const std::filesystem::path& path, std::vector<std::string>& names) override {
    return fails() ? -1 : inner_.list(path, names);
  }
  int kind(const std::filesystem::path& path, PathKind& kind) override {
    return fails() ? -1 : inner_.kind(path, kind);
  }
  std::int64_t free_bytes(const std::filesystem::path& path) override { return inner_.free_bytes(path); }

 private:
  bool fails() {
    const int call = calls_++;
    const bool now = fault_ == Fault::fail_once ? call == at_ : call >= at_;
    if (now) errno = error_;
    return now;
  }

  FileOps& inner_;
  Fault fault_;
  int at_, error_;
  int calls_ = 0;
};

// Moves one byte a call and is interrupted before every second one.
class HaltingFileOps : public FaultyFileOps {
 public:
  explicit HaltingFileOps(FileOps& inner) : FaultyFileOps(inner, Fault::fail_once, -1) {}
  std::ptrdiff_t read(int fd, void* data, std::size_t size) override {
    return interrupted() ? -1 : FaultyFileOps::read(fd, data, size < 1 ? size : 1);
  }
  std::ptrdiff_t write(int fd, const void* data, std::size_t size) override {
    return interrupted() ? -1 : FaultyFileOps::write(fd, data, size < 1 ? size : 1);
  }
  int fsync(int fd) override { return interrupted() ? -1 : FaultyFileOps::fsync(fd); }

 private:
  bool interrupted() {
    interrupt_ = !interrupt_;
    if (interrupt_) errno = EINTR;
    return interrupt_;
  }
  bool interrupt_ = false;
};

}  // namespace engine::test
