"""Makes the constants of AggregationTests.swift, with exact fractions: python3 Tests/AggregationTests/Reference/aggregation.py

Client k of 5 has examples n_k = 100, 50, 250, 1, 99; element i of its delta is ((37 i + 11 k) mod 97 - 48) / 64, element i of
the weights ((29 i) mod 31 - 15) / 16: all exact in float32. Printed are some elements of the weights after three rounds of
server steps, in which the deltas of round r are those above times 2^-r.
"""
from fractions import Fraction

SIZES = [100, 50, 250, 1, 99]
SHOWN = [0, 1, 7, 100, 999]
COUNT = 1000


def delta(client, index):
    return Fraction((37 * index + 11 * client) % 97 - 48, 64)


def average(index):
    return sum(n * delta(k, index) for k, n in enumerate(SIZES)) / sum(SIZES)


def clipped_average(index, norm):
    total = Fraction(0)
    for client, size in enumerate(SIZES):
        length = float(sum(delta(client, i) ** 2 for i in range(COUNT))) ** 0.5
        total += size * delta(client, index) * Fraction(min(1.0, norm / length))
    return total / sum(SIZES)


def steps(index, rate, momentum, nesterov):
    weight = Fraction((29 * index) % 31 - 15, 16)
    velocity = Fraction(0)
    for round in range(3):
        gradient = average(index) / 2**round
        velocity = momentum * velocity + gradient
        weight += rate * (gradient + momentum * velocity if nesterov else velocity)
    return weight


def show(name, value):
    print(f"{name}: [{', '.join(f'{float(value(i)):.9g}' for i in SHOWN)}]")


show("average", average)
show("clipped to 5", lambda i: clipped_average(i, 5.0))
show("plain, rate 1", lambda i: steps(i, Fraction(1), Fraction(0), False))
show("plain, rate 1/2", lambda i: steps(i, Fraction(1, 2), Fraction(0), False))
show("momentum 0.9", lambda i: steps(i, Fraction(1), Fraction(9, 10), False))
show("Nesterov 0.9", lambda i: steps(i, Fraction(1), Fraction(9, 10), True))
