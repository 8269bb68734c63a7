import Tensors

/// FederatedAveraging: the mean of the clients' deltas, weighted by their numbers of examples.
///
/// McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks from Decentralized
/// Data", AISTATS 2017, algorithm 1. The paper averages weights; as every client starts from the same weights, averaging
/// deltas is the same, and lets the server treat the average as a gradient.
///
///     average = Σ_k (n_k / n) delta_k,   n = Σ_k n_k
///
/// Where clients have done only a share s_k of their steps, the sum is normalised as in Wang, Liu, Liang, Joshi, Poor:
/// "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization" (FedNova), NeurIPS 2020,
/// arXiv 2007.07481, equations (6) and (7), with a_k = 1 a step as for plain SGD and steps counted in units of the
/// client's whole training:
///
///     average = (Σ_k (n_k / n) s_k) · Σ_k (n_k / n) delta_k / s_k
///
/// A delta counts as what it is a share of, and the step is as long as the work that was done: who is cut short bends the
/// average neither towards the others nor by a first step that stands for a whole training. With every s_k = 1 this is
/// the sum above, to the bit.
///
/// So a delta of few steps counts for many, and its noise and what is wrong with it grow as well: ``NormClipping`` bounds
/// what is left after the division. With momentum the paper's ‖a_k‖₁ grows faster than the steps, as a gradient goes on in
/// those that follow; a first step would be made up to 1/(1 - momentum) times longer yet. We count steps all the same: a
/// client that is cut short then counts for a little less, which is the safer side to err on.
///
/// Every element is summed in float64 over the clients in order of their numbers, whatever order they came in: same
/// deltas, same bytes.
public struct FederatedAveraging: AggregationRule {
    public init() {}

    /// `n` must be known, and every s_k be 1: the terms are added with their final shares, so that nothing is rounded twice.
    public func stream(_ round: AggregationRound) -> (any AverageStream)? {
        round.totalExamples.map { WeightedSum(parameters: round.parameters, totalExamples: Double($0), workDone: 1) }
    }

    /// Shapes: every delta `[parameters]` → `[parameters]`.
    public func average(_ deltas: DeltaShelf) throws(DeMLError) -> [Double] {
        let clients = deltas.clients
        let total = clients.reduce(0.0) { $0 + Double(deltas.examples(of: $1)) }
        let done = clients.reduce(0.0) { $0 + Double(deltas.examples(of: $1)) * deltas.workDone(of: $1) } / total
        var sum = WeightedSum(parameters: deltas.parameters, totalExamples: total, workDone: done)
        for client in clients {
            if let update = try deltas.update(of: client) { sum.add(update) }
        }
        return sum.finish()
    }
}

/// `(Σ_k (n_k / n) s_k) · Σ_k (n_k / n) delta_k / s_k`, term by term.
private struct WeightedSum: AverageStream {
    private var sums: [Double]
    private let total: Double
    private let done: Double

    init(parameters: Int, totalExamples: Double, workDone: Double) {
        sums = [Double](repeating: 0, count: parameters)
        total = totalExamples
        done = workDone
    }

    mutating func add(_ update: Update) {
        precondition(update.values.count == sums.count, "deltas have as many values as the model has parameters")
        let share = Double(update.examples) / total * (done / update.workDone)
        sums.withUnsafeMutableBufferPointer { sums in
            update.values.withUnsafeBufferPointer { values in
                for index in values.indices { sums[index] += share * Double(values[index]) }
            }
        }
    }

    consuming func finish() -> [Double] { sums }
}
