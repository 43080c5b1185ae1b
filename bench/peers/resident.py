"""A program of the comparison that stays in memory and works only when it is asked to."""

import json
import subprocess
import tempfile

import machine


class Failed(Exception):
    pass


class Resident:
    """Starts `command` (which warms up by itself) and keeps its first answer as `start`."""

    def __init__(self, name, command, env):
        self.name, self.command = name, [str(part) for part in command]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env
        )
        self.start = self._answer()
        self.rounds, self.trial = [], None

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            last = " | ".join(self.errors.read().strip().splitlines()[-3:])
            raise Failed(f"{self.name} ended with exit code {code}: {last or 'no message'}; command: {' '.join(self.command)}")
        return json.loads(line)

    def run(self, seconds):
        try:
            self.process.stdin.write(f"run {seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died between two turns: _answer() says why
        return self._answer()

    def cpu_seconds(self):
        return machine.process_seconds(self.process.pid)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.errors.close()
