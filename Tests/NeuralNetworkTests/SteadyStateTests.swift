import CAllocationCounter
import NeuralNetwork
import Tensors
import Testing

/// A training step allocates nothing: what it needs is made before the first.
@Suite struct SteadyStateTests {
    @Test(
        .enabled(if: deml_thread_allocations() >= 0, "allocations can be counted with glibc only: run this on Linux"),
        arguments: ["mlp", "cnn", "everything", "transformer", "recurrent"])
    func stepsAllocateNothing(kind: String) throws {
        let before = deml_thread_allocations()
        withExtendedLifetime([Int](repeating: 1, count: 100_000)) {}
        #expect(deml_thread_allocations() > before, "the counter counts")
        let model = try BitExactnessTests.model(kind)
        var random = RandomSource("steady state")
        let examples = try random.examples(model, count: 200)
        for options in [
            TrainingOptions(batchSize: 4),
            TrainingOptions(
                batchSize: 4, optimizer: .adam(), schedule: .init(.cosine(steps: 100), warmupSteps: 3),
                clipGradNorm: 0.1, accumulateSteps: 3, proximalMu: 0.1),
        ] {
            let trainer = try Trainer(
                weights: Initializer.weights(for: model, seed: 1), options: options, threads: 1)
            var counts: [Int] = []
            counts.reserveCapacity(1000)
            _ = try trainer.train(on: examples, onBatch: { _ in counts.append(deml_thread_allocations()) })
            #expect(counts.count == 50)
            #expect(counts[49] - counts[1] == 0, "allocations in 48 batches with \(options.canonicalJSON)")
        }
    }
}
