import CAllocationCounter
import NeuralNetwork
import Tensors
import Testing

/// A training step allocates nothing: what it needs is made before the first.
@Suite struct SteadyStateTests {
    @Test(
        .enabled(if: deml_thread_allocations() >= 0, "allocations can be counted with glibc only: run this on Linux"),
        arguments: ["mlp", "cnn", "everything"])
    func stepsAllocateNothing(kind: String) throws {
        let before = deml_thread_allocations()
        withExtendedLifetime([Int](repeating: 1, count: 100_000)) {}
        #expect(deml_thread_allocations() > before, "the counter counts")
        let model = try BitExactnessTests.model(kind)
        var random = RandomSource("steady state")
        let trainer = try Trainer(
            weights: Initializer.weights(for: model, seed: 1), options: TrainingOptions(batchSize: 4), threads: 1)
        var counts: [Int] = []
        counts.reserveCapacity(1000)
        _ = try trainer.train(
            on: try random.examples(model, count: 200), onBatch: { _ in counts.append(deml_thread_allocations()) })
        #expect(counts.count == 50)
        #expect(counts[49] - counts[1] == 0, "allocations in 48 steps")
    }
}
