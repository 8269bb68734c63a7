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
/// Every element is summed in float64 over the clients in order of their numbers, whatever order they came in: same
/// deltas, same bytes.
public struct FederatedAveraging: AggregationRule {
    public init() {}

    /// Shapes: every update `[parameters]` → `[parameters]`.
    public func average(_ updates: [Update]) -> [Double] {
        let updates = updates.sorted { $0.client < $1.client }
        guard let parameters = updates.first?.values.count else { return [] }
        let total = updates.reduce(0.0) { $0 + Double($1.examples) }
        let done = updates.reduce(0.0) { $0 + Double($1.examples) * $1.workDone } / total
        return [Double](unsafeUninitializedCapacity: parameters) { sums, initialised in
            sums.initialize(repeating: 0)
            // Blocks that stay in the cache while all clients are added: the order within an element is the clients'.
            let block = 4096
            for start in stride(from: 0, to: parameters, by: block) {
                let end = min(start + block, parameters)
                for update in updates {
                    let share = Double(update.examples) / total * (done / update.workDone)
                    update.values.withUnsafeBufferPointer { values in
                        for index in start..<end {
                            sums[index] += share * Double(values[index])
                        }
                    }
                }
            }
            initialised = parameters
        }
    }
}
