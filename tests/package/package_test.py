#!/usr/bin/env python3
"""Installs what was built, moves it elsewhere, and builds programs of others with it.

package_test.py --source DIR --build DIR --work DIR [--cmake CMAKE] STEP
STEP is one of the functions below; `install` comes first, the others look at what it left. The commands and the CMake
code are those of docs/install.md. Standard library only.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARIES = {"engine", "engine_models", "engine_kernels_emulated", "engine_emulator"}


def run(*command, expect=0, **options):
    command = [str(word) for word in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != expect:
        sys.exit(f"{shlex.join(command)}\nexit code {done.returncode}, expected {expect}:\n{done.stdout[-6000:]}")
    return done.stdout


def expect(condition, sentence):
    if not condition:
        sys.exit(sentence)


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


class Package:
    def __init__(self, arguments):
        self.source, self.build, self.work = arguments.source, arguments.build, arguments.work
        self.cmake = arguments.cmake
        self.prefix = self.work / "moved"
        cache = (self.build / "CMakeCache.txt").read_text()
        self.cache = dict(re.findall(r"^(\w+):\w+=(.*)$", cache, re.MULTILINE))

    def fresh(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def page(self, language, part, name="docs/install.md"):
        """The block of the page in which this stands."""
        blocks = re.findall(rf"^```{language}\n(.*?)^```", (self.source / name).read_text(), re.M | re.S)
        found = [block for block in blocks if part in block]
        expect(len(found) == 1, f"{name} has {len(found)} {language} blocks with {part}; expected one")
        return found[0]

    def run_page(self, part, folder, home=None, **page):
        """Runs a block of a page in `folder`, which looks like the repository after a build; ~/engine is the package."""
        (folder / "build").mkdir(exist_ok=True)
        (folder / "build/release").symlink_to(self.build)
        environment = {**os.environ, "HOME": str(home or self.work), "PATH": f"{self.cmake.parent}:{os.environ['PATH']}"}
        run("bash", "-ec", self.page("sh", part, **page), cwd=folder, env=environment)

    def project(self, name, cmake):
        """A folder with the program and this CMakeLists.txt, which adds a kernel as the page does."""
        folder = self.fresh(name)
        for file in (self.source / "tests/package/program").iterdir():
            shutil.copy(file, folder)
        for file in ("row_norm.h", "row_norm.cu"):
            shutil.copy(self.source / "docs/examples" / file, folder)
        (folder / "CMakeLists.txt").write_text(
            cmake + self.page("cmake", "engine_add_kernels(") +
            "target_include_directories(mine PRIVATE .)\ninclude(checks.cmake)\n")
        return folder

    def configure(self, source, folder, *definitions, expect=0):
        """By the compiler of the build that is tested."""
        same = [f"-D{key}={self.cache[key]}" for key in ("CMAKE_BUILD_TYPE", "CMAKE_CXX_COMPILER", "CMAKE_MAKE_PROGRAM")
                if self.cache.get(key)]
        return run(self.cmake, "-S", source, "-B", folder, "-G", self.cache["CMAKE_GENERATOR"],
                   f"-DCMAKE_PREFIX_PATH={self.prefix}", *same, *definitions, expect=expect)

    def make(self, source, folder, *definitions):
        launcher = self.cache.get("CMAKE_CXX_COMPILER_LAUNCHER") or self.cache.get("CCACHE") or "NOTFOUND"
        if not launcher.endswith("NOTFOUND"):
            definitions += (f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}",)
        self.configure(source, folder, *definitions)
        run(self.cmake, "--build", folder)
        return folder

    def run_program(self, folder):
        output = run(folder / "mine")
        if (self.build / "bin/libengine_mpi.so").exists():
            expect("is missing" not in output, f"the program does not find libengine_mpi.so:\n{output}")

    def check_run_path(self, program):
        """An empty folder in a run path is the working directory."""
        path = re.search(r"R(?:UN)?PATH.*\[(.*)\]", run("readelf", "-d", program))
        expect(path is None or all(path[1].split(":")), f"{program} has the run path {path and path[1]}")

    # ---- steps

    def install(self):
        """cmake --install as the page has it, and then everything is somewhere else."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.run_page("cmake --install", self.fresh("install"))
        (self.work / "engine").rename(self.prefix)

    def contents(self):
        """What is for users is there, nothing else is, and nothing tells where it was built or first installed."""
        names = files_below(self.prefix)
        headers = {name.removeprefix("include/libengine/") for name in names if name.startswith("include/")}
        for header in ("engine/engine.h", "models/resnet.h", "kernels/convolution.h", "kernels/gpu.h"):
            expect(header in headers, f"{header} is not installed")
        for header in headers:
            text = (self.prefix / "include/libengine" / header).read_text()
            expect("Private to" not in "".join(text.splitlines(True)[:5]), f"{header} is private, but installed")
            for included in re.findall(r'#\s*include "([^"]+)"', text):
                expect(included in headers, f"{header} includes {included}, which is not installed")
        for command in ("resnet-train", "resnet-predict", "resnet-bench", "resnet-pack", "pth_to_safetensors.py"):
            expect(f"bin/{command}" in names, f"bin/{command} is not installed")
        for name in names:
            expect(name.split("/")[0] in ("bin", "include", "lib", "share"), f"{name} is installed")
            if name.endswith((".cmake", ".pc")):
                text = (self.prefix / name).read_text()
                for place in (self.build, self.source, self.work):
                    expect(str(place) not in text, f"{name} contains the path {place}")

    def commands(self):
        """They start from the moved prefix and find their modules there, and in no folder that is not named."""
        in_build = (*self.build.glob("bin/resnet-*"), *self.build.glob("bin/*.so"))
        for program in (*self.prefix.glob("bin/resnet-*"), *in_build):
            self.check_run_path(program)
        output = run(self.prefix / "bin/resnet-train", "--model", "resnet20", "--summary")
        expect("269,722" in output, f"resnet-train --summary says:\n{output}")
        alone = shutil.copy(self.prefix / "bin/resnet-train", self.fresh("alone"))
        for module in self.build.glob("bin/libengine_*.so"):
            for program, found in ((self.prefix / "bin/resnet-train", True), (alone, False)):
                output = run(program, "--doctor")
                expect((f"{module.name} is missing" in output) != found, f"{program} --doctor says:\n{output}")

    def installed(self):
        source = self.project("installed", self.page("cmake", "find_package("))
        self.run_program(self.make(source, source / "build"))

    def examples(self):
        """docs/examples as a project of its own: a program with kernels, and a shared library around the static ones."""
        folder = self.fresh("examples")
        self.configure(self.source / "docs/examples", folder)
        run(self.cmake, "--build", folder, "--target", "custom_kernel", "engine_tensors")
        run(folder / "custom_kernel")

    def getting_started(self):
        """The last of the three tasks of docs/getting-started.md, as a new user types it."""
        folder, page = self.fresh("getting_started"), {"name": "docs/getting-started.md"}
        (folder / "mine").mkdir()
        shutil.copy(self.source / "docs/examples/custom_op.cpp", folder / "mine")
        (folder / "mine/CMakeLists.txt").write_text(self.page("cmake", "find_package(", **page))
        self.run_page("mine/build/custom_op", folder, home=folder, **page)

    def kernels(self):
        folder = self.make(self.source / "tests/package/kernels", self.fresh("kernels"))
        expect("emulator: norms" in run(folder / "kernels_alone"), "the program does not say what it ran on")
        if (self.build / "kernels/libengine_emulator_race.a").exists():
            run(folder / "row_norm_race")
            said = self.configure(self.source / "tests/package/kernels", self.fresh("kernels_both"), "-DWITH_BOTH=ON",
                                  expect=1)
            expect("ENGINE_EMULATOR" in said, f"both emulators in one program:\n{said}")

    def kernels_cuda(self):
        nvcc = f"-DCMAKE_CUDA_COMPILER={self.cache['CMAKE_CUDA_COMPILER']}"
        run(self.make(self.source / "tests/package/cuda", self.fresh("cuda"), nvcc) / "kernels_cuda")
        said = self.configure(self.source / "tests/package/cuda", self.fresh("cuda_and_emulated"), nvcc,
                              "-DWITH_EMULATED=ON", expect=1)
        expect("ENGINE_KERNELS" in said, f"both sets of kernels in one program:\n{said}")

    def versions(self):
        """0.1 is compatible with 0.1.x and with nothing else; unknown components are refused by name."""
        folder = self.fresh("versions")
        (folder / "CMakeLists.txt").write_text("""
            cmake_minimum_required(VERSION 3.25)
            project(versions LANGUAGES CXX)
            foreach(version 0.0 0.2 1.0)
              find_package(engine ${version} CONFIG QUIET)
              if(engine_FOUND)
                message(SEND_ERROR "version ${engine_VERSION} passes for ${version}")
              endif()
            endforeach()
            find_package(engine CONFIG QUIET COMPONENTS wings)
            if(engine_FOUND OR NOT engine_NOT_FOUND_MESSAGE MATCHES "no component wings")
              message(SEND_ERROR "component wings: ${engine_NOT_FOUND_MESSAGE}")
            endif()
            """)
        self.configure(folder, folder / "build")

    def pkg_config(self):
        """export and g++ as the page has them."""
        folder = self.fresh("pkg_config")
        (self.work / "engine").symlink_to(self.prefix)
        (folder / "main.cpp").write_text(
            '#include "engine/ops/elementwise.h"\n'
            "int main() { return engine::relu(engine::Tensor::full({3}, 2)).to_vector<float>()[1] == 2 ? 0 : 1; }\n")
        self.run_page("pkg-config", folder)
        run(folder / "mine")
        (self.work / "engine").unlink()

    def headers(self):
        """All in one file, with a strict compiler. (That each compiles alone is for tests/style.)"""
        folder = self.fresh("headers")
        root = self.prefix / "include/libengine"
        (folder / "all.cpp").write_text("".join(f'#include "{name}"\n' for name in sorted(files_below(root))
                                                if not re.match(r"kernels/(gpu/(launch|ptx|\w+_ptx)\.h)", name)))
        run(self.cache["CMAKE_CXX_COMPILER"], "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow",
            "-Wno-missing-field-initializers", "-Wno-psabi", "-Werror", "-I", root, folder / "all.cpp")

    def subdirectory(self):
        """FetchContent, with shared libraries: compiled as here, so that the objects that are there already serve."""
        source = self.project("subdirectory", self.page("cmake", "FetchContent_MakeAvailable("))
        commands = source / "commands"
        with commands.open("w") as lines:
            for entry in json.loads((self.build / "compile_commands.json").read_text()):
                words = shlex.split(entry["command"])
                lines.write(" ".join(words[1 if Path(words[0]).name == "ccache" else 0:]) + "\n")
        launcher = f"{self.source / 'tests/package/same_object.sh'};{commands};{self.build};_deps/engine-build/"
        multiarch = run(self.cache["CMAKE_CXX_COMPILER"], "-print-multiarch").strip()
        folder = source / "build"
        self.configure(source, folder, f"-DFETCHCONTENT_SOURCE_DIR_ENGINE={self.source}", "-DBUILD_SHARED_LIBS=ON",
                       "-DENGINE_INSTALL=ON", f"-DCMAKE_INSTALL_LIBDIR=lib/{multiarch}", "-DENGINE_CUDA=OFF",
                       f"-DENGINE_WERROR={self.cache['ENGINE_WERROR']}", f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}")
        run(self.cmake, "--build", folder)
        self.run_program(folder)

        first = self.fresh("shared/first")
        run(self.cmake, "--install", folder, "--prefix", first)
        shared = first.rename(first.parent / "moved")
        libraries = sorted(path for path in shared.rglob("*.so") if path.stem.removeprefix("lib") in LIBRARIES)
        expect(len(libraries) == len(LIBRARIES), f"shared libraries: {libraries}")
        for library in libraries:
            self.check_run_path(library)
            version = self.cache["CMAKE_PROJECT_VERSION"]
            name = f"{library.name}.{version.rpartition('.')[0]}"
            expect(re.search(rf"SONAME.*\[{re.escape(name)}\]", run("readelf", "-d", library)), f"{library}: no SONAME {name}")
            symbols = run("nm", "-DC", "--defined-only", "--format=just-symbols", library).splitlines()
            expect(len(symbols) > 50, f"{library} exports {len(symbols)} symbols")
            for symbol in symbols:
                expect("engine::" in symbol and not symbol.startswith(("std::", "nlohmann", "fmt::", "spdlog")),
                       f"{library} exports {symbol}")
        self.prefix = shared
        source = self.project("installed_shared", self.page("cmake", "find_package("))
        program = self.make(source, source / "build")
        self.run_program(program)
        needed = run("readelf", "-d", program / "mine")
        for private in ("libdnnl", "libfmt", "libspdlog", "libarchive"):
            expect(private not in needed, f"a program needs {private}, which is libengine's own affair")

    def deb(self):
        """Debian packages: what is in them and what they need; unpacked by dpkg into a folder, and removed."""
        folder = self.fresh("deb")
        self.run_page("cpack ", folder)
        packages = {path.name.split("_")[0]: path for path in (folder / "build/packages").glob("*.deb")}
        expect({"libengine", "libengine-dev"} <= set(packages), f"packages: {sorted(packages)}")

        def field(package, name):
            return run("dpkg-deb", "-f", packages[package], name).strip()

        def files(package):
            return {line.split()[5].removeprefix("./") for line in run("dpkg-deb", "-c", packages[package]).splitlines()}

        depends = field("libengine", "Depends")
        expect("libdnnl2" in depends and "libc6" in depends, f"libengine depends on {depends}")
        expect("mpi" not in depends, f"libengine depends on MPI: {depends}")
        depends = field("libengine-dev", "Depends")
        expect(depends.startswith("libengine (= "), f"libengine-dev depends on {depends}")
        expect("usr/bin/resnet-train" in files("libengine"), "libengine has no resnet-train")
        expect(not any("include" in name for name in files("libengine")), "libengine contains headers")
        expect("usr/include/libengine/engine/engine.h" in files("libengine-dev"), "libengine-dev has no engine.h")
        if "libengine-mpi" in packages:
            expect("libopenmpi" in field("libengine-mpi", "Depends"), "libengine-mpi does not depend on Open MPI")

        root = folder / "root"
        for name in ("updates", "info"):
            (root / "var/lib/dpkg" / name).mkdir(parents=True)
        for name in ("status", "available"):
            (root / "var/lib/dpkg" / name).touch()
        # The packages' own scripts call ldconfig: here another one, which leaves this system alone.
        (folder / "bin").mkdir()
        (folder / "bin/ldconfig").write_text("#!/bin/sh\n")
        (folder / "bin/ldconfig").chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"}
        dpkg = ["dpkg", "--force-not-root", "--force-script-chrootless", "--force-depends", "--force-bad-path",
                f"--instdir={root}", f"--admindir={root}/var/lib/dpkg", "--log=/dev/null"]
        run(*dpkg, "-i", *packages.values(), env=environment)
        run(root / "usr/bin/resnet-train", "--list-models")
        run(*dpkg, "-r", *packages, env=environment)
        left = {name for name in files_below(root) if not name.startswith("var/lib/dpkg")}
        expect(not left, f"left behind: {sorted(left)[:5]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("source", "build", "work", "cmake"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("step")
    arguments = parser.parse_args()
    getattr(Package(arguments), arguments.step)()


if __name__ == "__main__":
    main()
