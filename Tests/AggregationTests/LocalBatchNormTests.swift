import Aggregation
import Tensors
import Testing

@Suite struct LocalBatchNormTests {
    @Test("a delta is cut in what is averaged and what stays")
    func parts() throws {
        var local = LocalBatchNorm([1..<3, 4..<5])
        let shared: [Float] = [10, 20, 30, 40, 50]
        let first = Update(client: 7, examples: 30, values: [1, 2, 3, 4, 5])
        #expect(local.shared(first).values == [1, 0, 0, 4, 0])
        #expect(local.shared(first).norm == 17.0.squareRoot())
        #expect(local.parameters(of: 7, shared: shared) == nil)
        local.keep(first, from: shared)
        #expect(local.parameters(of: 7, shared: [0, 0, 0, 0, 0]) == [0, 22, 33, 0, 55])
        local.keep(Update(client: 7, examples: 30, values: [0, 1, 1, 0, 1]), from: shared)
        local.keep(Update(client: 2, examples: 10, values: [0, 0, 0, 0, 0]), from: shared)
        #expect(local.values == [7: [23, 34, 56], 2: [20, 30, 50]])
        let mean = local.withMean(shared) { $0 == 7 ? 30 : 10 }
        #expect(mean == [10, 22.25, 33, 40, 54.5])
        #expect(LocalBatchNorm([1..<3]).withMean(shared) { _ in 1 } == shared)
    }
}
