import Tensors

/// The server's side of a round: checks deltas, averages them and moves the weights, as the settings say.
public struct Aggregator: Sendable {
    public var rule: any AggregationRule
    public var optimizer: any ServerOptimizer
    public var clipping: NormClipping?
    /// Deltas with a larger norm are refused.
    public var maximumNorm: Double?

    public init(
        rule: any AggregationRule, optimizer: any ServerOptimizer, clipping: NormClipping? = nil,
        maximumNorm: Double? = nil
    ) {
        self.rule = rule
        self.optimizer = optimizer
        self.clipping = clipping
        self.maximumNorm = maximumNorm
    }

    public init(_ configuration: RunConfiguration) {
        self.init(
            rule: FederatedAveraging(),
            optimizer: ServerMomentum(
                learningRate: configuration.serverLearningRate, momentum: configuration.serverMomentum,
                isNesterov: configuration.serverNesterov),
            clipping: configuration.clipNorm.map(NormClipping.init(norm:)), maximumNorm: configuration.maxNorm)
    }

    /// Shapes: weights `[parameters]`, every update `[parameters]` → new weights `[parameters]`. The updates must have
    /// passed ``Update/check(parameters:maximumNorm:)``.
    /// - Returns: the new weights, and the Euclidean norm of the averaged delta.
    /// - Throws: `.notFinite` when the step leaves the range of float32.
    public mutating func step(
        _ weights: [Float], updates: [Update]
    ) throws(DeMLError) -> (weights: [Float], updateNorm: Double) {
        var updates = updates
        if let clipping {
            for index in updates.indices { updates[index] = clipping.clipped(updates[index]) }
        }
        let average = rule.average(updates)
        var moved = weights
        optimizer.step(&moved, average: average)
        guard moved.squaredNorm.isFinite else {
            throw DeMLError(
                .notFinite, "the averaged model contains NaN or infinity",
                hint: "a smaller learning_rate or server_learning_rate may help")
        }
        return (moved, average.reduce(0) { $0 + $1 * $1 }.squareRoot())
    }
}
