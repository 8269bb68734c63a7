import Tensors

/// Everything random in a run as a function of its seed: nothing depends on what happened before, so that a resumed run, a
/// retried training and an undisturbed run see the same numbers.
struct RunRandomness: Sendable {
    let seed: UInt64

    /// The clients of a round, in ascending order: `count` of `clients`, without replacement, uniformly.
    func clients(round: Int, count: Int, of clients: Int) -> [Int] {
        guard count < clients else { return Array(0..<clients) }
        var generator = SeededGenerator(seed: seed, purpose: "clients of a round", UInt32(truncatingIfNeeded: round))
        return generator.permutation(clients).prefix(count).sorted()
    }

    /// The seed of one client's local training in a round (shuffling, dropout), whoever does it and however often.
    func training(round: Int, client: Int) -> UInt64 {
        var generator = SeededGenerator(
            seed: seed, purpose: "local training", UInt32(truncatingIfNeeded: round),
            UInt32(truncatingIfNeeded: client))
        return generator.next()
    }

    /// The seed of a training for the comparison.
    func comparison(_ reference: RunEvent.Reference) -> UInt64 {
        var generator = SeededGenerator(seed: seed, purpose: "comparison: " + reference.rawValue)
        return generator.next()
    }
}
