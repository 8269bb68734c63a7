import Datasets
import Tensors
import TestSupport
import Testing

@Suite struct PartitionTests {
    static let partitions: [Partition] = [
        .iid, .dirichlet(alpha: 0.001), .dirichlet(alpha: 0.1), .dirichlet(alpha: 1), .dirichlet(alpha: 1000),
        .pathological(shardsPerClient: 1), .pathological(shardsPerClient: 2), .pathological(shardsPerClient: 3),
        .quantity(skew: 0.001), .quantity(skew: 0.5), .quantity(skew: 100),
    ]

    /// Labels of which some are rare, as in the real world.
    private static func labels(_ count: Int, classes: Int) -> [Int] {
        (0..<count).map { ($0 &* $0 &* 31 / 7) % classes }
    }

    @Test(arguments: partitions)
    func everyIndexExactlyOnceAndNoPartEmpty(partition: Partition) throws {
        for count in [1, 2, 10, 97, 1000] {
            for classes in [1, 2, 10] {
                for parts in [1, 2, 3, 10, 97] {
                    for seed in [0, 1, 42] as [UInt64] {
                        let context =
                            "\(partition), \(count) examples, \(classes) classes, \(parts) parts, seed \(seed)"
                        let labels = Self.labels(count, classes: classes)
                        var pieces = parts
                        if case .pathological(let shards) = partition { pieces *= shards }
                        guard pieces <= count else {
                            let error = failure { _ = try partition.indices(labels: labels, parts: parts, seed: seed) }
                            #expect(error?.code == .usage, "\(context): an impossible division was not refused")
                            continue
                        }
                        let divided = try partition.indices(labels: labels, parts: parts, seed: seed)
                        #expect(divided.count == parts, "\(context)")
                        #expect(divided.allSatisfy { !$0.isEmpty }, "\(context): a part is empty")
                        #expect(divided.flatMap(\.self).sorted() == Array(0..<count), "\(context)")
                        #expect(
                            try partition.indices(labels: labels, parts: parts, seed: seed) == divided, "\(context)")
                    }
                }
            }
        }
    }

    /// The same on every machine and in every version, because runs are resumed and compared: these digests are of the
    /// first version and must not change.
    @Test(arguments: [
        (Partition.iid, "iid"), (.dirichlet(alpha: 0.3), "dirichlet"),
        (.pathological(shardsPerClient: 2), "pathological"),
        (.quantity(skew: 0.5), "quantity"),
    ])
    func divisionsAreFixed(partition: Partition, name: String) throws {
        let divided = try partition.indices(labels: Self.labels(1000, classes: 10), parts: 7, seed: 5)
        let text = divided.map { $0.map(String.init).joined(separator: ",") }.joined(separator: ";")
        #expect(sha256Hex(text.utf8) == Self.digests[name], "\(name)")
    }

    static let digests = [
        "iid": "c3e48a662e141c13d92dfeaaab478ca673d8dc6a45dcb4ae2eb99a517a0d549f",
        "dirichlet": "787f1b18820f9584f35719bce7ebe2670a8afb001e776f75a8551e1ae3e9ebe5",
        "pathological": "56486c31dddb0b6917b4ed4a7bd6f9cf8b79bacd3ffa932b210c0d9bbb398269",
        "quantity": "8c4f5023d68af77f07273bb0d252ba35db8e07515bb89d719f52e13f821ff6fe",
    ]

    @Test func seedsMatter() throws {
        let labels = Self.labels(100, classes: 10)
        for partition in Self.partitions where partition != .quantity(skew: 0.001) {
            let first = try partition.indices(labels: labels, parts: 5, seed: 1)
            #expect(try partition.indices(labels: labels, parts: 5, seed: 2) != first, "\(partition)")
        }
    }

    @Test func iidPartsAreEqual() throws {
        let sizes = try Partition.iid.indices(labels: Self.labels(1003, classes: 10), parts: 10, seed: 0).map(\.count)
        #expect(Set(sizes) == [100, 101])
    }

    @Test func pathologicalClientsSeeFewClasses() throws {
        let labels = (0..<60_000).map { $0 % 10 }
        let parts = try Partition.pathological(shardsPerClient: 2).indices(labels: labels, parts: 100, seed: 0)
        for part in parts {
            #expect(part.count == 600)
            #expect(Set(part.map { labels[$0] }).count <= 2)
        }
    }

    @Test func alphaSaysHowUnequalClassesAre() throws {
        let labels = (0..<10_000).map { $0 % 10 }
        func largestShare(_ alpha: Double) throws -> Double {
            let parts = try Partition.dirichlet(alpha: alpha).indices(labels: labels, parts: 10, seed: 3)
            let shares = parts.map { part in
                let counts = Dictionary(grouping: part) { labels[$0] }.mapValues(\.count)
                return Double(counts.values.max() ?? 0) / Double(part.count)
            }
            return shares.reduce(0, +) / 10
        }
        #expect(try largestShare(1e6) < 0.12)
        #expect(try largestShare(0.05) > 0.5)
    }

    @Test func textsAreReadAndWritten() throws {
        for partition in Self.partitions {
            #expect(try Partition(parsing: partition.description) == partition)
        }
        #expect(try Partition(parsing: "pathological") == .pathological(shardsPerClient: 2))
        for text in [
            "", "IID", "iid:1", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1", "dirichlet:nan",
            "dirichlet:inf", "pathological:0", "pathological:1.5", "quantity", "quantity:1e9", "other:1",
        ] {
            let error = failure { _ = try Partition(parsing: text) }
            #expect(error?.code == .usage && error?.hint != nil, "\(text)")
        }
    }

    @Test func regressionCannotGoByClass() throws {
        let dataset = try Dataset(
            name: "r",
            train: Dataset.Part(
                x: Tensor(shape: [4, 1], floats: [1, 2, 3, 4]), y: Tensor(shape: [4, 1], floats: [1, 2, 3, 4])))
        #expect(failure { _ = try dataset.partition(.dirichlet(alpha: 1), parts: 2, seed: 0) }?.code == .usage)
        #expect(try dataset.partition(.iid, parts: 2, seed: 0).flatMap(\.self).sorted() == [0, 1, 2, 3])
        #expect(try dataset.labelDistribution([[0, 1], [2, 3]]) == nil)
    }
}
