#include "tests/io/simulated_disk.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>

namespace engine::test {
namespace {

int refuse(int error) {
  errno = error;
  return -1;
}

}  // namespace

SimulatedDisk::SimulatedDisk() {
  inodes_.push_back({.is_directory = true});
}

int SimulatedDisk::entry(const std::map<std::string, int>& entries, const std::string& name) {
  const auto at = entries.find(name);
  return at == entries.end() ? kNone : at->second;
}

void SimulatedDisk::set_entry(std::map<std::string, int>& entries, const std::string& name, int inode) {
  if (inode == kNone)
    entries.erase(name);
  else
    entries[name] = inode;
}

int SimulatedDisk::find(const std::filesystem::path& path) const {
  int inode = 0;
  for (const auto& part : path.relative_path()) {
    if (part.empty() || part == ".") continue;
    if (!inodes_[static_cast<std::size_t>(inode)].is_directory) return kNone;
    inode = entry(inodes_[static_cast<std::size_t>(inode)].entries, part.string());
    if (inode == kNone) return kNone;
  }
  return inode;
}

int SimulatedDisk::find_parent(const std::filesystem::path& path) const {
  return find(path.parent_path());
}

void SimulatedDisk::apply(Transaction transaction) {
  for (const EntryChange& change : transaction)
    set_entry(inodes_[static_cast<std::size_t>(change.directory)].entries, change.name, change.after);
  unsynced_.push_back(std::move(transaction));
}

SimulatedDisk SimulatedDisk::after_power_loss(std::mt19937& random) const {
  SimulatedDisk disk = *this;
  disk.descriptors_.clear();
  // Some losses take everything, some nothing, most something.
  const unsigned percent_kept = std::uniform_int_distribution<unsigned>(0, 4)(random) * 25;
  const auto kept = [&] { return random() % 100 < percent_kept; };

  for (const Transaction& transaction : unsynced_) {
    const bool sensible = std::all_of(transaction.begin(), transaction.end(), [&](const EntryChange& change) {
      return entry(disk.inodes_[static_cast<std::size_t>(change.directory)].durable_entries, change.name) ==
             change.before;
    });
    if (!sensible || !kept()) continue;
    for (const EntryChange& change : transaction)
      set_entry(disk.inodes_[static_cast<std::size_t>(change.directory)].durable_entries, change.name, change.after);
  }
  for (Inode& inode : disk.inodes_) {
    inode.entries = inode.durable_entries;
    std::string data = inode.durable_data;
    for (const Write& write : inode.unsynced) {
      if (!kept()) continue;
      if (write.is_truncation) {
        data.resize(write.offset);
        continue;
      }
      const std::size_t size = kept() ? write.bytes.size() : random() % (write.bytes.size() + 1);
      if (data.size() < write.offset + size) data.resize(write.offset + size);
      data.replace(write.offset, size, write.bytes, 0, size);
    }
    inode.data = inode.durable_data = data;
    inode.unsynced.clear();
  }
  disk.unsynced_.clear();
  return disk;
}

void SimulatedDisk::sync_everything() {
  for (Inode& inode : inodes_) {
    inode.durable_entries = inode.entries;
    inode.durable_data = inode.data;
    inode.unsynced.clear();
  }
  unsynced_.clear();
}

std::string SimulatedDisk::text_of(const std::filesystem::path& path) const {
  const int inode = find(path);
  return inode == kNone ? "" : inodes_[static_cast<std::size_t>(inode)].data;
}

void SimulatedDisk::flip_bit(const std::filesystem::path& path, std::size_t bit) {
  Inode& inode = inodes_.at(static_cast<std::size_t>(find(path)));
  inode.data.at(bit / 8) = static_cast<char>(inode.data.at(bit / 8) ^ (1 << bit % 8));
}

int SimulatedDisk::open(const std::filesystem::path& path, int flags, unsigned) {
  int inode = find(path);
  const int parent = find_parent(path);
  if (inode == kNone) {
    if (!(flags & O_CREAT) || parent == kNone) return refuse(ENOENT);
    inode = static_cast<int>(inodes_.size());
    inodes_.emplace_back();
    apply({{parent, path.filename().string(), kNone, inode}});
  }
  Inode& node = inodes_[static_cast<std::size_t>(inode)];
  if (node.is_directory && (flags & O_ACCMODE) != O_RDONLY) return refuse(EISDIR);
  if (flags & O_TRUNC && !node.data.empty()) {
    node.data.clear();
    node.unsynced.push_back({0, "", true});
  }
  descriptors_[next_fd_] = {inode, 0, (flags & O_APPEND) != 0};
  return next_fd_++;
}

std::ptrdiff_t SimulatedDisk::read(int fd, void* data, std::size_t size) {
  Descriptor& descriptor = descriptors_.at(fd);
  const std::string& bytes = inodes_[static_cast<std::size_t>(descriptor.inode)].data;
  const std::size_t offset = std::min(descriptor.offset, bytes.size());
  const std::size_t got = std::min(size, bytes.size() - offset);
  if (got > 0) std::memcpy(data, bytes.data() + offset, got);
  descriptor.offset = offset + got;
  return static_cast<std::ptrdiff_t>(got);
}

std::ptrdiff_t SimulatedDisk::write(int fd, const void* data, std::size_t size) {
  Descriptor& descriptor = descriptors_.at(fd);
  Inode& node = inodes_[static_cast<std::size_t>(descriptor.inode)];
  if (descriptor.append) descriptor.offset = node.data.size();
  const std::string bytes(static_cast<const char*>(data), size);
  if (node.data.size() < descriptor.offset + size) node.data.resize(descriptor.offset + size);
  node.data.replace(descriptor.offset, size, bytes);
  node.unsynced.push_back({descriptor.offset, bytes, false});
  descriptor.offset += size;
  return static_cast<std::ptrdiff_t>(size);
}

std::int64_t SimulatedDisk::size(int fd) {
  return static_cast<std::int64_t>(inodes_[static_cast<std::size_t>(descriptors_.at(fd).inode)].data.size());
}

int SimulatedDisk::truncate(int fd, std::int64_t size) {
  Inode& node = inodes_[static_cast<std::size_t>(descriptors_.at(fd).inode)];
  node.data.resize(static_cast<std::size_t>(size));
  node.unsynced.push_back({static_cast<std::size_t>(size), "", true});
  return 0;
}

int SimulatedDisk::fsync(int fd) {
  const int inode = descriptors_.at(fd).inode;
  Inode& node = inodes_[static_cast<std::size_t>(inode)];
  node.durable_data = node.data;
  node.unsynced.clear();
  if (!node.is_directory) return 0;
  std::vector<Transaction> others;
  for (Transaction& transaction : unsynced_) {
    const bool here = std::any_of(transaction.begin(), transaction.end(),
                                  [&](const EntryChange& change) { return change.directory == inode; });
    if (!here) {
      others.push_back(std::move(transaction));
      continue;
    }
    for (const EntryChange& change : transaction)
      set_entry(inodes_[static_cast<std::size_t>(change.directory)].durable_entries, change.name, change.after);
  }
  unsynced_ = std::move(others);
  return 0;
}

int SimulatedDisk::close(int fd) {
  return descriptors_.erase(fd) == 1 ? 0 : refuse(EBADF);
}

int SimulatedDisk::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  const int inode = find(from), replaced = find(to), from_parent = find_parent(from), to_parent = find_parent(to);
  if (inode == kNone || to_parent == kNone) return refuse(ENOENT);
  if (replaced != kNone && !inodes_[static_cast<std::size_t>(replaced)].entries.empty()) return refuse(ENOTEMPTY);
  apply({{from_parent, from.filename().string(), inode, kNone}, {to_parent, to.filename().string(), replaced, inode}});
  return 0;
}

int SimulatedDisk::exchange(const std::filesystem::path& a, const std::filesystem::path& b) {
  if (!exchange_supported) return refuse(EINVAL);
  const int inode_a = find(a), inode_b = find(b);
  if (inode_a == kNone || inode_b == kNone) return refuse(ENOENT);
  apply({{find_parent(a), a.filename().string(), inode_a, inode_b},
         {find_parent(b), b.filename().string(), inode_b, inode_a}});
  return 0;
}

int SimulatedDisk::link(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (!link_supported) return refuse(EPERM);
  const int inode = find(from), parent = find_parent(to);
  if (inode == kNone || parent == kNone) return refuse(ENOENT);
  if (find(to) != kNone) return refuse(EEXIST);
  apply({{parent, to.filename().string(), kNone, inode}});
  return 0;
}

int SimulatedDisk::unlink(const std::filesystem::path& path) {
  const int inode = find(path);
  if (inode == kNone) return refuse(ENOENT);
  if (inodes_[static_cast<std::size_t>(inode)].is_directory) return refuse(EISDIR);
  apply({{find_parent(path), path.filename().string(), inode, kNone}});
  return 0;
}

int SimulatedDisk::make_directory(const std::filesystem::path& path) {
  const int parent = find_parent(path);
  if (parent == kNone) return refuse(ENOENT);
  if (find(path) != kNone) return refuse(EEXIST);
  const int inode = static_cast<int>(inodes_.size());
  inodes_.push_back({.is_directory = true});
  apply({{parent, path.filename().string(), kNone, inode}});
  return 0;
}

int SimulatedDisk::remove_directory(const std::filesystem::path& path) {
  const int inode = find(path);
  if (inode == kNone) return refuse(ENOENT);
  if (!inodes_[static_cast<std::size_t>(inode)].entries.empty()) return refuse(ENOTEMPTY);
  apply({{find_parent(path), path.filename().string(), inode, kNone}});
  return 0;
}

int SimulatedDisk::list(const std::filesystem::path& path, std::vector<std::string>& names) {
  const int inode = find(path);
  if (inode == kNone) return refuse(ENOENT);
  names.clear();
  for (const auto& [name, child] : inodes_[static_cast<std::size_t>(inode)].entries) names.push_back(name);
  return 0;
}

int SimulatedDisk::kind(const std::filesystem::path& path, PathKind& kind) {
  const int inode = find(path);
  kind = inode == kNone                                          ? PathKind::absent
         : inodes_[static_cast<std::size_t>(inode)].is_directory ? PathKind::directory
                                                                 : PathKind::file;
  return 0;
}

}  // namespace engine::test
