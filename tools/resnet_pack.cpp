// resnet-pack: a data set of many files as one file that resnet-train reads with --data-path FILE.
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <string>
#include <thread>

#include "engine/data/open_dataset.h"
#include "engine/data/pack.h"
#include "engine/data/packed.h"
#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/text.h"

namespace engine::tools {
namespace {

struct Arguments {
  OpenDatasetOptions data;
  PackOptions pack;
  std::string output;
  std::string verify;
  bool overwrite = false;
};

void define_flags(CLI::App& app, Arguments& arguments) {
  PackOptions& pack = arguments.pack;
  app.add_option("source", arguments.data.path,
                 "a folder, CIFAR, tar shards ('train-{000..012}.tar') or packed file: what --data-path takes");
  app.add_option("output", arguments.output, "the file to write, such as imagenet.pack");
  app.add_option("--val-path", arguments.data.val_path, "validation pictures that lie elsewhere");
  app.add_option("--val-split", arguments.data.val_split, "hold out a fraction < 1 or a number of pictures");
  app.add_option("--seed", arguments.data.seed, "of --val-split (0)");
  app.add_option("--resize", pack.resize, "reduce longer short sides to N")->check(CLI::Range(1, 65535));
  app.add_option("--max-side", pack.max_side, "reduce longer long sides to N")->check(CLI::Range(1, 65535));
  const std::map<std::string, PackOptions::Format> formats = {{"original", PackOptions::Format::original},
                                                              {"jpeg", PackOptions::Format::jpeg},
                                                              {"raw", PackOptions::Format::raw}};
  app.add_option("--format", pack.format,
                 "original: files as they are, resized ones as JPEG; jpeg: all encoded anew; raw: RGB bytes")
      ->transform(CLI::CheckedTransformer(formats));
  app.add_option("--quality", pack.quality, "of JPEGs that are written (90)")->check(CLI::Range(1, 100));
  app.add_option("-j,--workers", pack.workers, "threads (default: the cores)")->check(CLI::Range(1, 1024));
  const std::map<std::string, bool> bad = {{"fail", false}, {"skip", true}};
  app.add_option("--bad-images", pack.skip_bad, "unreadable pictures: fail, skip")
      ->transform(CLI::CheckedTransformer(bad));
  app.add_flag("--overwrite", arguments.overwrite, "replace the output if it exists");
  app.add_option("--verify", arguments.verify, "read and decode every record of this packed file instead");
}

int verify(const std::string& path) {
  int64_t bad = 0;
  const int64_t sound = verify_packed(path, [&](const std::string& message) {
    ++bad;
    std::cerr << message << '\n';
  });
  std::cout << printable(path) << ": " << sound << " sound records, " << bad << " bad\n";
  return bad == 0 ? 0 : static_cast<int>(ErrorKind::data);
}

int pack(Arguments& arguments) {
  check(!arguments.data.path.empty() && !arguments.output.empty(),
        "give the data set and the file to write: resnet-pack SOURCE OUTPUT");
  std::error_code ignored;
  check(arguments.overwrite || !std::filesystem::exists(arguments.output, ignored), "'", printable(arguments.output),
        "' exists; choose another name or add --overwrite");
  arguments.data.cache_bytes = 0;
  arguments.data.needs_val = false;
  const DatasetPair data = open_dataset(arguments.data);
  std::cerr << data.summary << '\n';
  arguments.pack.root = printable(arguments.data.path) + "/";
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const auto start = std::chrono::steady_clock::now();
  if (terminal) {
    arguments.pack.progress = [](int64_t done, int64_t all) {
      if (done % 64 == 0 || done == all) std::cerr << '\r' << done << " of " << all << (done == all ? "\n" : "");
    };
  }
  const PackReport report = pack_dataset(data, arguments.output, arguments.pack);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  for (const std::string& message : report.left) std::cerr << "left out: " << message << '\n';
  std::cout << printable(arguments.output) << ": " << report.pictures << " pictures, " << report.encoded
            << " encoded anew, " << report.left.size() << " left out, " << human_bytes(report.bytes) << ", "
            << static_cast<int64_t>(static_cast<double>(report.pictures) / std::max(1e-9, seconds.count()))
            << " pictures/s\n";
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app("Packs a data set into one file for resnet-train: resnet-pack SOURCE OUTPUT", "resnet-pack");
  Arguments arguments;
  arguments.pack.workers = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 1024u));
  define_flags(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(ErrorKind::usage);
  }
  try {
    return arguments.verify.empty() ? pack(arguments) : verify(arguments.verify);
  } catch (const Error& error) {
    std::cerr << "resnet-pack: " << error.what() << '\n';
    return static_cast<int>(error.kind());
  } catch (const std::bad_alloc&) {
    std::cerr << "resnet-pack: out of memory\n";
    return static_cast<int>(ErrorKind::memory);
  }
}

}  // namespace
}  // namespace engine::tools

int main(int argc, char** argv) {
  try {
    return engine::tools::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "resnet-pack: internal error: " << error.what() << '\n';
    return static_cast<int>(engine::ErrorKind::internal);
  }
}
