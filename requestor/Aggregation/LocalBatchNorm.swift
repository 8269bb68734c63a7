import Tensors

/// FedBN: what batch_norm has learned and counted stays with each client, and is averaged with nobody's.
///
/// Li, Jiang, Zhang, Kamp, Dou: "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021,
/// arXiv 2102.07623, algorithm 1: γ, β and the running statistics of each client k go on from where its own last training
/// left them; all other parameters are averaged as ever.
///
///     client k trains from   (shared parameters, its own batch_norm)
///     its batch_norm is then what it was plus its delta; the rest of the delta goes into the average
///
/// Home keeps what is each client's, since the machine that trains for it may be another in every round. Where a client
/// takes part for the first time it begins with the mean of those that have.
///
/// The shared model, which is measured and saved, has that mean for its batch_norm, weighted by examples: what a client
/// would be given that nobody knows yet. A client's own model is the shared one with its own batch_norm.
public struct LocalBatchNorm: Sendable, Equatable {
    /// Where among the model's parameters those are that stay.
    public let ranges: [Range<Int>]
    /// What they are, one after the other, by client; of those that have trained.
    public private(set) var values: [Int: [Float]] = [:]

    public init(_ ranges: [Range<Int>]) {
        self.ranges = ranges
    }

    private var count: Int { ranges.reduce(0) { $0 + $1.count } }

    /// Shapes: `[parameters]` → `[parameters]`. What a client begins with; nil where that is the shared model.
    public func parameters(of client: Int, shared: [Float]) -> [Float]? {
        values[client].map { replaced(shared, with: $0) }
    }

    private func replaced(_ parameters: [Float], with own: [Float]) -> [Float] {
        var parameters = parameters
        for (index, value) in zip(ranges.joined(), own) { parameters[index] = value }
        return parameters
    }

    /// The part of a delta that is averaged: zeros where it stays with its client.
    public func shared(_ update: Update) -> Update {
        Update(
            client: update.client, examples: update.examples,
            values: replaced(update.values, with: [Float](repeating: 0, count: count)), workDone: update.workDone)
    }

    /// Keeps what stays of a client's delta.
    /// - Parameter parameters: `[parameters]`, of the shared model that the round began with.
    public mutating func keep(_ update: Update, from parameters: [Float]) {
        let start = self.parameters(of: update.client, shared: parameters) ?? parameters
        values[update.client] = ranges.joined().map { start[$0] + update.values[$0] }
    }

    /// The shared model, `[parameters]`, with the clients' mean for its batch_norm: summed in float64 in the order of their
    /// numbers.
    /// - Parameter examples: of a client, its weight.
    public func withMean(_ parameters: [Float], examples: (Int) -> Int) -> [Float] {
        let clients = values.keys.sorted()
        let total = clients.reduce(0.0) { $0 + Double(examples($1)) }
        guard total > 0 else { return parameters }
        var sums = [Double](repeating: 0, count: count)
        for client in clients {
            let share = Double(examples(client)) / total
            for (place, value) in (values[client] ?? []).enumerated() { sums[place] += share * Double(value) }
        }
        return replaced(parameters, with: sums.map { Float($0) })
    }
}

// MARK: - In a checkpoint

extension LocalBatchNorm {
    private static let clientsName = "clients"
    private static let valuesName = "values"

    /// `clients` I64 `[n]`, ascending, and `values` F32 `[n, numbers]`.
    package func safetensors() -> Safetensors {
        let clients = values.keys.sorted()
        return Safetensors(tensors: [
            (Self.clientsName, Tensor(shape: [clients.count], int64s: clients.map { Int64($0) })),
            (
                Self.valuesName,
                Tensor(shape: [clients.count, count], floats: clients.flatMap { values[$0] ?? [] })
            ),
        ])
    }

    /// Takes what ``safetensors()`` gave.
    package mutating func take(_ file: Safetensors) throws(DeMLError) {
        guard let clients = file[Self.clientsName], let stored = file[Self.valuesName], clients.dtype == .i64,
            stored.dtype == .f32, stored.shape == [clients.count, count]
        else { throw DeMLError(.shape, "it does not hold the batch_norm of the clients of this model") }
        let numbers = try stored.floats()
        let names = clients.withUnsafeBytes { bytes in
            (0..<clients.count).map { Int(bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)) }
        }
        values = [:]
        for (place, client) in names.enumerated() {
            values[client] = Array(numbers[place * count..<(place + 1) * count])
        }
    }
}
