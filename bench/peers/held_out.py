"""Which images `resnet-train --val-split` holds out, for programs that have to train on the same ones.

engine/random.h says where the numbers come from: Philox4x32-10 (Salmon et al., SC 2011), Lemire's bounded integers, Fisher
and Yates. The order of class c is that of (seed, epoch c, purpose kValSplit); the first of it are held out.
"""

_VAL_SPLIT = 4  # purpose::kValSplit
_MASK = 0xFFFFFFFF


def _philox4x32(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = product1 >> 32 ^ c1 ^ k0, product1 & _MASK, product0 >> 32 ^ c3 ^ k1, product0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def _numbers(seed, epoch, purpose):
    key = _philox4x32((epoch & _MASK, epoch >> 32, purpose, 0), (seed & _MASK, seed >> 32))[:2]
    block = 0
    while True:
        yield from _philox4x32((block & _MASK, block >> 32, 0, 0), key)
        block += 1


def random_permutation(n, seed, epoch, purpose):
    numbers = _numbers(seed, epoch, purpose)
    order = list(range(n))
    for left in range(n, 1, -1):
        product = next(numbers) * left
        if product & _MASK < left:
            while product & _MASK < (1 << 32) % left:
                product = next(numbers) * left
        other = product >> 32
        order[left - 1], order[other] = order[other], order[left - 1]
    return order


def held_out(class_size, share, seed, class_index):
    """The positions, among the `class_size` images of a class in the order of their names, of the `share` held out."""
    return set(random_permutation(class_size, seed, class_index, _VAL_SPLIT)[:share])
