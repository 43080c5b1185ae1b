"""Is the engine as fast as it was? Decides between two measurements on machines of the same type.

Both sides carry, for each round, a rate and the time of two fixed pieces of work (arithmetic, copies), which no change of
the engine moves. A rate times such a time does not depend on how fast the machine was at the moment. A training step lies
somewhere between arithmetic and copies, so a cell is called slower or faster only if it is so on both scales.
"""

import math
import statistics

# Ratios of one binary to itself on virtual machines stay within this, whatever the range over a few rounds says.
LEAST_THRESHOLD = 0.08
# With a threshold above this, "neither slower nor faster" is no news.
LARGEST_THRESHOLD = 0.25
SCALES = ("compute_s", "copy_s")


def describe_type(machine):
    return f"{machine['processor']} (family/model {machine['family_model']}, {machine['processors']} processors)"


def why_incomparable(reference, here):
    """A sentence if the machines are of different types, None otherwise."""
    same = all(reference[key] == here[key] for key in ("processor", "family_model", "processors", "isa"))
    if same:
        return None
    return (
        f"was measured on {describe_type(reference)}, this is {describe_type(here)} or has other instructions: "
        "speeds of different machines cannot be compared; measure a base here with bench/compare"
    )


def normalised(rates, gauges, scale):
    return [rate * gauge[scale] for rate, gauge in zip(rates, gauges)]


def spread(values):
    """Half the range, relative to the median; of five rounds and more without the extremes, which are another's doing."""
    inner = sorted(values)[1:-1] if len(values) >= 5 else values
    return (max(inner) - min(inner)) / (2 * statistics.median(values))


def compare(reference, now):
    """{"ratio", "ratio_range", "threshold", "verdict"} of two {"rates": [...], "gauges": [{"compute_s", "copy_s"}, ...]}.

    The ratio is now to reference, above 1 is faster; its range is that of the two scales. The threshold is twice the
    noise of both measurements, at least LEAST_THRESHOLD. "unsure": so noisy that a change would not have been seen.
    """
    ratios, noise = [], 0.0
    for scale in SCALES:
        before, after = (normalised(side["rates"], side["gauges"], scale) for side in (reference, now))
        ratios.append(statistics.median(after) / statistics.median(before))
        noise = max(noise, math.hypot(spread(before), spread(after)))
    threshold = max(LEAST_THRESHOLD, 2 * noise)
    low, high = min(ratios), max(ratios)
    # The same factor up and down: 10% slower is 1/1.1.
    verdict = "slower" if high < 1 / (1 + threshold) else "faster" if low > 1 + threshold else "equal"
    if verdict == "equal" and threshold > LARGEST_THRESHOLD:
        verdict = "unsure"
    return {"ratio": math.sqrt(low * high), "ratio_range": [low, high], "threshold": threshold, "verdict": verdict}


def samples(report):
    """The side of compare() that an entry of a results file is."""
    return {"rates": [r["img_per_s"] for r in report["engine"]["rounds"]], "gauges": [r["calibration"] for r in report["noise"]]}
