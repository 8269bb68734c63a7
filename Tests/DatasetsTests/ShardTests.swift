import Datasets
import Tensors
import TestSupport
import Testing

@Suite struct ShardTests {
    private func dataset() throws -> Dataset {
        let x = Tensor(shape: [30, 2, 2], bytes: (0..<120).map { UInt8($0) })
        let y = Tensor(shape: [30], bytes: (0..<30).map { UInt8($0 % 3) })
        return try Dataset(
            name: "small", train: Dataset.Part(x: x, y: y), test: Dataset.Part(x: x.rows(0..<5), y: y.rows(0..<5)))
    }

    @Test func shardsHoldTheDataset() throws {
        try withScratch { folder in
            let data = try dataset()
            var steps: [Int] = []
            let set = try data.writeShards(to: folder, parts: 4, partition: .iid, seed: 9) { done, _ in
                steps.append(done)
            }
            #expect(steps == [1, 2, 3, 4])
            #expect(
                try Files.names(in: folder) == [
                    "shard-000.safetensors.gz", "shard-001.safetensors.gz", "shard-002.safetensors.gz",
                    "shard-003.safetensors.gz", "shards.json", "test.safetensors.gz",
                ])
            #expect(try ShardSet(folder: folder) == set)
            #expect(set.shards.map(\.examples).reduce(0, +) == 30 && set.classes == 3)
            for shard in set.shards {
                let loaded = try Safetensors.load("\(folder)/\(shard.file)")
                #expect(loaded.sha256 == shard.sha256)
                #expect(loaded.file["x"]?.shape == [shard.examples, 2, 2])
                #expect(loaded.file["x"]?.dtype == .u8 && loaded.file["y"]?.dtype == .u8)
                #expect(Files.size(of: "\(folder)/\(shard.file)") == shard.bytes)
            }
            let again = try Dataset(path: folder)
            #expect(again.test?.x.bytes == data.test?.x.bytes)
            // Every example is there with its label: x of example i begins with 4 i.
            let firsts = try again.train.x.integers().enumerated().filter { $0.offset % 4 == 0 }.map(\.element)
            #expect(firsts.sorted() == (0..<30).map { $0 * 4 })
            #expect(try again.train.y.integers() == firsts.map { $0 / 4 % 3 })
        }
    }

    @Test func theSameSeedGivesTheSameBytes() throws {
        let data = try dataset()
        for partition in PartitionTests.partitions {
            var digests: [[String]] = []
            for _ in 0..<2 {
                try withScratch { folder in
                    digests.append(
                        try data.writeShards(to: folder, parts: 3, partition: partition, seed: 1).shards.map(\.sha256))
                }
            }
            #expect(digests[0] == digests[1], "\(partition)")
        }
    }

    @Test func failuresAreClear() throws {
        let data = try dataset()
        try withScratch { folder in
            #expect(failure { try data.writeShards(to: folder, parts: 31, partition: .iid, seed: 0) }?.code == .usage)
            #expect(failure { try data.writeShards(to: folder, parts: 0, partition: .iid, seed: 0) }?.code == .usage)
            try Files.writeAtomically([1], to: "\(folder)/file")
            let error = failure { try data.writeShards(to: "\(folder)/file", parts: 2, partition: .iid, seed: 0) }
            #expect(error?.code == .cannotCreate, "\(error?.summary ?? "no error")")
            try Files.writeAtomically(Array("{}".utf8), to: "\(folder)/shards.json")
            #expect(failure { _ = try ShardSet(folder: folder) }?.code == .malformed)
        }
    }

    @Test func fileNamesSort() {
        #expect(ShardSet.fileName(7, of: 10) == "shard-007.safetensors.gz")
        #expect(ShardSet.fileName(7, of: 5000) == "shard-0007.safetensors.gz")
    }

    @Test func tableOfLabels() throws {
        let table = LabelDistribution(counts: [[10, 0, 3], [0, 250, 1]], classNames: ["cat", "dog", "bird"])
        #expect(
            table.text() == """
                shard  examples  cat  dog  bird
                    0        13   10    ·     3
                    1       251    ·  250     1
                  all       264   10  250     4
                """)
        #expect(
            table.text(maximumClasses: 2) == """
                shard  examples  classes               most frequent
                    0        13        2            cat: 10, bird: 3
                    1       251        2           dog: 250, bird: 1
                  all       264        3  dog: 250, cat: 10, bird: 4
                """)
        let long = LabelDistribution(counts: [[Int]](repeating: [1, 2], count: 100)).text(maximumParts: 4)
        #expect(long.split(separator: "\n").count == 7)
        #expect(table.classTotals == [10, 250, 4] && table.counts.map { $0.reduce(0, +) } == [13, 251])
    }
}
