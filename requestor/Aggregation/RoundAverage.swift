import Tensors

/// The average of one round, on its way: takes deltas in any order and adds them in the order of their clients, so that the
/// same deltas give the same bytes.
///
/// A delta that comes before its turn waits on a ``DeltaShelf``; so do all where the rule needs them together.
public struct RoundAverage: Sendable {
    private let rule: any AggregationRule
    private let clipping: NormClipping?
    private let clients: [Int]
    private var next = 0
    private var stream: (any AverageStream)?
    package private(set) var shelf: DeltaShelf
    /// Deltas that were taken.
    public private(set) var count = 0

    /// - Parameters:
    ///   - clients: numbers of the clients of the round.
    ///   - totalExamples: of all their shards, where each of them will answer for its whole shard or the round fails.
    ///   - shelf: where deltas wait; empty.
    init(
        rule: any AggregationRule, clipping: NormClipping?, clients: [Int], totalExamples: Int?, shelf: DeltaShelf
    ) {
        self.rule = rule
        self.clipping = clipping
        self.clients = clients.sorted()
        self.shelf = shelf
        stream = rule.stream(AggregationRound(parameters: shelf.parameters, totalExamples: totalExamples))
    }

    /// Takes a client's delta, which has passed ``Update/check(parameters:maximumNorm:)``, once a client.
    /// - Throws: what a ``DeltaShelf`` throws.
    public mutating func add(_ update: Update) throws(DeMLError) {
        count += 1
        let update = clipping?.clipped(update) ?? update
        guard stream != nil, next < clients.count, clients[next] == update.client else { return try shelf.put(update) }
        stream?.add(update)
        next += 1
        while next < clients.count, let waiting = try shelf.take(clients[next]) {
            stream?.add(waiting)
            next += 1
        }
    }

    /// The average `[parameters]`, once all deltas that count are there.
    public consuming func finish() throws(DeMLError) -> [Double] {
        guard count > 0 else { throw DeMLError(.internal, "there are no deltas to average") }
        guard let stream else { return try rule.average(shelf) }
        guard next == clients.count else {
            throw DeMLError(.internal, "\(clients.count - next) of \(clients.count) deltas are missing in the average")
        }
        return stream.finish()
    }
}
