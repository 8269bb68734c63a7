import NeuralNetwork
import Tensors

/// How rows are cut into shards: several for each machine, so that none is waited for long and little is lost when one goes;
/// no smaller than is worth a journey, no larger than a machine's memory and patience.
public struct ShardCut: Sendable, Equatable, Codable {
    /// Rows in all.
    public var rows: Int
    /// Rows of each shard; the last may have fewer.
    public var rowsPerShard: Int

    /// Shards that each machine gets, where there is enough to do.
    static let shardsPerMachine = 6
    /// Bytes of a shard at most, inputs and outputs each: what is lost with a machine, and what it must hold at once.
    static let mostBytes = 16 << 20
    /// Multiply-adds of a shard at most: about two minutes of a slow core.
    static let mostWork = 2e11
    /// Multiply-adds of a shard that is worth its journey, about a second of a core: work that gives a machine less than
    /// this is not cut further than one shard a machine.
    static let goodWork = 2e10
    /// Multiply-adds below which a job is nothing but its journey: fewer machines do as well.
    static let leastWork = 5e9

    public init(rows: Int, rowsPerShard: Int) {
        self.rows = rows
        self.rowsPerShard = max(1, rowsPerShard)
    }

    /// - Parameters:
    ///   - rows: at least 1.
    ///   - inputBytes: of a row, as it is sent.
    ///   - machines: that work at once.
    public init(rows: Int, inputBytes: Int, model: ModelDescription, machines: Int) {
        let outputs = 4 * model.outputShape.reduce(1, *)
        let rowBytes = max(1, max(inputBytes, outputs))
        let rowWork = max(1, Double(model.multiplyAdds) + 4 * model.activationsPerExample)
        func part(_ shards: Int) -> Int { (rows + shards - 1) / shards }
        func fitting(_ work: Double) -> Int { Int(min(Double(rows), work / rowWork).rounded(.up)) }
        let machines = max(1, machines)
        let least = min(max(part(machines), fitting(Self.leastWork)), fitting(Self.goodWork))
        let most = max(1, min(Self.mostBytes / rowBytes, Int(min(1e15, Self.mostWork / rowWork))))
        let wanted = min(most, max(part(Self.shardsPerMachine * machines), least))
        // As many for each machine, so that all end together.
        let turns = part(wanted) / machines
        let even = turns > 0 ? [turns, turns + 1].map { part($0 * machines) }.first { $0 <= most } : nil
        self.init(rows: rows, rowsPerShard: even ?? wanted)
    }

    /// - Parameter rows: `[N, …input shape]`
    init(_ rows: Tensor, model: ModelDescription, machines: Int) {
        self.init(
            rows: rows.shape[0], inputBytes: rows.rowCount * rows.dtype.byteCount, model: model, machines: machines)
    }

    public var count: Int { (rows + rowsPerShard - 1) / rowsPerShard }

    /// The rows of a shard.
    public func range(_ shard: Int) -> Range<Int> {
        shard * rowsPerShard..<min(rows, (shard + 1) * rowsPerShard)
    }

    enum CodingKeys: String, CodingKey {
        case rows
        case rowsPerShard = "rows_per_shard"
    }
}
