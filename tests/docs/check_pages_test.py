"""check_pages.py notices what it is there for, and nothing else."""

import stat
import tempfile
import unittest
from pathlib import Path

import check_pages
from pages import read_page

PROGRAM = """#!/bin/sh
case "$1" in
  --help) echo "  -b, --batch-size N   pictures" ;;
  fail) exit 3 ;;
esac
"""


class CheckPages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve() / "tree"
        (self.root / "docs").mkdir(parents=True)
        (self.root / "bin").mkdir()
        (self.root / "docs" / "README.md").write_text("# Docs\n[a](a.md)\n")
        program = self.root / "bin" / "resnet-train"
        program.write_text(PROGRAM)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def page(self, text):
        (self.root / "docs" / "a.md").write_text(text)

    def run_page(self, block, mark="", language="sh"):
        line = f"<!-- test: {mark} -->\n" if mark else ""
        self.page(f"# A\n\n{line}```{language}\n{block}\n```\n")
        with tempfile.TemporaryDirectory() as scratch:
            return check_pages.Runner(self.root, self.root / "bin", scratch).check_page("docs/a.md")

    def assert_wrong(self, wrong, text):
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn(text, wrong[0])

    def test_a_block_needs_a_mark(self):
        for language in ("sh", "cpp", "cmake", "python"):
            self.assert_wrong(self.run_page("x", language=language), "docs/a.md:3: the")
        self.assertEqual(self.run_page("output of a program", language=""), [])

    def test_a_mark_directly_precedes_its_block(self):
        self.page("<!-- test: run -->\nA sentence.\n```sh\ntrue\n```\n")
        self.assertEqual(read_page(self.root / "docs" / "a.md").blocks[0].mark, "")

    def test_unknown_marks_and_reasons_are_refused(self):
        self.assert_wrong(self.run_page("true", "sometimes"), "the mark 'sometimes'")
        self.assert_wrong(self.run_page("true", "not here: too lazy"), "is no reason")

    def test_a_block_runs(self):
        self.assertEqual(self.run_page("resnet-train -b 3\ntest -d /data/flowers/train", "run"), [])
        self.assert_wrong(self.run_page("resnet-train fail | cat", "run"), "exit code 3")
        self.assertEqual(self.run_page("resnet-train fail", "run; exit 3"), [])
        self.assert_wrong(self.run_page("raise SystemExit(4)", "run", "python"), "exit code 4")

    def test_replacements(self):
        self.assertEqual(self.run_page("exit 5", "run; 5 => 0"), [])
        self.assert_wrong(self.run_page("exit 0", "run; 5 => 0"), "which does not stand in the block")

    def test_setup_runs_before_what_follows(self):
        self.page("<!-- test setup: echo 1 >file -->\n<!-- test: run -->\n```sh\ntest -s file\n```\n")
        with tempfile.TemporaryDirectory() as scratch:
            self.assertEqual(check_pages.Runner(self.root, self.root / "bin", scratch).check_page("docs/a.md"), [])

    def test_flags_and_commands_exist_even_in_blocks_that_do_not_run(self):
        mark = "not here: hours"
        self.assertEqual(self.run_page("cp tests/none x", mark), [])
        self.assertEqual(self.run_page("mpirun -n 2 resnet-train --batch-size 3 \\\n  -b=2", mark), [])
        self.assert_wrong(self.run_page("RANK=0 resnet-train --batch 3", mark), "no flag --batch")
        self.assert_wrong(self.run_page("build/release/bin/resnet-bench", mark), "does not exist")
        self.assert_wrong(self.run_page("tools/none", mark), "does not exist")

    def test_flags_within_a_sentence_exist(self):
        def wrong_with(text):
            self.page(text)
            with tempfile.TemporaryDirectory() as scratch:
                return check_pages.Runner(self.root, self.root / "bin", scratch).check_page("docs/a.md")

        self.assertEqual(wrong_with("`--batch-size` as in `resnet-train -b 3`, `cmake --build x`\n"), [])
        self.assert_wrong(wrong_with("a\n`--batch`\n"), "docs/a.md:2: no command and no script of ours has the flag")
        self.assert_wrong(wrong_with("`resnet-train --batch 3`\n"), "no flag --batch")
        self.assertEqual(wrong_with("`docs/a.md`, `docs/*.md`, `docs/NAME.md`, `engine.h`\n"), [])
        self.assert_wrong(wrong_with("`docs/b.md`\n"), "there is no file docs/b.md")

    def test_a_block_stands_in_its_file(self):
        (self.root / "a.cpp").write_text("int a;\nint b;\nint c;\n")
        self.assertEqual(self.run_page("int b;\nint c;", "same as a.cpp", "cpp"), [])
        self.assert_wrong(self.run_page("int b;\nint d;", "same as a.cpp", "cpp"), "line by line")
        self.assert_wrong(self.run_page("int b;", "same as b.cpp", "cpp"), "there is no b.cpp")

    def test_a_block_is_run_by_its_test(self):
        (self.root / "test.sh").write_text("resnet-train -b 3\n")
        self.assertEqual(self.run_page("build/release/bin/resnet-train -b 4", "run by test.sh"), [])
        self.assert_wrong(self.run_page("other -b 4", "run by test.sh"), "does not mention 'other'")

    def test_links(self):
        self.page("# A b, `c`!\n## Twice\n## Twice\n"
                  "[x](#a-b-c) [y](README.md#docs) [z](#twice-1) [w](https://example.org)\n")
        self.assertEqual(check_pages.check_links(self.root), [])
        self.page("[x](none.md)\n")
        self.assert_wrong(check_pages.check_links(self.root), "docs/a.md:1: the link to none.md leads nowhere")
        self.page("[x](README.md#none)\n")
        self.assert_wrong(check_pages.check_links(self.root), "no heading #none")
        self.page("```\n[x](none.md)\n```\n`[y](none.md)`\n")
        self.assertEqual(check_pages.check_links(self.root), [])

    def test_every_page_is_in_the_index(self):
        self.page("# A\n")
        (self.root / "docs" / "b.md").write_text("# B\n")
        self.assert_wrong(check_pages.check_links(self.root), "does not mention b.md")


if __name__ == "__main__":
    unittest.main()
