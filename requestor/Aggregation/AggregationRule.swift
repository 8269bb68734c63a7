import Tensors

/// How the deltas of a round become one. A rule is a file of its own, with the paper it comes from on top.
///
/// A rule that needs each delta once takes them as they come, in ascending order of their clients, and keeps none: memory
/// is that of a few models, however many clients there are. A rule that needs all deltas of a coordinate at once (a median,
/// say) finds them on a ``DeltaShelf``, which lends them in blocks of coordinates.
///
/// To add one: write the file, give it a setting in ``RunConfiguration`` and use it in ``Aggregator``.
public protocol AggregationRule: Sendable {
    /// Begins an average that takes the deltas one by one; `nil` where the rule needs more than it can know by then.
    func stream(_ round: AggregationRound) -> (any AverageStream)?

    /// Shapes: every delta `[parameters]` → `[parameters]`. Deltas have been checked; there is at least one. The result
    /// depends on the deltas alone, and has the bytes that ``stream(_:)`` gives where it gives any.
    func average(_ deltas: DeltaShelf) throws(DeMLError) -> [Double]
}

extension AggregationRule {
    public func stream(_ round: AggregationRound) -> (any AverageStream)? { nil }
}

/// What is known of a round before its first delta is there.
public struct AggregationRound: Sendable, Equatable {
    /// Values of every delta.
    public var parameters: Int
    /// Examples of all the deltas that will come; `nil` where clients may be left out, or do a part of their work.
    public var totalExamples: Int?

    public init(parameters: Int, totalExamples: Int?) {
        self.parameters = parameters
        self.totalExamples = totalExamples
    }
}

/// An average on its way.
public protocol AverageStream: Sendable {
    /// Takes one delta `[parameters]`. They come in ascending order of their clients, each once.
    mutating func add(_ update: Update)

    /// The average `[parameters]`, after the last delta.
    consuming func finish() -> [Double]
}

/// What the server does with the averaged delta. It may have a state, which is part of every checkpoint.
public protocol ServerOptimizer: Sendable {
    /// Moves `weights` `[parameters]` by `average` `[parameters]`.
    mutating func step(_ weights: inout [Float], average: [Double])

    /// Everything the next step depends on, by name, each `[parameters]`; empty before the first step and where there is
    /// none.
    var state: [String: [Double]] { get set }
}
