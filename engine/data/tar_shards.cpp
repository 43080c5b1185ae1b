#include "engine/data/tar_shards.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

#include "engine/data/image_folder.h"
#include "engine/data/input_file.h"
#include "engine/data/read_file.h"
#include "engine/data/tar_reader.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

constexpr uint64_t kMaxMemberBytes = uint64_t{256} << 20;
constexpr int64_t kMaxLabel = 1'000'000;
// More shards than this are opened for each picture, so that the limit of open files is never met.
constexpr size_t kMaxOpenShards = 256;

struct Member {
  std::string name;
  uint64_t offset = 0;
  uint32_t bytes = 0;
  int64_t label = -1;  // of a .cls
};

struct Shard {
  std::string path;
  std::shared_ptr<const InputFile> file;
  std::vector<Member> members;
  bool has_labels = false;

  std::string shown(const Member& member) const { return printable(path) + " member " + printable(member.name); }
};

// "dir/000123" and "jpg" of dir/000123.jpg.
std::pair<std::string_view, std::string> split_name(std::string_view name) {
  const size_t slash = name.rfind('/');
  const size_t dot = name.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (dot == std::string_view::npos) return {name, ""};
  std::string field(name.substr(dot + 1));
  for (char& c : field) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return {name.substr(0, dot), field};
}

// Like .ipynb_checkpoints/1.jpg, ._1.jpg and ../1.jpg, but not ./1.jpg.
bool is_hidden(const std::string& name) {
  for (size_t begin = 0; begin < name.size(); begin = name.find('/', begin) + 1) {
    if (name[begin] == '.' && name.compare(begin, 2, "./") != 0) return true;
    if (name.find('/', begin) == std::string::npos) return false;
  }
  return false;
}

int64_t parse_label(const Shard& shard, const Member& member) {
  constexpr size_t kLongest = 32;
  std::vector<uint8_t> bytes;
  if (member.bytes <= kLongest) bytes = shard.file->read(member.offset, member.bytes);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  int64_t label = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || label < 0 || label > kMaxLabel) {
    fail(ErrorKind::data, shard.shown(member), ": its label is '", printable(text), "', but a whole number from 0 to ",
         kMaxLabel, " is expected");
  }
  return label;
}

Shard index_shard(const std::string& path) {
  Shard shard{.path = path, .file = std::make_shared<InputFile>(path, printable(path)), .members = {}};
  const auto add = [&](const std::string& folder, const TarMember& found) {
    Member member{.name = folder + found.name, .offset = found.offset};
    const std::string field = split_name(member.name).second;
    const bool is_label = field == "cls";
    if (is_hidden(member.name) || !(is_label || has_picture_extension(member.name))) return;
    if (found.bytes > kMaxMemberBytes) {
      fail(ErrorKind::data, shard.shown(member), ": is ", found.bytes, " bytes, but at most ", kMaxMemberBytes,
           " are read");
    }
    member.bytes = static_cast<uint32_t>(found.bytes);
    if (is_label) {
      member.label = parse_label(shard, member);
      shard.has_labels = true;
    }
    shard.members.push_back(std::move(member));
  };
  list_tar(*shard.file, 0, shard.file->size(), [&](const TarMember& outer) {
    if (!outer.name.ends_with(".tar")) return add("", outer);
    const std::string folder = outer.name.substr(0, outer.name.size() - 4) + "/";
    list_tar(*shard.file, outer.offset, outer.bytes, [&](const TarMember& inner) { add(folder, inner); });
  });
  return shard;
}

// Headers of many shards at once: on a network file system each costs a round trip.
std::vector<Shard> index_shards(const std::vector<std::string>& paths) {
  constexpr size_t kThreads = 8;
  std::vector<Shard> shards(paths.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::pair<size_t, std::exception_ptr> first{paths.size(), nullptr};  // the error of the earliest shard
  const auto work = [&] {
    for (size_t i = next++; i < paths.size(); i = next++) {
      try {
        shards[i] = index_shard(paths[i]);
        if (paths.size() > kMaxOpenShards) shards[i].file.reset();
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < first.first) first = {i, std::current_exception()};
        next = paths.size();
      }
    }
  };
  {
    std::vector<std::jthread> team;
    for (size_t i = 1; i < std::min(kThreads, paths.size()); ++i) team.emplace_back(work);
    work();
  }
  if (first.second) std::rethrow_exception(first.second);
  return shards;
}

class TarDataset : public Dataset {
 public:
  TarDataset(std::vector<Shard> shards, int num_classes) {
    const bool labelled = std::any_of(shards.begin(), shards.end(), [](const Shard& s) { return s.has_labels; });
    for (const Shard& shard : shards) {
      paths_.push_back(shard.path);
      files_.push_back(shard.file);
    }
    labelled ? add_samples(shards, num_classes) : add_folders(shards);
    if (samples_.empty()) {
      fail(ErrorKind::data, "tar: '", printable(paths_.front()), "'", paths_.size() > 1 ? " and the others" : "",
           paths_.size() > 1 ? " hold" : " holds", " no picture (a name ending in .jpg, .jpeg, .png and so on)");
    }
  }

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t index) const override { return sample(index).label; }
  Image load(int64_t index) const override { return decode_picture(read(index)); }
  std::string describe(int64_t index) const override {
    const Sample& sample = this->sample(index);
    return printable(paths_[sample.shard]) + " member " + printable(names_.data() + sample.name);
  }

  Picture read(int64_t index) const override {
    const Sample& sample = this->sample(index);
    std::string name = describe(index);
    std::shared_ptr<const InputFile> file = files_[sample.shard];
    if (!file) file = std::make_shared<InputFile>(paths_[sample.shard], printable(paths_[sample.shard]));
    std::vector<uint8_t> bytes(sample.bytes);
    if (file->read_some(sample.offset, bytes) != bytes.size()) {
      fail(ErrorKind::data, name, ": the tar was cut off to ", sample.offset, " bytes or fewer; copy it again");
    }
    check_not_empty(bytes, name);
    return {.image = {}, .file = std::move(bytes), .name = std::move(name)};
  }

 private:
  struct Sample {
    uint64_t offset, name;
    uint32_t bytes, shard, label;
  };

  const Sample& sample(int64_t index) const { return samples_[static_cast<size_t>(index)]; }

  void add(const Member& picture, size_t shard, int64_t label) {
    samples_.push_back({.offset = picture.offset,
                        .name = names_.size(),
                        .bytes = picture.bytes,
                        .shard = static_cast<uint32_t>(shard),
                        .label = static_cast<uint32_t>(label)});
    names_ += picture.name;
    names_ += '\0';
  }

  void add_samples(const std::vector<Shard>& shards, int num_classes) {
    int64_t largest = num_classes - 1;
    for (size_t s = 0; s < shards.size(); ++s) {
      const std::vector<Member>& members = shards[s].members;
      for (size_t begin = 0, end = 0; begin < members.size(); begin = end) {
        const Member *picture = nullptr, *label = nullptr;
        const std::string_view key = split_name(members[begin].name).first;
        for (; end < members.size(); ++end) {
          const auto [own_key, field] = split_name(members[end].name);
          if (own_key != key) break;
          if (field.find('.') != std::string::npos) continue;  // 000123.mask.png is no picture to train on
          const Member*& place = members[end].label >= 0 ? label : picture;
          if (place != nullptr) {
            fail(ErrorKind::data, shards[s].shown(members[end]), ": is a second ", place == label ? "label" : "picture",
                 " of its sample, after ", printable(place->name), "; each has one of both");
          }
          place = &members[end];
        }
        if (picture == nullptr || label == nullptr) {
          fail(ErrorKind::data, shards[s].shown(members[begin]), ": its sample has no ",
               picture == nullptr ? "picture" : ".cls with its label", "; both have to stand one after the other");
        }
        add(*picture, s, label->label);
        largest = std::max(largest, label->label);
      }
    }
    name_classes(largest + 1);
  }

  void name_classes(int64_t count) {
    const std::string path = (std::filesystem::path(paths_.front()).parent_path() / "classes.txt").string();
    std::error_code missing;
    if (std::filesystem::exists(path, missing)) {
      constexpr int64_t kMaxBytes = 16 << 20;
      const std::vector<uint8_t> bytes = read_file(path, printable(path), kMaxBytes);
      std::istringstream lines(std::string(bytes.begin(), bytes.end()));
      for (std::string line; std::getline(lines, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty()) class_names_.push_back(printable(line));
      }
      if (static_cast<int64_t>(class_names_.size()) < count) {
        fail(ErrorKind::data, printable(path), ": names ", class_names_.size(), " classes, but label ", count - 1,
             " occurs in the tars");
      }
    } else {
      for (int64_t c = 0; c < count; ++c) class_names_.push_back(std::to_string(c));
    }
    check_classes();
  }

  void add_folders(const std::vector<Shard>& shards) {
    std::vector<std::pair<std::string, std::pair<size_t, const Member*>>> found;  // class, then where
    const std::string shared = shared_folder(shards);
    for (size_t s = 0; s < shards.size(); ++s) {
      for (const Member& member : shards[s].members) {
        const size_t slash = member.name.find('/', shared.size());
        if (slash == std::string::npos) {
          fail(ErrorKind::data, shards[s].shown(member), ": lies in no class folder",
               shared.empty() ? "" : " below '" + printable(shared) + "', which holds every picture",
               ", and no .cls gives its label; give each class a folder of its own");
        }
        found.emplace_back(member.name.substr(shared.size(), slash - shared.size()), std::pair(s, &member));
      }
    }
    for (const auto& [name, place] : found) class_names_.push_back(name);
    std::sort(class_names_.begin(), class_names_.end());
    class_names_.erase(std::unique(class_names_.begin(), class_names_.end()), class_names_.end());
    for (const auto& [name, place] : found) {
      const auto at = std::lower_bound(class_names_.begin(), class_names_.end(), name);
      add(*place.second, place.first, at - class_names_.begin());
    }
    for (std::string& name : class_names_) name = printable(name);
    if (!found.empty()) check_classes();
  }

  // The folders that all pictures lie in, "" or ending in a slash.
  static std::string shared_folder(const std::vector<Shard>& shards) {
    std::optional<std::string> shared;
    for (const Shard& shard : shards) {
      for (const Member& member : shard.members) {
        const size_t slash = member.name.rfind('/');
        const std::string folder = slash == std::string::npos ? "" : member.name.substr(0, slash + 1);
        if (!shared) shared = folder;
        const auto differ = std::mismatch(shared->begin(), shared->end(), folder.begin(), folder.end()).first;
        shared->erase(differ, shared->end());
        shared->resize(shared->rfind('/') + 1);  // 0 if there is none
      }
    }
    return shared.value_or("");
  }

  void check_classes() const {
    if (class_names_.size() < 2) {
      fail(ErrorKind::data, "tar: '", printable(paths_.front()), "' has ", class_names_.size(),
           " classes, but a classifier needs 2 or more");
    }
  }

  std::vector<std::string> paths_;
  std::vector<std::shared_ptr<const InputFile>> files_;  // null: opened for each picture
  std::vector<std::string> class_names_;
  std::vector<Sample> samples_;  // 32 bytes each: 41 MB of ImageNet
  std::string names_;            // each ended by a zero
};

}  // namespace

std::vector<std::string> expand_braces(const std::string& pattern) {
  constexpr size_t kMost = 100'000;
  const size_t open = pattern.find('{');
  const size_t close = pattern.find('}', open == std::string::npos ? 0 : open);
  check((open == std::string::npos) == (close == std::string::npos), "'", printable(pattern),
        "' has a brace without its partner");
  if (open == std::string::npos) return {pattern};
  const std::string inside = pattern.substr(open + 1, close - open - 1);
  std::vector<std::string> choices;
  const size_t dots = inside.find("..");
  if (dots != std::string::npos) {
    const std::string first = inside.substr(0, dots), last = inside.substr(dots + 2);
    uint64_t from = 0, to = 0;
    const auto parse = [](const std::string& text, uint64_t& value) {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      return error == std::errc() && end == text.data() + text.size();
    };
    check(parse(first, from) && parse(last, to) && from <= to && to - from < kMost, "'{", printable(inside),
          "}' is no range such as {000..012} of at most ", kMost);
    for (uint64_t i = from; i <= to; ++i) {
      const std::string number = std::to_string(i);
      choices.push_back(std::string(first.size() - std::min(first.size(), number.size()), '0') + number);
    }
  } else {
    for (size_t begin = 0; begin <= inside.size();) {
      const size_t end = std::min(inside.find(',', begin), inside.size());
      choices.push_back(inside.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  const std::vector<std::string> rests = expand_braces(pattern.substr(close + 1));
  check(choices.size() * rests.size() <= kMost, "'", printable(pattern), "' stands for more than ", kMost, " files");
  std::vector<std::string> paths;
  for (const std::string& choice : choices) {
    for (const std::string& rest : rests) paths.push_back(pattern.substr(0, open) + choice + rest);
  }
  return paths;
}

DatasetPtr open_tar_shards(const std::vector<std::string>& paths, int num_classes) {
  return std::make_shared<TarDataset>(index_shards(paths), num_classes);
}

}  // namespace engine
