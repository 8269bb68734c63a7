import NeuralNetwork
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What `shards.json` in a folder of shards says.
public struct ShardSet: Sendable, Codable, Equatable {
    public struct Shard: Sendable, Codable, Equatable {
        /// Name of the file within the folder.
        public var file: String
        public var examples: Int
        /// Size of the file.
        public var bytes: Int
        /// SHA-256 of the file's bytes as stored.
        public var sha256: String
    }

    public var dataset: String
    public var partition: Partition
    public var seed: UInt64
    public var classes: Int?
    public var shards: [Shard]
    /// Name of the file with the test set, if one was written.
    public var test: String?
    public var labels: LabelDistribution?

    enum CodingKeys: String, CodingKey {
        case dataset, partition, seed, classes, shards, test, labels
    }

    /// Name of the file of shard `index` of `count`: `shard-003.safetensors.gz`.
    public static func fileName(_ index: Int, of count: Int) -> String {
        let digits = max(3, String(max(count - 1, 0)).count)
        let number = String(index)
        return "shard-" + String(repeating: "0", count: max(0, digits - number.count)) + number + ".safetensors.gz"
    }
}

extension Dataset {
    /// Writes the shard of the given training examples: `x` and `y`, and in the metadata the dataset's name and schema.
    /// Returns the SHA-256 of the file.
    public func writeShard(_ indices: [Int], to path: String) throws(DeMLError) -> String {
        try Safetensors(tensors: [("x", train.x), ("y", train.y)], metadata: metadata)
            .write(to: path, rows: indices, deflater: deflater)
    }

    /// A table is large, and numbers among zeros and ones take zlib long. Of pictures and texts zlib makes less.
    private var deflater: BlockDeflater {
        if case .table = schema.features { .fast } else { .zlib }
    }

    /// The test set as a shard; nil where there is none.
    public var testShard: Safetensors? {
        test.map { Safetensors(tensors: [("x", $0.x), ("y", $0.y)], metadata: metadata) }
    }

    private var metadata: [String: String] { ["deml.dataset": name, Schema.key: schema.canonicalJSON] }

    /// How many examples of each class each part has; nil for regression.
    public func labelDistribution(_ parts: [[Int]]) throws(DeMLError) -> LabelDistribution? {
        guard let classes, !labelsTokens else { return nil }
        let labels = try trainLabels()
        var counts: [[Int]] = []
        for part in parts {
            var row = [Int](repeating: 0, count: classes)
            for index in part { row[labels[index]] += 1 }
            counts.append(row)
        }
        return LabelDistribution(counts: counts, classNames: classNames)
    }

    /// Writes one shard file for each part, the test set and `shards.json` into `folder`, which is created.
    /// The bytes of the shards depend on the examples, the partition and the seed alone.
    @discardableResult
    public func writeShards(
        to folder: String, parts: Int, partition: Partition, seed: UInt64, includeTest: Bool = true,
        progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
    ) throws(DeMLError) -> ShardSet {
        let divided = try self.partition(partition, parts: parts, seed: seed)
        try Files.createDirectory(folder)
        var shards: [ShardSet.Shard] = []
        for (index, indices) in divided.enumerated() {
            let file = ShardSet.fileName(index, of: parts)
            let path = Files.path(folder, file)
            let sha256 = try writeShard(indices, to: path)
            shards.append(
                ShardSet.Shard(file: file, examples: indices.count, bytes: Files.size(of: path) ?? 0, sha256: sha256))
            progress(index + 1, parts)
        }
        var set = ShardSet(
            dataset: name, partition: partition, seed: seed, classes: classes, shards: shards,
            labels: try labelDistribution(divided))
        if includeTest, let testShard {
            let file = "test.safetensors.gz"
            try testShard.write(to: Files.path(folder, file), deflater: deflater)
            set.test = file
        }
        try set.write(to: Files.path(folder, "shards.json"))
        return set
    }
}

extension ShardSet {
    func write(to path: String) throws(DeMLError) {
        let data: Data
        do {
            data = try jsonEncoder(isIndented: true).encode(self)
        } catch {
            throw DeMLError(.internal, "the list of shards cannot be encoded", place: path, cause: error)
        }
        try Files.writeAtomically([UInt8](data) + [UInt8(ascii: "\n")], to: path)
    }

    /// Reads the `shards.json` of a folder.
    public init(folder: String) throws(DeMLError) {
        let path = Files.path(folder, "shards.json")
        let bytes = try Files.read(path, maximumBytes: 64 << 20)
        do {
            self = try JSONDecoder().decode(ShardSet.self, from: Data(bytes))
        } catch {
            throw DeMLError(
                .malformed, "this is not the list of shards that deml shard writes", place: path, cause: error)
        }
    }
}
