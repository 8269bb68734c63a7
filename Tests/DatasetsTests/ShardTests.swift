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

    /// What ISA-L makes, whatever the content; and that nothing of what it worked with before shows in it.
    @Test(arguments: ["zeros", "noise", "numbers", "categories"])
    func shardsOfTablesAreDeflatedFaster(kind: String) throws {
        var generator = SeededGenerator(seed: 5, purpose: "deflate")
        func value(_ index: Int) -> Float {
            switch kind {
            case "zeros": 0
            case "noise": Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
            case "numbers": Float(generator.normal())
            default: index % 7 == generator.uniform(below: 7) ? 1 : 0
            }
        }
        try withScratch { folder in
            for count in [0, 1, 1000, 262_143, 262_144, 700_001] {
                let floats = (0..<count).map(value)
                let file = Safetensors(tensors: [("x", Tensor(shape: [count], floats: floats))])
                var digests: Set<String> = []
                var size = 0
                for threads in [1, 2, 3, 1] {
                    let path = "\(folder)/x.safetensors.gz"
                    digests.insert(try file.write(to: path, threads: threads, deflater: .fast))
                    let stored = try Files.read(path, maximumBytes: 1 << 24)
                    size = stored.count
                    #expect(try Gzip.decompress(stored, maximumBytes: 1 << 24) == file.encoded(), "\(kind) \(count)")
                }
                #expect(digests.count == 1, "\(kind), \(count) numbers: the threads show in the file")
                if count > 1000 {
                    let shares: [String: Double] = ["zeros": 0.01, "noise": 1.001, "numbers": 0.93, "categories": 0.15]
                    let share = shares[kind, default: 0]
                    #expect(Double(size) < share * Double(4 * count), "\(kind) \(count): \(size)")
                }
            }
        }
    }

    @Test func aTableIsSmallerAndPicturesStayAsTheyWere() throws {
        try withScratch { folder in
            let pictures = try dataset()
            let path = "\(folder)/x.safetensors.gz"
            let plain = Safetensors(
                tensors: [("x", pictures.train.x), ("y", pictures.train.y)],
                metadata: ["deml.dataset": "small", "deml.schema": pictures.schema.canonicalJSON])
            #expect(try pictures.writeShard(Array(0..<30), to: path) == plain.write(to: path))
            let rows = (0..<5000).map { "\($0 % 97).5,\($0 % 2 == 0 ? "a" : "b"),\($0 % 3)" }.joined(separator: "\n")
            var options = DatasetOptions(testFraction: 0)
            options.labelColumn = "-1"
            let table = try Dataset(storedBytes: Array(rows.utf8), name: "t.csv", options: options)
            let digest = try table.writeShard(Array(0..<5000), to: path)
            let back = try Safetensors.load(path)
            #expect(back.sha256 == digest && back.file["x"] == table.train.x && back.file["y"] == table.train.y)
            #expect((Files.size(of: path) ?? 0) < table.train.x.bytes.count / 4)
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
