"""What one line of the comparison is: a net, its images, a mode, a precision and a number of threads."""

from dataclasses import dataclass

MODES, PRECISIONS = ("train", "inference"), ("fp32", "bf16")
# Model -> (image size, batch) of the cells that are measured when none are named.
SETTINGS = {
    "resnet20": [(32, 128)],
    "resnet18_cifar": [(32, 128)],
    "resnet18": [(224, 16), (224, 32)],
    "resnet50": [(224, 16), (224, 32)],
}
GPU_SETTINGS = SETTINGS | {"resnet18": [(224, 256)], "resnet50": [(224, 256)]}
IMAGE_SIZE = {model: settings[0][0] for model, settings in SETTINGS.items()}
SPELLING = "MODEL[@SIZE[xBATCH]][:MODE[:PRECISION]]"


class UnknownCell(Exception):
    pass


@dataclass(frozen=True)
class Cell:
    model: str
    image_size: int
    batch: int
    mode: str
    precision: str
    threads: int

    def __str__(self):
        return f"{self.model}@{self.image_size}x{self.batch} {self.mode} {self.precision}, {self.threads} thread{'s' * (self.threads > 1)}"


def _settings_of(text, pattern, known):
    """The (model, image size, batch) that MODEL[@SIZE[xBATCH]] means."""
    model, _, rest = text.partition("@")
    if model not in known:
        raise UnknownCell(f"'{model}' in '{pattern}' is none of {', '.join(known)}")
    if not rest:
        return [(model, size, batch) for size, batch in known[model]]
    numbers = rest.split("x")
    if len(numbers) > 2 or not all(number.isdigit() and int(number) > 0 for number in numbers):
        raise UnknownCell(f"'{rest}' in '{pattern}' is no SIZE or SIZExBATCH, expected numbers such as 224x32")
    size = int(numbers[0])
    batches = [int(numbers[1])] if len(numbers) == 2 else [b for s, b in known[model] if s == size] or [known[model][0][1]]
    return [(model, size, batch) for batch in batches]


def select(patterns, threads, known=SETTINGS):
    """Every cell that one of the patterns means, on each of the thread counts, in this order and once."""
    cells = []
    for pattern in patterns or known:
        parts = pattern.split(":")
        if len(parts) > 3:
            raise UnknownCell(f"'{pattern}' has {len(parts)} parts, expected {SPELLING}")
        choices = []
        for part, names in zip(parts[1:] + [None] * (3 - len(parts)), (MODES, PRECISIONS)):
            if part is not None and part not in names:
                raise UnknownCell(f"'{part}' in '{pattern}' is none of {', '.join(names)}")
            choices.append(names if part is None else (part,))
        for count in threads:
            for setting in _settings_of(parts[0], pattern, known):
                cells += [Cell(*setting, mode, precision, count) for mode in choices[0] for precision in choices[1]]
    return list(dict.fromkeys(cells))


def cell_of(report, result):
    """The cell that an entry of a results file is about. The first files have threads and size elsewhere."""
    return Cell(
        report["model"],
        report.get("image_size") or report["engine"]["start"]["image_size"],
        report["batch"],
        report["mode"],
        report["precision"],
        report.get("threads") or result["threads"],
    )
