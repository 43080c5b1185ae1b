#!/usr/bin/env python3
"""Kills resnet-train at random moments, lets it go on, and compares what comes out with the unbroken run, bit by bit.

One trial is one run of a few steps with a checkpoint after each, so that most of its time is saving. It is killed up to
six times, three of four times by SIGKILL, otherwise by a signal that it obeys, and started again by the same command
each time (`--resume auto`), with another number of workers. Trials need no supervision: one that wants anything but the
same command again, reports a damaged checkpoint, or ends in other bits than the unbroken run is counted against it.

    tests/train/kill_trials.py --program build/release/bin/resnet-train --trials 1000 --seed 1 -- --model-ema

Prints one JSON object; exit code 0 if no trial failed.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TINY = (
    "--shapes-train 64 --shapes-val 20 --batch-size 16 --epochs 3 --print-freq 3 --threads 1 --lr 0.02"
    " --train-crop-size 8 --checkpoint-steps 1 --checkpoint-hist 2 --deterministic"
).split()
MOST_KILLS = 6  # of one trial
GENTLE = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
STOPPED = 75
TIME_KEYS = ("ts", "img_per_s", "data_wait", "bound", "time", "seconds")  # of a line of metrics; other keys have to be equal
RESULT_KEYS = ("best_val_acc1", "best_step", "final_val_acc1", "final_val_loss", "final_train_loss", "steps", "epochs")
TIMEOUT = 120  # seconds for one start; longer is a hang


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="resnet-train")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    parser.add_argument("--minutes", type=float, help="begin no more trials after that")
    parser.add_argument("--folder", type=Path, help="where runs are made (default: a temporary folder)")
    parser.add_argument("--keep", type=Path, help="where to keep the folders of failed trials")
    parser.add_argument("more", nargs="*", help="flags of resnet-train, after --")
    return parser.parse_args()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def outcome(run):
    """What has to be equal: weights, optimiser, metrics and result."""
    files = {
        f"{name}/{file}": digest(run / "checkpoints" / name / file)
        for name in ("last", "best")
        for file in ("model.safetensors", "trainer.safetensors", "model_ema.safetensors")
        if file != "model_ema.safetensors" or (run / "checkpoints" / name / file).exists()
    }
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in metrics:
        for key in TIME_KEYS:
            line.pop(key, None)
    summary = json.loads((run / "summary.json").read_text())
    return files, metrics, {key: summary[key] for key in RESULT_KEYS}


class Trial:
    def __init__(self, options, folder, number, seconds):
        self.random = random.Random(f"{options.seed}/{number}")
        self.command = [str(options.program.resolve()), *TINY, *options.more]
        self.run = folder / f"trial-{number}"
        self.environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"))
        self.seconds = seconds
        self.kills = self.unfinished = 0
        self.problem = None

    def start(self):
        workers = str(self.random.randrange(3))
        command = [*self.command, "--output-dir", str(self.run), "--resume", "auto", "-j", workers]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, cwd=self.run.parent, text=True)

    def go(self, expected):
        while True:
            process = self.start()
            if self.kills < MOST_KILLS:
                time.sleep(self.random.random() * self.seconds)
                process.send_signal(signal.SIGKILL if self.random.random() < 0.75 else self.random.choice(GENTLE))
            try:
                _, messages = process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                self.problem = "hangs"
                return self
            if "passed over" in messages:
                self.problem = next(line for line in messages.splitlines() if "passed over" in line)
                return self
            if process.returncode == 0:
                break
            # A signal before the program handles signals ends it at once; that is as good as any other end.
            if process.returncode != STOPPED and -process.returncode not in (signal.SIGKILL, *GENTLE):
                self.problem = f"exit code {process.returncode}: {messages[-500:]}"
                return self
            self.kills += 1
            self.unfinished += any((self.run / "checkpoints").glob(".*.tmp-*"))
        try:
            found = outcome(self.run)
        except (OSError, ValueError, KeyError) as error:
            self.problem = f"incomplete: {error!r}"
            return self
        names = ("files", "metrics", "summary")
        self.problem = next((f"other {n}" for n, a, b in zip(names, found, expected) if a != b), None)
        return self


def main():
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="kill-trials-", dir=options.folder))
    try:
        start = time.monotonic()
        whole = Trial(options, folder, "whole", 0)
        whole.kills = MOST_KILLS
        process = whole.start()
        _, messages = process.communicate(timeout=TIMEOUT)
        if process.returncode != 0:
            sys.exit(f"the unbroken run ends with {process.returncode}: {messages}")
        expected, seconds = outcome(whole.run), time.monotonic() - start

        def trial(number):
            if options.minutes and time.monotonic() - start > 60 * options.minutes:
                return None
            result = Trial(options, folder, number, seconds).go(expected)
            if result.problem and options.keep:
                shutil.copytree(result.run, options.keep / result.run.name, dirs_exist_ok=True)
            shutil.rmtree(result.run, ignore_errors=True)
            return number, result

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            results = [done for done in pool.map(trial, range(options.trials)) if done]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    failures = {number: result.problem for number, result in results if result.problem}
    report = {
        "flags": [*TINY, *options.more],
        "seed": options.seed,
        "trials": len(results),
        "kills": sum(result.kills for _, result in results),
        "kills_in_a_save": sum(result.unfinished for _, result in results),
        "failed": len(failures),
        "failures": failures,
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(report, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
