import Tensors

/// The server's side of a round: averages checked deltas and moves the weights, as the settings say.
public struct Aggregator: Sendable {
    public var rule: any AggregationRule
    public var optimizer: any ServerOptimizer
    public var clipping: NormClipping?

    public init(rule: any AggregationRule, optimizer: any ServerOptimizer, clipping: NormClipping? = nil) {
        self.rule = rule
        self.optimizer = optimizer
        self.clipping = clipping
    }

    /// Begins a round's average.
    /// - Parameters:
    ///   - clients: numbers of the clients that were asked.
    ///   - totalExamples: of all their shards, where each of them will answer for its whole shard or the round fails;
    ///     `nil` where less may count.
    ///   - shelf: where deltas wait; empty.
    public func average(of clients: [Int], totalExamples: Int?, on shelf: DeltaShelf) -> RoundAverage {
        RoundAverage(rule: rule, clipping: clipping, clients: clients, totalExamples: totalExamples, shelf: shelf)
    }

    /// Shapes: weights `[parameters]`, average `[parameters]` → new weights `[parameters]`. Numbers in `buffers`, such as
    /// the running statistics of batch_norm, become the clients' average: no server optimiser changes them.
    /// - Returns: the new weights, and the Euclidean norm of the averaged delta.
    /// - Throws: `.notFinite` when the step leaves the range of float32.
    public mutating func step(
        _ weights: [Float], average: [Double], buffers: [Range<Int>] = []
    ) throws(DeMLError) -> (weights: [Float], updateNorm: Double) {
        var moved = weights
        optimizer.step(&moved, average: average)
        for index in buffers.joined() { moved[index] = Float(Double(weights[index]) + average[index]) }
        guard moved.squaredNorm.isFinite else {
            throw DeMLError(
                .notFinite, "the averaged model contains NaN or infinity",
                hint: "a smaller learning_rate or server_learning_rate may help")
        }
        return (moved, average.reduce(0) { $0 + $1 * $1 }.squareRoot())
    }
}
