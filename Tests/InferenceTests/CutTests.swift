import Federation
import Inference
import NeuralNetwork
import Tensors
import Testing

/// How rows are cut, and which of them are drawn.
@Suite("Shards of rows")
struct CutTests {
    static func model(_ inputs: Int, _ outputs: Int) throws -> ModelDescription {
        try ModelDescription(
            json: """
                {"input":{"shape":[\(inputs)]},"layers":[{"type":"linear","out_features":\(outputs)}],"loss":"cross_entropy"}
                """)
    }

    @Test("every row is in one shard, in order", arguments: [1, 2, 17, 999, 60_000, 1_234_567])
    func everyRowOnce(rows: Int) throws {
        for (inputs, outputs) in [(1, 2), (784, 10), (4096, 1000)] {
            for machines in [1, 3, 100] {
                let cut = ShardCut(
                    rows: rows, inputBytes: 4 * inputs, model: try Self.model(inputs, outputs), machines: machines)
                var next = 0
                for shard in 0..<cut.count {
                    let range = cut.range(shard)
                    #expect(range.lowerBound == next && !range.isEmpty)
                    next = range.upperBound
                }
                #expect(next == rows)
                let most = max(4 * inputs, 4 * outputs) * cut.rowsPerShard
                #expect(most <= 16 << 20, "\(rows) rows of \(inputs): \(most) bytes a shard")
            }
        }
    }

    @Test("heavy rows give each machine several shards, light ones are not scattered")
    func sizes() throws {
        let heavy = try Self.model(4096, 1000)
        let many = ShardCut(rows: 60_000, inputBytes: 4096, model: heavy, machines: 3)
        #expect(many.count >= 15)
        let light = try Self.model(4, 2)
        #expect(ShardCut(rows: 1000, inputBytes: 16, model: light, machines: 3).count == 1)
        // Enough for each machine, and not more: a journey for each machine is enough.
        #expect(ShardCut(rows: 10_000, inputBytes: 4096, model: heavy, machines: 3).count == 3)
        // As many for each, so that no machine waits for another's last.
        for rows in [20_000, 60_000, 61_234, 100_000] {
            for machines in [2, 3, 7] {
                let count = ShardCut(rows: rows, inputBytes: 4096, model: heavy, machines: machines).count
                #expect(count % machines == 0 || count < machines, "\(rows) rows, \(machines) machines: \(count)")
            }
        }
        // A row that is larger than a shard should be is a shard.
        #expect(ShardCut(rows: 5, inputBytes: 1 << 30, model: heavy, machines: 1).count == 5)
    }

    @Test("a row's work is bounded, too: a shard of a huge model takes no hour")
    func work() throws {
        let deep = try Self.model(1 << 14, 1 << 14)
        let cut = ShardCut(rows: 100_000, inputBytes: 1 << 14, model: deep, machines: 1)
        #expect(Double(cut.rowsPerShard) * Double(deep.multiplyAdds) <= 2e11)
    }
}

@Suite("Rows that are computed again")
struct DrawTests {
    @Test("as many as the policy says, each once, in order, any of them")
    func draw() {
        for (policy, count, wanted) in [
            (AuditPolicy.off, 1000, 0), (.all, 1000, 1000), (.auto, 10, 10), (.auto, 100, 16), (.auto, 5000, 100),
            (.share(0.1), 1000, 100), (.share(0.001), 10, 1),
        ] {
            #expect(policy.rows(of: count) == wanted, "\(policy) of \(count)")
            var random = SeededGenerator(seed: 5, purpose: "draw")
            var seen: Set<Int> = []
            for _ in 0..<200 {
                let rows = policy.draw(of: count, using: &random)
                #expect(rows.count == wanted && Set(rows).count == wanted && rows == rows.sorted())
                #expect(rows.allSatisfy { (0..<count).contains($0) })
                seen.formUnion(rows)
            }
            // 200 times 1 % and more: none is left out for ever but by an accident of 13 % a row at the smallest.
            if wanted >= 100 { #expect(seen.count > count * 4 / 5) }
        }
    }
}
