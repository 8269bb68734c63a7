import Datasets
import Tensors

/// A division of a dataset into shard files.
public struct ShardRequest: Sendable {
    public var data: String
    public var parts: Int
    /// `iid`, `dirichlet:0.3`, `pathological:2`, `quantity:0.5`
    public var partition: String
    /// Folder for the shards, made if needed.
    public var output: String
    public var seed: UInt64
    public var labelColumn: String?
    public var testFraction: Double

    public init(
        data: String, parts: Int, partition: String = "iid", output: String, seed: UInt64 = 0,
        labelColumn: String? = nil, testFraction: Double = 0.2
    ) {
        self.data = data
        self.parts = parts
        self.partition = partition
        self.output = output
        self.seed = seed
        self.labelColumn = labelColumn
        self.testFraction = testFraction
    }
}

public struct ShardAnswer: Sendable {
    public var shards: ShardSet
    /// Name of the dataset.
    public var dataset: String
    public var partition: Partition
    public var folder: String
}

extension Application {
    /// Divides a dataset into shard files, as a run does by itself.
    public func shard(_ request: ShardRequest) throws -> ShardAnswer {
        guard request.parts >= 1 else { throw DeMLError(.usage, "--parts is to be 1 or more, not \(request.parts)") }
        let rule = try Partition(parsing: request.partition)
        let path = try paths.dataset(request.data, from: paths.workingFolder)
        let dataset = try Dataset(
            path: path,
            options: DatasetOptions(testFraction: request.testFraction, labelColumn: request.labelColumn))
        let folder = paths.resolved(request.output)
        let shards = try dataset.writeShards(to: folder, parts: request.parts, partition: rule, seed: request.seed)
        return ShardAnswer(shards: shards, dataset: dataset.name, partition: rule, folder: folder)
    }
}
