import Datasets
import Tensors

/// A division of a dataset into shard files.
public struct ShardRequest: Sendable {
    /// The data must be named.
    public var data: DataRequest
    /// Nil where the data says it: a natural partition.
    public var parts: Int?
    /// `iid`, `dirichlet:0.3`, `pathological:2`, `quantity:0.5`
    public var partition: String
    /// Folder for the shards, made if needed.
    public var output: String
    public var seed: UInt64

    public init(
        data: DataRequest, parts: Int?, partition: String = "iid", output: String, seed: UInt64 = 0
    ) {
        self.data = data
        self.parts = parts
        self.partition = partition
        self.output = output
        self.seed = seed
    }
}

public struct ShardAnswer: Sendable {
    public var shards: ShardSet
    /// Name of the dataset.
    public var dataset: String
    public var partition: Partition
    public var folder: String
    /// What was decided about the data.
    public var decisions: [Decision]
}

extension Application {
    /// Divides a dataset into shard files, as a run does by itself.
    public func shard(_ request: ShardRequest) throws -> ShardAnswer {
        if let parts = request.parts, parts < 1 {
            throw DeMLError(.usage, "--parts is to be 1 or more, not \(parts)")
        }
        let rule = try Partition(parsing: request.partition)
        guard request.parts != nil || rule.isNatural else {
            throw DeMLError(.usage, "it is not said how many shards there are to be", hint: "say --parts N")
        }
        guard let data = request.data.data else {
            throw DeMLError(.usage, "it is not said which data is to be divided")
        }
        let path = try paths.dataset(data, from: paths.workingFolder)
        var options = try request.data.options()
        // Nobody knows what model the shards are for: numbers are standardised as for a network of them.
        options.standardizes = request.data.standardize ?? true
        if case .byColumn(let column) = rule { options.groupColumn = column }
        let dataset = try Dataset(path: path, options: options)
        let folder = paths.resolved(request.output)
        let parts = try request.parts ?? dataset.clients(rule)
        let shards = try dataset.writeShards(to: folder, parts: parts, partition: rule, seed: request.seed)
        return ShardAnswer(
            shards: shards, dataset: dataset.name, partition: rule, folder: folder,
            decisions: dataset.decisions)
    }
}
