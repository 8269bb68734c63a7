/// How the deltas of a round become one. A rule is a file of its own, with the paper it comes from on top.
///
/// To add one: write the file, give it a setting in ``RunConfiguration`` and use it in ``Aggregator``.
public protocol AggregationRule: Sendable {
    /// Shapes: every update `[parameters]` → `[parameters]`. Updates have been checked; there is at least one. The result
    /// depends on the updates alone, not on their order.
    func average(_ updates: [Update]) -> [Double]
}

/// What the server does with the averaged delta. It may have a state, which is part of every checkpoint.
public protocol ServerOptimizer: Sendable {
    /// Moves `weights` `[parameters]` by `average` `[parameters]`.
    mutating func step(_ weights: inout [Float], average: [Double])

    /// Everything the next step depends on, by name, each `[parameters]`; empty before the first step and where there is
    /// none.
    var state: [String: [Double]] { get set }
}
