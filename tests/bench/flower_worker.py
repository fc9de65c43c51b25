"""Flower's own SecAgg+ functions, unchanged, on request; runs in the environment of the peer (flwr 1.41.0).

Reads lines "client N" or "server N DROPPED" and answers each with the CPU milliseconds that it took.  A complete graph:
every client masks with every other.  Key agreement, serialisation and network are not counted.  Its masks come from a
seed of 32 bits (flwrlabs/flower issue 7522), so its speed is that of an insecure generator.
"""

import os
import sys
import time

import numpy as np
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

MODULUS, CLIP, LEVELS = 1 << 32, 8.0, 1 << 22


def client(update, n):
    """Quantise and mask one update."""
    size = len(update[0])
    masked = [a.astype(np.int64) for a in quantize(update, CLIP, LEVELS)]
    for _ in range(n):
        mask = pseudo_rand_gen(os.urandom(32), MODULUS, [(size,)])
        masked = [a + b for a, b in zip(masked, mask, strict=True)]
    return [np.mod(a, MODULUS) for a in masked]


def server(size, n, dropped):
    """Add up what the survivors sent, and take off every mask that does not cancel."""
    total, masked = [np.zeros(size, np.int64)], [np.ones(size, np.int64)]
    for _ in range(n - dropped):
        total = [a + b for a, b in zip(total, masked, strict=True)]
    for _ in range(n - dropped + dropped * (n - dropped)):
        mask = pseudo_rand_gen(os.urandom(32), MODULUS, [(size,)])
        total = [a - b for a, b in zip(total, mask, strict=True)]
    dequantize([np.mod(a, MODULUS) for a in total], CLIP, LEVELS)


def main():
    """Answer one line after the other."""
    size = int(sys.argv[1])
    update = [np.random.default_rng(0).standard_normal(size).astype(np.float32)]
    print("ready", flush=True)
    for line in sys.stdin:
        what, *numbers = line.split()
        start = time.process_time()
        client(update, int(numbers[0])) if what == "client" else server(size, *map(int, numbers))
        print(1e3 * (time.process_time() - start), flush=True)


if __name__ == "__main__":
    main()
